"""Copies of the database: whole and checked, private, few, and never half a one."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.databases import NAME, installed, migrated_file, on_postgres
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import add_reader, empty_slate, queue, rows
from tests.support.mail_rig import fill
from triage import store
from triage.app.application import App, open_app
from triage.cli import cli
from triage.delivery.audit import audit
from triage.delivery.outbox import DrainReport, Outbox
from triage.delivery.preflight import Preflight
from triage.delivery.sender_context import SenderContext
from triage.delivery.sent_log import SentLog
from triage.delivery.sent_log_check import ReconcileReport, check_sent_log, reconcile
from triage.domain.records import OutgoingMessage
from triage.errors import DatabaseError
from triage.operations.backup import KEPT, back_up, copy_to, restore
from triage.store import Database, open_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.sqlite("a copy is a file")
def test_a_copy_is_whole_while_the_database_is_in_use(database: Database, folder: Path) -> None:
    reader = add_reader(database)
    with database.read() as conn:
        store.subscribers.everyone(conn)
        said = back_up(database, folder, StoppedClock())
    [name] = names(folder)
    assert said == f"wrote {name}"
    with contextlib.closing(sqlite3.connect(folder / name)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy = open_database(f"sqlite:///{folder / name}")
    copy.check_schema()
    with copy.read() as conn:
        assert store.subscribers.everyone(conn) == [reader]
    copy.close()


@pytest.mark.sqlite("a copy is a file")
def test_only_the_owner_can_read_a_copy(database: Database, folder: Path) -> None:
    back_up(database, folder, StoppedClock())
    [copy] = folder.iterdir()
    assert copy.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.sqlite("a copy is a file")
def test_the_newest_copies_stay(database: Database, folder: Path) -> None:
    clock = StoppedClock()
    wrote = []
    for _ in range(KEPT + 2):
        wrote.append(back_up(database, folder, clock).removeprefix("wrote "))
        clock.at += timedelta(days=1)
    assert names(folder) == wrote[2:]


@pytest.mark.sqlite("a copy is a file")
@pytest.mark.parametrize("step", [timedelta(days=400), timedelta(days=-400)], ids=str)
def test_copies_of_a_clock_that_was_wrong_for_long_cost_no_true_copy(
    database: Database, folder: Path, step: timedelta
) -> None:
    clock = StoppedClock()

    def copies(n: int) -> list[str]:
        wrote = []
        for _ in range(n):
            wrote.append(back_up(database, folder, clock).removeprefix("wrote "))
            clock.at += timedelta(days=1)
        return wrote

    clock.at += step
    copies(KEPT + 2)
    clock.at -= step
    true = copies(3)
    assert set(true) <= set(names(folder))
    true += copies(KEPT + 2)
    assert set(true[-KEPT:]) <= set(names(folder))
    assert len(names(folder)) <= 2 * KEPT


@pytest.mark.sqlite("a copy is a file")
def test_what_a_killed_back_up_left_goes_and_other_files_stay(
    database: Database, folder: Path
) -> None:
    folder.mkdir()
    for name in (".triage-20200101T000000Z.db", ".triage-20200101T000000Z.db-journal", "notes"):
        (folder / name).write_text("x")
    name = back_up(database, folder, StoppedClock()).removeprefix("wrote ")
    assert names(folder) == ["notes", name]


@pytest.mark.sqlite("a copy is a file")
def test_a_copy_that_fails_leaves_nothing_and_says_what_to_do(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear reader, " * 500)
    database = open_database(f"sqlite:///{tmp_path}/letter.db")
    with pytest.raises(DatabaseError, match=r"cannot be copied.*not a database.*run again"):
        back_up(database, folder, StoppedClock())
    database.close()
    assert names(folder) == []


@pytest.mark.sqlite("a copy is a file")
def test_a_damaged_database_leaves_nothing_and_keeps_older_copies(
    database: Database, folder: Path
) -> None:
    clock = StoppedClock()
    back_up(database, folder, clock)
    before = names(folder)
    clock.at += timedelta(days=1)
    with database.read() as conn:
        # A damaged page: its schema is read well, the copy of it is not sound.
        file = Path(str(conn.engine.url.database))
    content = bytearray(file.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    file.with_name("damaged.db").write_bytes(content)
    damaged = open_database(f"sqlite:///{file.with_name('damaged.db')}")
    with pytest.raises(DatabaseError):
        back_up(damaged, folder, clock)
    damaged.close()
    assert names(folder) == before


@pytest.mark.sqlite("a copy is a file")
def test_a_folder_that_cannot_be_made_is_told(database: Database, tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("a file")
    with pytest.raises(DatabaseError, match=r"back-up in .*backups failed"):
        back_up(database, tmp_path / "backups", StoppedClock())


def test_a_server_is_left_to_its_own_tools(database: Database, folder: Path) -> None:
    if not on_postgres():
        # Never connected to: the address alone says what it is.
        pytest.importorskip("psycopg")
        database = open_database("postgresql://nobody@localhost:1/none")
    assert "own tools" in back_up(database, folder, StoppedClock())
    assert not folder.exists()
    if not on_postgres():
        database.close()


# -- restoring -------------------------------------------------------------------------------------

NOT_A_FILE = "a server is restored with its own tools"


def reopened(folder: Path) -> Database:
    return open_database(f"sqlite:///{folder / NAME}")


@pytest.mark.sqlite(NOT_A_FILE)
def test_a_copy_takes_the_databases_place_and_what_was_there_is_kept(
    database: Database, tmp_path: Path
) -> None:
    add_reader(database, 1)
    copy_to(database, tmp_path / "copy.db")
    add_reader(database, 2)
    # As after a crash: what the second one wrote is only in the file that was written ahead.
    shutil.copyfile(tmp_path / NAME, tmp_path / "crashed.db")
    shutil.copyfile(tmp_path / f"{NAME}-wal", tmp_path / "crashed.db-wal")
    database.close()
    crashed = tmp_path / "crashed.db"
    kept = restore(crashed, tmp_path / "copy.db", StoppedClock())
    assert kept == tmp_path / "crashed-replaced-20260302T120000Z.db"
    assert crashed.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.glob("*crashed*")) == [
        "crashed-replaced-20260302T120000Z.db",
        "crashed-replaced-20260302T120000Z.db-wal",
        "crashed.db",
    ]
    for file, n in ((crashed, 1), (kept, 2)):
        opened = open_database(f"sqlite:///{file}")
        assert len(rows(opened, "subscribers")) == n
        opened.close()


@pytest.mark.sqlite(NOT_A_FILE)
def test_a_copy_with_what_was_written_ahead_of_it_is_restored_whole(
    database: Database, tmp_path: Path
) -> None:
    add_reader(database)
    for end in ("", "-wal"):
        shutil.copyfile(tmp_path / f"{NAME}{end}", tmp_path / f"by-hand.db{end}")
    target = tmp_path / "new.db"
    assert restore(target, tmp_path / "by-hand.db", StoppedClock()) is None
    opened = open_database(f"sqlite:///{target}")
    assert len(rows(opened, "subscribers")) == 1
    opened.close()


HOLD_OPEN = """
import sys
from triage.store import open_database
database = open_database(f"sqlite:///{sys.argv[1]}")
with database.read() as conn:
    conn.exec_driver_sql("SELECT 1 FROM papers").all()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.sqlite(NOT_A_FILE)
