"""When too many recipients are refused for good, the drain stops and nobody is suppressed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.delivery.test_outbox import ONE_DAY, outbox
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.installation import add_reader, empty_slate, installed, queue, rows
from triage.delivery.outbox import DrainReport
from triage.delivery.recovery import resume
from triage.domain.records import OutgoingMessage
from triage.errors import MailerBroken, MailError, MailRefused
from triage.store import Database


class FatedMailer(FakeMailer):
    """Takes what has no failure in its turn."""

    def __init__(self, failures: list[MailError | None]) -> None:
        super().__init__()
        self.fates = failures

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        if self.fates and (failure := self.fates.pop(0)):
            raise failure
        return super().send(message, about_to_end)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


def queue_many(database: Database, n: int) -> None:
    for k in range(1, n + 1):
        queue(database, empty_slate(add_reader(database, k), k))


def refusals(n: int) -> list[MailError]:
    return [MailRefused("550 whatever", no_such_mailbox=True) for _ in range(n)]


def test_ten_refusals_in_a_row_stop_everything_and_cost_nobody_anything(
    database: Database, clock: StoppedClock
) -> None:
    queue_many(database, 30)
    sender = outbox(database, FakeMailer(*refusals(30)), clock)
    report = sender.drain()
    assert "outbox resume" in report.broken
    assert "550 whatever" in report.broken
    assert {row["state"] for row in rows(database, "messages")} == {"rendered", "deferred"}
    assert rows(database, "bounces") == rows(database, "suppressions") == []
    clock.at += ONE_DAY / 4
    # Nothing is tried until a person says so.
    mailer = FakeMailer()
    assert outbox(database, mailer, clock).drain() == DrainReport(broken=report.broken)
    assert resume(database, clock)
    assert not resume(database, clock)
    assert outbox(database, mailer, clock).drain() == DrainReport(sent=30)


def test_a_fifth_of_the_first_fifty_is_too_many_and_less_is_not(
    database: Database, clock: StoppedClock
) -> None:
    queue_many(database, 60)
    often = [failure for _ in range(10) for failure in (None, *refusals(1), None, None)]
    kept = FatedMailer([*often, *[None] * 10, *refusals(5)])
    assert outbox(database, kept, clock).drain() == DrainReport(sent=45, failed=15)


def test_more_than_a_fifth_of_the_first_fifty_stops_everything(
    database: Database, clock: StoppedClock
) -> None:
    queue_many(database, 60)
    fated = FatedMailer([failure for _ in range(11) for failure in (*refusals(1), None, None)])
    report = outbox(database, fated, clock).drain()
    assert (report.sent, report.failed) == (20, 0)
    assert report.broken
    assert rows(database, "bounces") == []


def test_an_operator_who_says_that_refusals_are_right_is_not_asked_again_that_day(
    database: Database, clock: StoppedClock
) -> None:
    queue_many(database, 20)
    assert outbox(database, FakeMailer(*refusals(20)), clock).drain().broken
    assert resume(database, clock)
    assert outbox(database, FakeMailer(*refusals(20)), clock).drain() == DrainReport(failed=20)
    assert len(rows(database, "bounces")) == 20


def test_a_message_that_stops_every_drain_stops_only_itself(
    database: Database, clock: StoppedClock
) -> None:
    queue_many(database, 4)

    class Picky(FakeMailer):
        def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
            if message.recipient.startswith("reader1@"):
                raise MailerBroken("550 5.7.1 the policy of this one server")
            return super().send(message, about_to_end)

    sender = outbox(database, Picky(), clock)
    assert sender.drain().sent == 0
    assert sender.drain().sent == 3
    assert sender.drain().exit_code == 1
