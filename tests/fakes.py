"""Stand-ins for what is outside: the clock and the mail transport."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.factories import NOON
from triage.errors import MailError
from triage.records import OutgoingMessage


@dataclass
class StoppedClock:
    """Shows `at` until it is moved."""

    at: datetime = NOON

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=max(seconds, 0))


class FakeMailer:
    """Keeps what it is sent. `failures` are raised in turn before anything is taken."""

    name = "fake"

    def __init__(self, *failures: MailError) -> None:
        self.sent: list[OutgoingMessage] = []
        self.failures = list(failures)

    def send(self, message: OutgoingMessage) -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)
        return "taken"

    def delivered(self, message_id: str) -> bool | None:
        return message_id in {message.message_id for message in self.sent}

    def close(self) -> None:
        pass