def test_a_database_that_somebody_has_open_is_not_replaced(
    database: Database, tmp_path: Path, root: Path
) -> None:
    """A process that waits for the next minute holds no lock of ours, and has it open."""
    copy_to(database, tmp_path / "copy.db")
    database.close()
    before = (tmp_path / NAME).read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_OPEN, tmp_path / NAME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=root,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(DatabaseError, match="in use: stop triage first"):
            restore(tmp_path / NAME, tmp_path / "copy.db", StoppedClock())
        other.communicate()
    assert (tmp_path / NAME).read_bytes() == before
    restore(tmp_path / NAME, tmp_path / "copy.db", StoppedClock())


def spoil(copy: Path, how: str) -> None:
    if how == "missing":
        copy.unlink()
    elif how == "a letter":
        copy.write_text("Dear reader, " * 1000)
    elif how == "damaged":
        content = bytearray(copy.read_bytes())
        content[8192:12288] = b"\xff" * 4096
        copy.write_bytes(content)
    else:
        with contextlib.closing(sqlite3.connect(copy)) as conn:
            if how == "newer":
                conn.execute("UPDATE alembic_version SET version_num = '9999'")
            else:
                conn.execute("DROP TABLE alembic_version")
            conn.commit()


@pytest.mark.sqlite(NOT_A_FILE)
@pytest.mark.parametrize("how", ["missing", "a letter", "damaged", "newer", "another's"])
def test_what_is_no_sound_copy_changes_nothing(
    database: Database, tmp_path: Path, how: str
) -> None:
    add_reader(database)
    copy_to(database, tmp_path / "copy.db")
    database.close()
    spoil(tmp_path / "copy.db", how)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(DatabaseError):
        restore(tmp_path / NAME, tmp_path / "copy.db", StoppedClock())
    assert (tmp_path / NAME).read_bytes() == before
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.sqlite(NOT_A_FILE)
def test_the_database_is_not_restored_from_itself(database: Database, tmp_path: Path) -> None:
    database.close()
    with pytest.raises(DatabaseError, match="is the database itself"):
        restore(tmp_path / NAME, tmp_path / NAME, StoppedClock())


