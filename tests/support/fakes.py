"""Stand-ins for what is outside: the clock and the mail transport."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.support.factories import NOON
from triage.domain.records import OutgoingMessage
from triage.errors import MailError, MailUncertain


@dataclass
class StoppedClock:
    """Shows `at` until it is moved."""

    at: datetime = NOON

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=max(seconds, 0))


class FakeMailer:
    """Keeps what it is sent. `failures` are raised in turn and nothing is taken.

    One of doubt is raised when the receiver has all of it, every other one before that.
    """

    name = "fake"

    def __init__(self, *failures: MailError) -> None:
        self.sent: list[OutgoingMessage] = []
        self.failures = list(failures)

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None and not isinstance(failure, MailUncertain):
            raise failure
        about_to_end()
        if failure is not None:
            raise failure
        self.sent.append(message)
        return "taken"

    def delivered(self, message_id: str) -> bool | None:
        return message_id in {message.message_id for message in self.sent}

    def close(self) -> None:
        pass
