"""A database that was restored is told what was sent since; until then nothing is sent or made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import text

from tests.delivery.test_sent_log import ONE_DAY, UnknowingMailer, outbox, queue_digests
from tests.support.factories import DAY, NOON
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.installation import add_reader, empty_slate, installed, queue, rows
from triage import store
from triage.delivery.audit import audit
from triage.delivery.outbox import DrainReport
from triage.delivery.sent_log import SentLog
from triage.delivery.sent_log_check import (
    ReconcileReport,
    check_sent_log,
    reconcile,
    unrecorded_message_ids,
)
from triage.digest.nightly import Nightly, Queued
from triage.domain.records import MessageState
from triage.errors import ConfigError
from triage.operations.jobs import Schedule
from triage.store import Database


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SentLog]:
    opened = SentLog(tmp_path / "sent.journal")
    opened.create_if_missing("first", NOON)
    yield opened
    opened.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


def forget(database: Database, *, all_of_it: bool = False) -> None:
    """Let the database be as before anything was sent, or even before anything was made."""
    with database.write() as conn:
        conn.execute(text("DELETE FROM attempts"))
        if all_of_it:
            conn.execute(text("DELETE FROM messages"))
            conn.execute(text("DELETE FROM slates"))
            return
        for trigger in ("messages_keep_to_their_ways", "messages_that_were_sent_stay"):
            if conn.dialect.name == "sqlite":
                conn.execute(text(f"DROP TRIGGER {trigger}"))
            elif trigger == "messages_keep_to_their_ways":
                conn.execute(text(f"ALTER TABLE messages DISABLE TRIGGER {trigger}"))
        conn.execute(
            text(
                "UPDATE messages SET state = 'rendered', attempts = 0, lease_epoch = 0,"
                " last_reply = '', sent_at = NULL"
            )
        )


def holds(database: Database) -> list[str]:
    return [row["name"] for row in rows(database, "sending_holds")]


def test_a_new_installation_begins_a_journal_of_its_own(
    database: Database, tmp_path: Path, clock: StoppedClock
) -> None:
    journal = SentLog(tmp_path / "sent.journal")
    assert check_sent_log(database, journal, clock) == ""
    assert journal.generation() == rows(database, "sent_logs")[0]["generation"]
    assert check_sent_log(database, journal, clock) == ""
    assert holds(database) == []


def test_after_a_crash_at_its_beginning_the_journal_is_taken_as_it_is(
    database: Database, journal: SentLog, clock: StoppedClock
) -> None:
    assert check_sent_log(database, journal, clock) == ""
    assert rows(database, "sent_logs")[0]["generation"] == "first"


def test_sending_is_paused_while_the_database_has_forgotten_and_goes_on_when_it_knows(
    database: Database, journal: SentLog, clock: StoppedClock
) -> None:
    ids = queue_digests(database, 3)
    mailer = UnknowingMailer()
    outbox(database, mailer, clock, journal).drain()
    assert check_sent_log(database, journal, clock) == ""
    forget(database)
    waiting = queue(database, empty_slate(add_reader(database, 4), 4))

    assert "`triage outbox reconcile`" in check_sent_log(database, journal, clock)
    assert holds(database) == ["sent journal"]
    assert unrecorded_message_ids(database, journal) == ids
    assert outbox(database, mailer, clock, journal).drain().broken != ""
    assert len(mailer.sent) == 3

    assert reconcile(database, journal, clock) == ReconcileReport(marked=3)
    assert unrecorded_message_ids(database, journal) == []
    assert holds(database) == []
    assert outbox(database, mailer, clock, journal).drain() == DrainReport(sent=1)
    assert [each.message_id for each in mailer.sent] == [*ids, waiting]
    assert audit(database, journal).is_balanced


def test_a_digest_that_the_database_does_not_know_is_not_made_again(
    database: Database, journal: SentLog, clock: StoppedClock
) -> None:
    queue_digests(database, 2)
    outbox(database, FakeMailer(), clock, journal).drain()
    forget(database, all_of_it=True)
    assert check_sent_log(database, journal, clock)
    assert reconcile(database, journal, clock) == ReconcileReport(tombstones=2)
    with database.read() as conn:
        assert {id: last.on for id, last in store.slates.newest(conn).items()} == {1: DAY, 2: DAY}
        assert store.slates.sent_days(conn, DAY - ONE_DAY, [1, 2]) == {1: [DAY], 2: [DAY]}
    assert audit(database, journal).is_balanced
    assert reconcile(database, journal, clock) == ReconcileReport()


def test_a_restored_database_makes_nothing_that_it_has_forgotten(
    database: Database, journal: SentLog, clock: StoppedClock
) -> None:
    """A digest of other papers would be marked as sent in the place of the one that was sent."""
    queue_digests(database, 1)
    sender = outbox(
        database,
        FakeMailer(),
        clock,
        journal,
        check=lambda: check_sent_log(database, journal, clock),
    )
    sender.drain()
    forget(database, all_of_it=True)

    class Making(Nightly):
        def __init__(self) -> None:
            self.database, self.clock = database, clock

        def queue(self, *_: Any, **__: Any) -> Queued:
            raise AssertionError("a digest was made")

    report = Making().run(DAY, (), sender)
    assert (report.queued, "reconcile" in report.drained.broken) == (0, True)
    schedule = Schedule(
        database,
        clock,
        Making().queue,
        sender,
        sources=list,
        fetch_named=list,
        awaited={},
        jobs=(),
        owner="us",
    )
    schedule.tick()


@pytest.mark.parametrize("state", ["claimed", "in_doubt", "deferred", "held"])
def test_whatever_the_database_believes_of_a_message_that_was_sent_it_learns(
    database: Database, journal: SentLog, clock: StoppedClock, state: str
) -> None:
    queue_digests(database, 1)
    outbox(database, FakeMailer(), clock, journal).drain()
    forget(database)

    with database.write() as conn:
        message = store.messages.in_states(conn, [MessageState.RENDERED])[0]
        way = {
            "claimed": ["claimed"],
            "in_doubt": ["claimed", "in_doubt"],
            "deferred": ["claimed", "deferred"],
            "held": ["claimed", "in_doubt", "held"],
        }[state]
        for each in way:
            fields: dict[str, Any] = {}
            if each == "claimed":
                fields = {"lease_epoch": 1, "attempts": 1}
                store.attempts.begin(conn, message.id, 1, NOON)
            elif each in {"deferred", "held"}:
                phase = "in_doubt" if each == "held" else "claimed"
                store.attempts.end(
                    conn, message.id, 1, NOON, phase=phase, outcome=each, reply="why"
                )
                fields = {"last_reply": "why"}
            moved = store.messages.move(conn, message, MessageState(each), NOON, **fields)
            assert moved is not None
            message = moved
    assert audit(database).is_balanced
    reconcile(database, journal, clock)
    mailer = UnknowingMailer()
    outbox(database, mailer, clock, journal).drain()
    assert mailer.sent == []
    assert rows(database, "messages")[0]["state"] == "sent"
    assert audit(database, journal).is_balanced


def test_what_belongs_to_nobody_any_more_pauses_nothing(
    database: Database, journal: SentLog, clock: StoppedClock
) -> None:
    queue_digests(database, 2)
    outbox(database, FakeMailer(), clock, journal).drain()
    with database.write() as conn:
        store.subscribers.erase(conn, 1)
    assert check_sent_log(database, journal, clock) == ""
    assert unrecorded_message_ids(database, journal) == []


def lose(journal: SentLog, how: str) -> None:
    if how == "gone":
        journal.path.unlink()
    elif how == "another":
        journal.restart("another", NOON)
    elif how == "damaged":
        content = bytearray(journal.path.read_bytes())
        content[-20] ^= 1
        journal.path.write_bytes(content)
    else:
        journal.path.write_text("Dear reader,\n")


@pytest.mark.parametrize("how", ["gone", "another", "damaged", "a letter"])
@pytest.mark.parametrize("without", ["send", "skip"])
def test_without_its_journal_nothing_is_sent_until_a_person_has_spoken(
    database: Database,
    journal: SentLog,
    clock: StoppedClock,
    how: str,
    without: Literal["send", "skip"],
) -> None:
    check_sent_log(database, journal, clock)
    queue_digests(database, 1)
    outbox(database, FakeMailer(), clock, journal).drain()
    queue(database, empty_slate(add_reader(database, 2), 2))
    no_digest_yet = add_reader(database, 3)
    lose(journal, how)

    why = check_sent_log(database, journal, clock)
    assert "--without-journal send" in why
    assert "--without-journal skip" in why
    mailer = UnknowingMailer()
    assert outbox(database, mailer, clock, journal).drain().broken == why
    with pytest.raises(ConfigError, match="--without-journal"):
        reconcile(database, journal, clock)

    agreed = reconcile(database, journal, clock, without)
    assert check_sent_log(database, journal, clock) == ""
    outbox(database, mailer, clock, journal).drain()
    with database.read() as conn:
        due_today = store.slates.by_day(conn, no_digest_yet.id, DAY) is None
    if without == "send":
        assert (agreed.skipped, len(mailer.sent)) == (0, 1)
        assert due_today
    else:
        # The one that waits, and that of the reader who has none yet.
        assert (agreed.skipped, mailer.sent) == (2, [])
        assert not due_today
    assert audit(database, journal).is_balanced
    # The new journal knows what the database knew.
    assert len([each for each in journal.readable() if each.subscriber == f"{1:020x}"]) == 1
