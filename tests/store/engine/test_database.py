"""Opening a database: durable, patient with other writers, and clear about what is wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError, StatementError

from tests.support.databases import installed, without_tables
from tests.support.factories import DAY, NOON, slate, subscriber
from tests.support.installation import add_reader, fetched, rows, take_in, unnamed
from triage import store
from triage.errors import ConfigError, DatabaseError
from triage.store import Database, open_database
from triage.store.engine.database import _SQLITE_PRAGMAS
from triage.store.tables import source_cursors


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def save_cursor(database: Database, value: str, at: datetime = NOON) -> None:
    with database.write() as conn:
        store.sources.save_cursor(conn, "listed", value, at)


def cursor(database: Database) -> str | None:
    with database.read() as conn:
        return store.sources.cursor(conn, "listed")


# -- connections -----------------------------------------------------------------------------------


@pytest.mark.sqlite("these are its settings")
def test_every_connection_waits_logs_ahead_syncs_and_checks_keys(database: Database) -> None:
    wanted = {"busy_timeout": 10000, "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    with database.read() as first, database.read() as second:
        for conn in (first, second):
            found = {name: conn.scalar(text(f"PRAGMA {name}")) for name in wanted}
            assert found == wanted


def test_the_time_out_is_set_before_anything_that_may_have_to_wait() -> None:
    assert _SQLITE_PRAGMAS[0] == "PRAGMA busy_timeout = 10000"


def test_a_row_that_refers_to_nothing_is_refused(database: Database) -> None:
    nobodys = slate(0, subscriber=subscriber(77))
    with pytest.raises(IntegrityError), database.write() as conn:
        store.slates.save_each(conn, [nobodys], store.jobs.begin_run(conn, DAY, NOON), NOON)


# -- transactions ----------------------------------------------------------------------------------


def test_a_write_is_kept_at_its_end(database: Database) -> None:
    save_cursor(database, "7")
    assert cursor(database) == "7"


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as conn:
        store.sources.save_cursor(
            conn, "listed", str(store.jobs.begin_run(conn, DAY, NOON) // 0), NOON
        )
    assert rows(database, "runs") == []
    assert cursor(database) is None


def test_a_reader_sees_one_state_while_others_write(database: Database) -> None:
    save_cursor(database, "old")
    with database.read() as conn:
        assert store.sources.cursor(conn, "listed") == "old"
        save_cursor(database, "new")
        assert store.sources.cursor(conn, "listed") == "old"
    assert cursor(database) == "new"


# -- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-7, 0, 2, 14])
def test_a_time_of_any_zone_comes_back_as_the_same_instant_in_utc(
    database: Database, hours: int
) -> None:
    at = NOON.replace(microsecond=1).astimezone(timezone(timedelta(hours=hours)))
    save_cursor(database, "7", at)
    found = rows(database, "source_cursors")[0]["updated_at"]
    assert found == at
    assert found.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="a time without a zone"):
        save_cursor(database, "7", NOON.replace(tzinfo=None))
    assert cursor(database) is None


def test_no_time_stays_no_time(database: Database) -> None:
    with database.write() as conn:
        store.jobs.begin_run(conn, DAY, NOON)
    assert rows(database, "runs")[0]["finished_at"] is None


# -- texts -----------------------------------------------------------------------------------------


def test_half_a_character_and_nul_are_stored_as_replacement_characters(database: Database) -> None:
    reader = add_reader(
        database, interests="a\0b\ud800c \U0001f642", followed_authors=("\0\ud800",)
    )
    assert reader.interests == "a\ufffdb\ufffdc \U0001f642"
    # In lists they are written as JSON, which has escapes for them.
    assert reader.followed_authors == ("\0\ud800",)


@pytest.mark.parametrize("text", ["arxiv:\0", "title:\ud800 \0", "10.1000/\0", "\ud800:\udfff"])
def test_what_can_be_stored_nowhere_can_still_be_looked_for(database: Database, text: str) -> None:
    with database.read() as conn:
        assert store.papers.resolve(conn, text) is None


def test_a_title_that_grows_when_it_is_compared_still_fits(database: Database) -> None:
    title = "\ufdfa" * 450  # one character that stands for eighteen
    assert take_in(database, [fetched(title=title), unnamed(title=title)]).stored == 1
    with database.read() as conn:
        assert store.papers.resolve(conn, f"title:{title}") == 1


def test_thousands_of_keys_can_be_looked_for_at_once(database: Database) -> None:
    take_in(database, [fetched(1)])
    many = [("arxiv", f"2603.{n:05d}") for n in range(70_000)]
    with database.read() as conn:
        assert store.papers.find(conn, many) == {("arxiv", "2603.00001"): 1}
        assert store.papers.find_titles(conn, [value for _, value in many]) == {}


def test_reading_all_papers_leaves_the_connection_as_it_was(database: Database) -> None:
    take_in(database, [fetched(n) for n in range(3)])
    with database.write() as conn:
        assert len(list(store.papers.iterate(conn))) == 3
        store.papers.add_ids(conn, [(("doi", "10.1000/x"), 1)])
    assert len(rows(database, "paper_ids")) == 4


# -- writers at the same time ----------------------------------------------------------------------


def count_on(url: str, n: int) -> None:
    """Read a number and write the next one, `n` times: lost updates and locks both show."""
    database = open_database(url)
    for _ in range(n):
        with database.write() as conn:
            store.take_turn(conn, store.Turn.NAMES)
            before = store.sources.cursor(conn, "listed") or "0"
            store.sources.save_cursor(conn, "listed", str(int(before) + 1), NOON)
    database.close()


def test_threads_that_write_at_once_wait_for_each_other(database: Database) -> None:
    url = str(database.engine.url)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            count_on(url, 20)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert cursor(database) == "120"


def test_processes_that_write_at_once_wait_for_each_other(database: Database, root: Path) -> None:
    program = f"from {__name__} import count_on; count_on({str(database.engine.url)!r}, 20)"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=root, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = [worker.communicate()[1] for worker in workers]
    assert said == ["", "", ""]
    assert cursor(database) == "60"


# -- what is wrong, in words -----------------------------------------------------------------------


@pytest.mark.sqlite("its time-out is set with a PRAGMA")
def test_a_database_that_another_program_holds_is_named(database: Database, tmp_path: Path) -> None:
    other = open_database(str(database.engine.url))
    with other.read() as conn:
        # Ten seconds are too long for a test.
        conn.exec_driver_sql("PRAGMA busy_timeout = 20")
    with (
        database.write() as conn,
        pytest.raises(DatabaseError, match="is another program holding it") as caught,
        other.write(),
    ):
        pass
    other.close()
    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="does not exist: create it") as caught:
        open_database(f"sqlite:///{tmp_path}/nowhere/triage.db")
    assert "nowhere" in str(caught.value)


def test_a_database_without_tables_says_what_to_run(tmp_path: Path) -> None:
    with (
        without_tables(tmp_path) as database,
        pytest.raises(DatabaseError, match="run `triage db upgrade`"),
    ):
        cursor(database)


@pytest.mark.sqlite("the test sets it with a PRAGMA")
def test_a_database_that_may_only_be_read_is_told(database: Database) -> None:
    with database.read() as conn:
        conn.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(DatabaseError, match="may not be written"):
        save_cursor(database, "7")


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear reader, " * 500)
    database = open_database(f"sqlite:///{tmp_path}/letter.db")
    with pytest.raises(DatabaseError, match="damaged or not a database"):
        cursor(database)
    database.close()


def test_a_folder_in_the_databases_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    database = open_database(f"sqlite:///{tmp_path}/folder.db")
    with pytest.raises(DatabaseError, match="cannot be opened"):
        cursor(database)
    database.close()


@pytest.mark.parametrize(
    "url", ["triage.db", "oracle://host/db", "", "postgresql+psycopg2://host/db"]
)
def test_an_address_that_is_none_is_a_matter_of_the_config(url: str) -> None:
    with pytest.raises(ConfigError, match=r"\[database\] url"):
        open_database(url)


@pytest.mark.sqlite("PostgreSQL quotes the key that is there already in its own words")
def test_an_error_tells_no_address(database: Database) -> None:
    reader = add_reader(database)
    with pytest.raises(IntegrityError, match="email_key") as caught:
        add_reader(database)
    assert reader.email not in str(caught.value)


def test_a_broken_constraint_stays_what_it_is(database: Database) -> None:
    add_reader(database)
    with pytest.raises(IntegrityError):
        add_reader(database)
    with pytest.raises(IntegrityError), database.write() as conn:
        conn.execute(insert(source_cursors), {"source": "x", "cursor": None, "updated_at": NOON})
