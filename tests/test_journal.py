"""What was sent is known outside of the database, whatever happens to either of the two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.factories import DAY, NOON
from tests.fakes import FakeMailer, StoppedClock
from tests.installation import add_reader, empty_slate, installed, queue, rows
from tests.senders import forking
from triage import store
from triage.audit import audit
from triage.digest import Nightly, Queued
from triage.doubts import resolve
from triage.errors import ConfigError, DatabaseError, MailUncertain
from triage.journal import Journal, JournalDamaged, Sent
from triage.outbox import DrainReport, Outbox, Rules
from triage.reconcile import (
    Agreed,
    WithoutJournal,
    complete,
    disagreement,
    reconcile,
    unknown,
)
from triage.records import MessageState, OutgoingMessage
from triage.schedule import Schedule
from triage.store import Database, open_database

ONE_DAY = timedelta(days=1)


def sent(n: int, at: timedelta = timedelta()) -> Sent:
    return Sent(NOON + at, f"<d.{n:020x}@triage.example>", f"{n:020x}", DAY, "digest")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "sent.journal")
    opened.begin("first", NOON)
    yield opened
    opened.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


# -- the file --------------------------------------------------------------------------------------


def test_what_was_written_is_read_the_newest_first(journal: Journal) -> None:
    for n in (1, 2, 3):
        journal.add(sent(n))
    assert list(journal.newest_first()) == [sent(3), sent(2), sent(1)]
    assert list(journal.readable()) == [sent(1), sent(2), sent(3)]
    assert journal.holds(sent(2).message_id)
    assert not journal.holds(sent(4).message_id)
    assert not journal.holds("<d.0000>")


def test_only_this_account_can_read_it_and_it_names_no_address(journal: Journal) -> None:
    journal.add(sent(1))
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert "@example.org" not in journal.path.read_text()


def test_a_line_is_on_the_disk_when_it_is_written(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    journal.add(sent(1))
    assert synced == [journal.path.stat().st_size]


def test_there_is_one_beginning_for_whoever_begins(journal: Journal) -> None:
    assert Journal(journal.path).begin("second", NOON) == "first"
    assert journal.generation() == "first"
    assert sorted(path.name for path in journal.path.parent.iterdir()) == ["sent.journal"]


def test_without_a_file_there_is_no_generation_and_nothing_was_sent(tmp_path: Path) -> None:
    none = Journal(tmp_path / "none")
    assert none.generation() is None
    assert list(none.newest_first()) == []
    assert list(none.readable()) == []
    assert not none.holds("<x>")
    with pytest.raises(DatabaseError, match="gone while mail is being sent"):
        none.add(sent(1))


@settings(max_examples=40)
@given(cut=st.integers(1, 110))
def test_a_line_that_was_cut_short_is_dropped(tmp_path_factory: Any, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "sent.journal"
    journal = Journal(path)
    journal.begin("first", NOON)
    journal.add(sent(1))
    before = path.stat().st_size
    journal.add(sent(2))
    os.truncate(path, max(path.stat().st_size - cut, before))
    assert list(journal.newest_first()) == [sent(1)]
    journal.add(sent(3))
    assert list(Journal(path).newest_first()) == [sent(3), sent(1)]
    journal.close()


def test_a_line_that_does_not_fit_leaves_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.add(sent(1))
    before = journal.path.read_bytes()
    real = os.write
    writes = iter([10, -1])

    def write(descriptor: int, line: bytes) -> int:
        n = next(writes)
        if n < 0:
            raise OSError(28, "No space left on device")
        return real(descriptor, line[:n])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(DatabaseError, match="disk has room"):
        journal.add(sent(2))
    assert journal.path.read_bytes() == before


@settings(max_examples=40)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_bit_that_changes_is_noticed(tmp_path_factory: Any, at: int, bit: int) -> None:
    path = tmp_path_factory.mktemp("bit") / "sent.journal"
    journal = Journal(path)
    journal.begin("first", NOON)
    for n in (1, 2, 3):
        journal.add(sent(n))
    journal.close()
    content = bytearray(path.read_bytes())
    # The last newline ends the last line; without it that line counts as cut short.
    at %= len(content) - 1
    content[at] ^= 1 << bit
    path.write_bytes(content)

    def read() -> list[Sent]:
        assert Journal(path).generation() == "first"
        return list(Journal(path).newest_first())

    with pytest.raises(JournalDamaged):
        read()


def test_old_lines_are_forgotten_and_other_writers_go_on_in_the_new_file(
    journal: Journal,
) -> None:
    other = Journal(journal.path)
    for n in range(4):
        other.add(sent(n, n * ONE_DAY))
    journal.forget(NOON + 2 * ONE_DAY)
    other.add(sent(9, 9 * ONE_DAY))
    assert list(journal.readable()) == [sent(n, n * ONE_DAY) for n in (2, 3, 9)]
    assert journal.generation() == "first"
    other.close()


def test_threads_and_processes_write_whole_lines_while_it_is_written_anew(
    journal: Journal, root: Path
) -> None:
    program = (
        "import sys; from tests.test_journal import sent, Journal; from pathlib import Path\n"
        f"j = Journal(Path({str(journal.path)!r}))\n"
        "for n in range(1000, 1030): j.add(sent(n))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=root)

    def write(first: int) -> None:
        for n in range(first, first + 10):
            journal.add(sent(n))

    threads = [threading.Thread(target=write, args=(100 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    other = Journal(journal.path)
    while process.poll() is None or any(thread.is_alive() for thread in threads):
        other.restart("first", NOON)
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    other.close()
    wanted = {sent(n) for k in range(4) for n in range(100 * k, 100 * k + 10)}
    wanted |= {sent(n) for n in range(1000, 1030)}
    found = list(journal.newest_first())
    assert len(found) == len(wanted)
    assert set(found) == wanted


# -- the outbox writes it --------------------------------------------------------------------------


class UnknowingMailer(FakeMailer):
    """Cannot tell what arrived, as most transports."""

    def delivered(self, message_id: str) -> None:
        return None


def outbox(
    database: Database, mailer: FakeMailer, clock: StoppedClock, journal: Journal, **more: Any
) -> Outbox:
    return Outbox(
        database,
        mailer,
        clock,
        owner="us",
        is_gone=lambda _: True,
        rules=Rules(),
        journal=journal,
        **more,
    )


def queue_digests(database: Database, n: int) -> list[str]:
    return [queue(database, empty_slate(add_reader(database, k), k)) for k in range(1, n + 1)]


def test_whatever_is_sent_stands_in_the_journal_with_its_digest(
    database: Database, journal: Journal, clock: StoppedClock
) -> None:
    ids = queue_digests(database, 2)
    outbox(database, FakeMailer(), clock, journal).drain()
    assert list(journal.readable()) == [
        Sent(NOON, ids[0], f"{1:020x}", DAY, "digest"),
        Sent(NOON, ids[1], f"{2:020x}", DAY, "digest"),
    ]


def test_the_journal_is_written_before_the_database_learns_of_it(
    database: Database, journal: Journal, clock: StoppedClock
) -> None:
    [message_id] = queue_digests(database, 1)
    states = []

    class Watching(Journal):
        def add(self, sent: Sent) -> None:
            super().add(sent)
            states.append(rows(database, "messages")[0]["state"])

    outbox(database, FakeMailer(), clock, Watching(journal.path)).drain()
    assert states == ["in_doubt"]
    assert journal.holds(message_id)


def drain_and_die(*, url: str, path: str, kill_at: str) -> None:
    """Drain the outbox in a process of its own, which dies at a place."""
    os.environ["TRIAGE_KILL_AT"] = kill_at
    outbox(open_database(url), UnknowingMailer(), StoppedClock(), Journal(Path(path))).drain()


@pytest.mark.parametrize(("kill_at", "n_again"), [("handed_over:1", 1), ("journalled:1", 0)])
def test_what_stands_in_the_journal_is_not_sent_again_after_a_crash(
    database: Database, journal: Journal, clock: StoppedClock, kill_at: str, n_again: int
) -> None:
    """No transport needs to be asked. Before the line, only the receiver knew."""
    queue_digests(database, 1)
    url = database.engine.url.render_as_string(hide_password=False)
    died = forking().run(
        "tests.test_journal.drain_and_die", url=url, path=str(journal.path), kill_at=kill_at
    )
    assert died == -signal.SIGKILL
    assert rows(database, "messages")[0]["state"] == "in_doubt"
    # A crash is no restored database: it pauses nothing.
    assert disagreement(database, journal, clock) == ""
    mailer = UnknowingMailer()
    clock.at += timedelta(seconds=6)
    assert outbox(database, mailer, clock, journal).drain() == DrainReport(sent=1)
    assert len(mailer.sent) == n_again
    assert audit(database, journal).is_balanced


def test_where_the_journal_cannot_be_written_the_database_knows_and_nothing_more_is_sent(
    database: Database, journal: Journal, clock: StoppedClock
) -> None:
    queue_digests(database, 3)
    mailer = FakeMailer()

    class Full(Journal):
        def add(self, sent: Sent) -> None:
            raise DatabaseError("the sent journal cannot be used")

    with pytest.raises(DatabaseError, match="sent journal"):
        outbox(database, mailer, clock, Full(journal.path)).drain()
    assert len(mailer.sent) == 1
    assert [row["state"] for row in rows(database, "messages")] == ["sent", "rendered", "rendered"]
    # The nightly chore writes it down.
    assert complete(database, journal, NOON - ONE_DAY) == 1
    assert complete(database, journal, NOON - ONE_DAY) == 0
    assert [each.message_id for each in journal.readable()] == [mailer.sent[0].message_id]


@pytest.mark.parametrize("by_whom", ["the transport", "an operator"])
def test_what_turns_out_to_have_arrived_stands_in_the_journal(
    database: Database, journal: Journal, clock: StoppedClock, by_whom: str
) -> None:
    [message_id] = queue_digests(database, 1)

    class Uncertain(FakeMailer):
        def delivered(self, message_id: str) -> bool | None:
            return True if by_whom == "the transport" else None

    sender = outbox(database, Uncertain(MailUncertain("lost")), clock, journal)
    sender.drain()
    clock.at += timedelta(minutes=30)
    sender.drain()
    if by_whom == "an operator":
        assert resolve(database, clock, MessageState.SENT, journal=journal) == 1
    assert journal.holds(message_id)
    assert audit(database, journal).is_balanced


def test_nothing_is_sent_while_something_speaks_against_it(
    database: Database, journal: Journal, clock: StoppedClock
) -> None:
    queue_digests(database, 1)
    mailer = FakeMailer()
    closed = outbox(database, mailer, clock, journal, refusal=lambda: "the disk is full")
    assert closed.drain() == DrainReport(broken="the disk is full")
    assert mailer.sent == []


# -- journal and database --------------------------------------------------------------------------


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
    return [row["name"] for row in rows(database, "holds")]


def test_a_new_installation_begins_a_journal_of_its_own(
    database: Database, tmp_path: Path, clock: StoppedClock
) -> None:
    journal = Journal(tmp_path / "sent.journal")
    assert disagreement(database, journal, clock) == ""
    assert journal.generation() == rows(database, "journals")[0]["generation"]
    assert disagreement(database, journal, clock) == ""
    assert holds(database) == []


def test_after_a_crash_at_its_beginning_the_journal_is_taken_as_it_is(
    database: Database, journal: Journal, clock: StoppedClock
) -> None:
    assert disagreement(database, journal, clock) == ""
    assert rows(database, "journals")[0]["generation"] == "first"


def test_sending_is_paused_while_the_database_has_forgotten_and_goes_on_when_it_knows(
    database: Database, journal: Journal, clock: StoppedClock
) -> None:
    ids = queue_digests(database, 3)
    mailer = UnknowingMailer()
    outbox(database, mailer, clock, journal).drain()
    assert disagreement(database, journal, clock) == ""
    forget(database)
    waiting = queue(database, empty_slate(add_reader(database, 4), 4))

    assert "`triage outbox reconcile`" in disagreement(database, journal, clock)
    assert holds(database) == ["sent journal"]
    assert unknown(database, journal) == ids
    assert outbox(database, mailer, clock, journal).drain().broken != ""
    assert len(mailer.sent) == 3

    assert reconcile(database, journal, clock) == Agreed(marked=3)
    assert unknown(database, journal) == []
    assert holds(database) == []
    assert outbox(database, mailer, clock, journal).drain() == DrainReport(sent=1)
    assert [each.message_id for each in mailer.sent] == [*ids, waiting]
    assert audit(database, journal).is_balanced


def test_a_digest_that_the_database_does_not_know_is_not_made_again(
    database: Database, journal: Journal, clock: StoppedClock
) -> None:
    queue_digests(database, 2)
    outbox(database, FakeMailer(), clock, journal).drain()
    forget(database, all_of_it=True)
    assert disagreement(database, journal, clock)
    assert reconcile(database, journal, clock) == Agreed(tombstones=2)
    with database.read() as conn:
        assert {id: last.on for id, last in store.slates.newest(conn).items()} == {1: DAY, 2: DAY}
        assert store.slates.sent_days(conn, DAY - ONE_DAY) == {1: [DAY], 2: [DAY]}
    assert audit(database, journal).is_balanced
    assert reconcile(database, journal, clock) == Agreed()


def test_a_restored_database_makes_nothing_that_it_has_forgotten(
    database: Database, journal: Journal, clock: StoppedClock
) -> None:
    """A digest of other papers would be marked as sent in the place of the one that was sent."""
    queue_digests(database, 1)
    sender = outbox(
        database,
        FakeMailer(),
        clock,
        journal,
        refusal=lambda: disagreement(database, journal, clock),
    )
    sender.drain()
    forget(database, all_of_it=True)

    class Making(Nightly):
        def __init__(self) -> None:
            self._database, self._clock = database, clock

        def queue(self, *_: Any, **__: Any) -> Queued:
            raise AssertionError("a digest was made")

    report = Making().run(DAY, (), sender)
    assert (report.queued, "reconcile" in report.drained.broken) == (0, True)
    schedule = Schedule(
        database, clock, Making(), sender, sources=list, awaited={}, chores=(), owner="us"
    )
    schedule.tick()


@pytest.mark.parametrize("state", ["claimed", "in_doubt", "deferred", "held"])
def test_whatever_the_database_believes_of_a_message_that_was_sent_it_learns(
    database: Database, journal: Journal, clock: StoppedClock, state: str
) -> None:
    queue_digests(database, 1)
    outbox(database, FakeMailer(), clock, journal).drain()
    forget(database)

    class Failing(UnknowingMailer):
        def send(self, message: OutgoingMessage, about_to_end: Any) -> str:
            if state == "claimed":
                raise KeyboardInterrupt
            about_to_end()
            raise KeyboardInterrupt

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
    database: Database, journal: Journal, clock: StoppedClock
) -> None:
    queue_digests(database, 2)
    outbox(database, FakeMailer(), clock, journal).drain()
    with database.write() as conn:
        store.subscribers.erase(conn, 1)
    assert disagreement(database, journal, clock) == ""
    assert unknown(database, journal) == []


def lose(journal: Journal, how: str) -> None:
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
@pytest.mark.parametrize("without", list(WithoutJournal))
def test_without_its_journal_nothing_is_sent_until_a_person_has_spoken(
    database: Database,
    journal: Journal,
    clock: StoppedClock,
    how: str,
    without: WithoutJournal,
) -> None:
    disagreement(database, journal, clock)
    queue_digests(database, 1)
    outbox(database, FakeMailer(), clock, journal).drain()
    queue(database, empty_slate(add_reader(database, 2), 2))
    no_digest_yet = add_reader(database, 3)
    lose(journal, how)

    why = disagreement(database, journal, clock)
    assert "--without-journal send" in why
    assert "--without-journal skip" in why
    mailer = UnknowingMailer()
    assert outbox(database, mailer, clock, journal).drain().broken == why
    with pytest.raises(ConfigError, match="--without-journal"):
        reconcile(database, journal, clock)

    agreed = reconcile(database, journal, clock, without)
    assert disagreement(database, journal, clock) == ""
    outbox(database, mailer, clock, journal).drain()
    with database.read() as conn:
        due_today = store.slates.by_day(conn, no_digest_yet.id, DAY) is None
    if without is WithoutJournal.SEND:
        assert (agreed.skipped, len(mailer.sent)) == (0, 1)
        assert due_today
    else:
        # The one that waits, and that of the reader who has none yet.
        assert (agreed.skipped, mailer.sent) == (2, [])
        assert not due_today
    assert audit(database, journal).is_balanced
    # The new journal knows what the database knew.
    assert len([each for each in journal.readable() if each.subscriber == f"{1:020x}"]) == 1
