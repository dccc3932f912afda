"""What was sent is known outside of the database, whatever happens to either of the two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.factories import DAY, NOON
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.installation import add_reader, empty_slate, installed, queue, rows
from tests.support.senders import forking
from triage.delivery.audit import audit
from triage.delivery.outbox import DrainReport, Outbox
from triage.delivery.recovery import resolve
from triage.delivery.sender_context import SenderContext
from triage.delivery.sent_log import SentLog, SentLogDamaged
from triage.delivery.sent_log_check import check_sent_log, complete_sent_log
from triage.domain.records import MessageState
from triage.domain.sent_entry import SentEntry
from triage.errors import DatabaseError, MailUncertain
from triage.store import Database, open_database

ONE_DAY = timedelta(days=1)


def sent(n: int, at: timedelta = timedelta()) -> SentEntry:
    return SentEntry(NOON + at, f"<d.{n:020x}@triage.example>", f"{n:020x}", DAY, "digest")


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


# -- the file --------------------------------------------------------------------------------------


def test_what_was_written_is_read_the_newest_first(journal: SentLog) -> None:
    for n in (1, 2, 3):
        journal.add(sent(n))
    assert list(journal.newest_first()) == [sent(3), sent(2), sent(1)]
    assert list(journal.readable()) == [sent(1), sent(2), sent(3)]
    assert journal.has(sent(2).message_id)
    assert not journal.has(sent(4).message_id)
    assert not journal.has("<d.0000>")


def test_only_this_account_can_read_it_and_it_names_no_address(journal: SentLog) -> None:
    journal.add(sent(1))
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert "@example.org" not in journal.path.read_text()


def test_a_line_is_on_the_disk_when_it_is_written(
    journal: SentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    journal.add(sent(1))
    assert synced == [journal.path.stat().st_size]


def test_there_is_one_beginning_for_whoever_begins(journal: SentLog) -> None:
    assert SentLog(journal.path).create_if_missing("second", NOON) == "first"
    assert journal.generation() == "first"
    assert sorted(path.name for path in journal.path.parent.iterdir()) == ["sent.journal"]


def test_without_a_file_there_is_no_generation_and_nothing_was_sent(tmp_path: Path) -> None:
    none = SentLog(tmp_path / "none")
    assert none.generation() is None
    assert list(none.newest_first()) == []
    assert list(none.readable()) == []
    assert not none.has("<x>")
    with pytest.raises(DatabaseError, match="disappeared while mail was being sent"):
        none.add(sent(1))


@settings(max_examples=40)
@given(cut=st.integers(1, 110))
def test_a_line_that_was_cut_short_is_dropped(tmp_path_factory: Any, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "sent.journal"
    journal = SentLog(path)
    journal.create_if_missing("first", NOON)
    journal.add(sent(1))
    before = path.stat().st_size
    journal.add(sent(2))
    os.truncate(path, max(path.stat().st_size - cut, before))
    assert list(journal.newest_first()) == [sent(1)]
    journal.add(sent(3))
    assert list(SentLog(path).newest_first()) == [sent(3), sent(1)]
    journal.close()


def test_a_line_that_does_not_fit_leaves_nothing(
    journal: SentLog, monkeypatch: pytest.MonkeyPatch
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
    journal = SentLog(path)
    journal.create_if_missing("first", NOON)
    for n in (1, 2, 3):
        journal.add(sent(n))
    journal.close()
    content = bytearray(path.read_bytes())
    # The last newline ends the last line; without it that line counts as cut short.
    at %= len(content) - 1
    content[at] ^= 1 << bit
    path.write_bytes(content)

    def read() -> list[SentEntry]:
        assert SentLog(path).generation() == "first"
        return list(SentLog(path).newest_first())

    with pytest.raises(SentLogDamaged):
        read()


def test_old_lines_are_forgotten_and_other_writers_go_on_in_the_new_file(
    journal: SentLog,
) -> None:
    other = SentLog(journal.path)
    for n in range(4):
        other.add(sent(n, n * ONE_DAY))
    journal.forget(NOON + 2 * ONE_DAY)
    other.add(sent(9, 9 * ONE_DAY))
    assert list(journal.readable()) == [sent(n, n * ONE_DAY) for n in (2, 3, 9)]
    assert journal.generation() == "first"
    other.close()


def test_threads_and_processes_write_whole_lines_while_it_is_written_anew(
    journal: SentLog, root: Path
) -> None:
    program = (
        "from pathlib import Path\nfrom tests.delivery.test_sent_log import sent, SentLog\n"
        f"j = SentLog(Path({str(journal.path)!r}))\n"
        "for n in range(1000, 1030): j.add(sent(n))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=root)

    def write(first: int) -> None:
        for n in range(first, first + 10):
            journal.add(sent(n))

    threads = [threading.Thread(target=write, args=(100 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    other = SentLog(journal.path)
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
    database: Database,
    mailer: FakeMailer,
    clock: StoppedClock,
    journal: SentLog,
    check: Callable[[], str] = lambda: "",
) -> Outbox:
    return Outbox(
        SenderContext(
            database,
            mailer,
            clock,
            owner="us",
            is_gone=lambda _: True,
            journal=journal,
        ),
        check,
    )


def queue_digests(database: Database, n: int) -> list[str]:
    return [queue(database, empty_slate(add_reader(database, k), k)) for k in range(1, n + 1)]


def test_whatever_is_sent_stands_in_the_journal_with_its_digest(
    database: Database, journal: SentLog, clock: StoppedClock
) -> None:
    ids = queue_digests(database, 2)
    outbox(database, FakeMailer(), clock, journal).drain()
    assert list(journal.readable()) == [
        SentEntry(NOON, ids[0], f"{1:020x}", DAY, "digest"),
        SentEntry(NOON, ids[1], f"{2:020x}", DAY, "digest"),
    ]


def test_the_journal_is_written_before_the_database_learns_of_it(
    database: Database, journal: SentLog, clock: StoppedClock
) -> None:
    [message_id] = queue_digests(database, 1)
    states = []

    class Watching(SentLog):
        def add(self, sent: SentEntry) -> None:
            super().add(sent)
            states.append(rows(database, "messages")[0]["state"])

    outbox(database, FakeMailer(), clock, Watching(journal.path)).drain()
    assert states == ["in_doubt"]
    assert journal.has(message_id)


def drain_and_die(*, url: str, path: str, kill_at: str) -> None:
    """Drain the outbox in a process of its own, which dies at a place."""
    os.environ["TRIAGE_KILL_AT"] = kill_at
    outbox(open_database(url), UnknowingMailer(), StoppedClock(), SentLog(Path(path))).drain()


@pytest.mark.parametrize(("kill_at", "n_again"), [("handed_over:1", 1), ("journalled:1", 0)])
def test_what_stands_in_the_journal_is_not_sent_again_after_a_crash(
    database: Database, journal: SentLog, clock: StoppedClock, kill_at: str, n_again: int
) -> None:
    """No transport needs to be asked. Before the line, only the receiver knew."""
    queue_digests(database, 1)
    url = database.engine.url.render_as_string(hide_password=False)
    died = forking().run(
        "tests.delivery.test_sent_log.drain_and_die",
        url=url,
        path=str(journal.path),
        kill_at=kill_at,
    )
    assert died == -signal.SIGKILL
    assert rows(database, "messages")[0]["state"] == "in_doubt"
    # A crash is no restored database: it pauses nothing.
    assert check_sent_log(database, journal, clock) == ""
    mailer = UnknowingMailer()
    clock.at += timedelta(seconds=6)
    assert outbox(database, mailer, clock, journal).drain() == DrainReport(sent=1)
    assert len(mailer.sent) == n_again
    assert audit(database, journal).is_balanced


def test_where_the_journal_cannot_be_written_the_database_knows_and_nothing_more_is_sent(
    database: Database, journal: SentLog, clock: StoppedClock
) -> None:
    queue_digests(database, 3)
    mailer = FakeMailer()

    class Full(SentLog):
        def add(self, sent: SentEntry) -> None:
            raise DatabaseError("the sent journal cannot be used")

    with pytest.raises(DatabaseError, match="sent journal"):
        outbox(database, mailer, clock, Full(journal.path)).drain()
    assert len(mailer.sent) == 1
    assert [row["state"] for row in rows(database, "messages")] == ["sent", "rendered", "rendered"]
    # The nightly job writes it down.
    assert complete_sent_log(database, journal, NOON - ONE_DAY) == 1
    assert complete_sent_log(database, journal, NOON - ONE_DAY) == 0
    assert [each.message_id for each in journal.readable()] == [mailer.sent[0].message_id]


@pytest.mark.parametrize("by_whom", ["the transport", "an operator"])
def test_what_turns_out_to_have_arrived_stands_in_the_journal(
    database: Database, journal: SentLog, clock: StoppedClock, by_whom: str
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
    assert journal.has(message_id)
    assert audit(database, journal).is_balanced


def test_nothing_is_sent_while_something_speaks_against_it(
    database: Database, journal: SentLog, clock: StoppedClock
) -> None:
    queue_digests(database, 1)
    mailer = FakeMailer()
    closed = outbox(database, mailer, clock, journal, check=lambda: "the disk is full")
    assert closed.drain() == DrainReport(broken="the disk is full")
    assert mailer.sent == []