@pytest.mark.sqlite(NOT_A_FILE)
def test_a_damaged_database_can_be_replaced(database: Database, tmp_path: Path) -> None:
    copy_to(database, tmp_path / "copy.db")
    database.close()
    (tmp_path / NAME).write_bytes(b"\xff" * 10_000)
    restore(tmp_path / NAME, tmp_path / "copy.db", StoppedClock())
    opened = reopened(tmp_path)
    opened.check_schema()
    opened.close()


# -- nothing is sent again -------------------------------------------------------------------------


class UnknowingMailer(FakeMailer):
    """Cannot tell what arrived, as most transports."""

    def delivered(self, message_id: str) -> None:
        return None


def outbox(database: Database, mailer: FakeMailer, journal: SentLog) -> Outbox:
    """Return an outbox as the program composes it."""
    clock = StoppedClock()
    clearance = Preflight(database, journal, clock, free=lambda _: 10**12)
    return Outbox(
        SenderContext(
            database,
            mailer,
            clock,
            owner="us",
            is_gone=lambda _: True,
            connections=4,
            journal=journal,
        ),
        check=clearance.check,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SentLog]:
    opened = SentLog(tmp_path / "sent.journal")
    yield opened
    opened.close()


@pytest.mark.sqlite("a copy is a file")
@pytest.mark.guarantee("R38")
def test_copies_that_are_made_while_mail_goes_out_open_and_balance(
    database: Database, folder: Path, journal: SentLog, guarantee: Guarantee
) -> None:
    n_copies = 50 if guarantee.full else 6
    n_digests = 2_000 if guarantee.full else 150
    fill(database, n_digests, at=StoppedClock().now())
    copies = 0
    going = threading.Event()

    class Telling(UnknowingMailer):
        def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
            going.set()
            return super().send(message, about_to_end)

    mailer = Telling()
    sender = threading.Thread(target=outbox(database, mailer, journal).drain)
    sender.start()
    going.wait(30)
    in_flight = 0
    for n in range(n_copies):
        copy_to(database, folder.parent / f"copy-{n}.db")
        in_flight += sender.is_alive()
        opened = open_database(f"sqlite:///{folder.parent}/copy-{n}.db")
        opened.check_schema()
        found = audit(opened)
        assert found.faults == ()
        assert sum(counts["due"] for counts in found.days.values()) == n_digests
        opened.close()
        copies += 1
    sender.join()
    guarantee.record(n_copies_opened_and_audited=copies, n_copies_while_mail_went_out=in_flight)
    assert in_flight >= min(3, n_copies)
    assert len(mailer.sent) == n_digests


@pytest.mark.sqlite(NOT_A_FILE)
@pytest.mark.guarantee("R38")
def test_a_restored_database_sends_nothing_again(
    tmp_path: Path, journal: SentLog, guarantee: Guarantee
) -> None:
    """The copy knows a third of the digests as waiting, and has never heard of the others."""
    n_digests = 3_000 if guarantee.full else 240
    with installed(tmp_path) as database:
        ids = fill(database, n_digests, at=StoppedClock().now())
        third = n_digests // 3
        copy_to(database, tmp_path / "copy.db")
        copy = open_database(f"sqlite:///{tmp_path}/copy.db")
        forget_all_after(copy, third)
        copy.close()
        mailer = UnknowingMailer()
        assert outbox(database, mailer, journal).drain() == DrainReport(sent=n_digests)
    restore(tmp_path / NAME, tmp_path / "copy.db", StoppedClock())

    database = reopened(tmp_path)
    paused = outbox(database, mailer, journal).drain()
    assert "triage outbox reconcile" in paused.broken
    assert len(mailer.sent) == n_digests
    agreed = reconcile(database, journal, StoppedClock())
    assert agreed == ReconcileReport(marked=third, tombstones=n_digests - third)
    # The nightly run makes no digest for whom there is one, and nothing waits.
    with database.read() as conn:
        assert len(store.slates.newest(conn)) == n_digests
    assert outbox(database, mailer, journal).drain() == DrainReport()
    duplicates = len(mailer.sent) - len(set(ids))
    assert audit(database, journal).is_balanced
    # What comes new goes out as ever.
    queue(database, empty_slate(add_reader(database, n_digests + 1), n_digests + 1))
    assert outbox(database, mailer, journal).drain() == DrainReport(sent=1)
    database.close()
    guarantee.record(n_sent_after_the_copy=n_digests, n_duplicates_after_restoring=duplicates)
    assert duplicates == 0


def forget_all_after(database: Database, last: int) -> None:
    with database.write() as conn:
        for table, column in (("messages", "id"), ("slates", "id")):
            conn.exec_driver_sql(f"DELETE FROM {table} WHERE {column} > {last}")  # noqa: S608


@pytest.mark.sqlite(NOT_A_FILE)
@pytest.mark.guarantee("R38")
def test_with_the_journal_lost_too_nothing_is_sent_by_itself(
    tmp_path: Path, journal: SentLog, guarantee: Guarantee
) -> None:
    with installed(tmp_path) as database:
        fill(database, 20, at=StoppedClock().now())
        mailer = UnknowingMailer()
        # A copy knows to which journal it belongs, if ever mail was sent from it.
        assert check_sent_log(database, journal, StoppedClock()) == ""
        copy_to(database, tmp_path / "copy.db")
        outbox(database, mailer, journal).drain()
    restore(tmp_path / NAME, tmp_path / "copy.db", StoppedClock())
    journal.close()
    journal.path.unlink()
    database = reopened(tmp_path)
    for _ in range(3):
        paused = outbox(database, mailer, journal).drain()
        assert "is missing" in paused.broken
        assert "--without-journal skip" in paused.broken
    assert not journal.path.exists()
    guarantee.record(n_sent_without_journal=len(mailer.sent) - 20)
    assert len(mailer.sent) == 20
    database.close()


# -- the commands ----------------------------------------------------------------------------------


def installation(folder: Path, config: str = "") -> App:
    """Return an app on a new SQLite database."""
    (folder / NAME).write_bytes(migrated_file())
    (folder / "triage.toml").write_text(config)
    (folder / "secret_key").write_text("kLq8Zp2VtR7wXy4NbM1cFh6JdG3sAe9u\n")
    return open_app(folder / "triage.toml", clock=StoppedClock())


def run(folder: Path, *arguments: Any) -> Result:
    config = str(folder / "triage.toml")
    return CliRunner().invoke(cli, ["--config", config, *map(str, arguments)])


@pytest.mark.sqlite(NOT_A_FILE)
def test_from_the_copy_to_sending_on_as_an_operator_does_it(tmp_path: Path) -> None:
    app = installation(tmp_path)
    app.close()
    assert run(tmp_path, "db", "backup", tmp_path / "by-hand.db").exit_code == 0
    app = open_app(tmp_path / "triage.toml", clock=StoppedClock())
    message_id = queue(app.database, empty_slate(add_reader(app.database)))
    app.close()
    said = run(tmp_path, "db", "backup")
    assert "wrote triage-" in said.output
    [copy] = (tmp_path / "backups").iterdir()

    app = open_app(tmp_path / "triage.toml", clock=StoppedClock())
    assert app.new_outbox().drain().sent == 1
    app.close()
    said = run(tmp_path, "db", "restore", copy)
    assert said.exit_code == 3, said.output
    assert "the old database is " in said.output
    assert "nothing is sent yet" in said.output
    assert "`triage outbox reconcile`" in said.output
    assert run(tmp_path, "outbox", "drain").exit_code == 1
    assert run(tmp_path, "audit").exit_code == 1
    said = run(tmp_path, "outbox", "reconcile")
    assert said.exit_code == 0, said.output
    assert "1 that waited were sent" in said.output
    assert run(tmp_path, "audit").exit_code == 0
    said = run(tmp_path, "outbox", "drain")
    assert (said.exit_code, "0 sent" in said.output) == (0, True)
    assert [path.name for path in (tmp_path / "mail" / "new").iterdir()] != []
    assert len(list((tmp_path / "mail" / "new").iterdir())) == 1
    assert message_id


@pytest.mark.sqlite(NOT_A_FILE)
def test_a_copy_that_lacks_nothing_lets_mail_go_on_at_once(tmp_path: Path) -> None:
    installation(tmp_path).close()
    assert run(tmp_path, "db", "backup", tmp_path / "copy.db").exit_code == 0
    said = run(tmp_path, "db", "restore", tmp_path / "copy.db")
    assert (said.exit_code, "start triage again" in said.output) == (0, True)


def test_a_server_has_tools_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    url = 'url = "postgresql://nobody@localhost:1/none"'
    installation(tmp_path, f"[database]\n{url}\n").close()
    for command in (("backup",), ("restore", tmp_path / "copy.db")):
        said = run(tmp_path, "db", *command)
        assert isinstance(said.exception, DatabaseError)
        assert "own tools" in str(said.exception)
