"""PostgreSQL: locks and turns of writers, readers with one state, errors that say what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from tests.support import postgres
from tests.support.factories import NOON
from triage import store
from triage.errors import ConfigError, DatabaseError
from triage.store import Database, open_database
from triage.store.engine import database as engine
from triage.store.migrate import differences, upgrade
from triage.store.tables import SCHEMA_REVISION


@pytest.fixture
def database() -> Iterator[Database]:
    with postgres.migrated_url() as url:
        opened = open_database(url)
        yield opened
        opened.close()


def save_cursor(database: Database, value: str) -> None:
    with database.write() as conn:
        store.sources.save_cursor(conn, "listed", value, NOON)


def cursor(database: Database) -> str | None:
    with database.read() as conn:
        return store.sources.cursor(conn, "listed")


def why_not(url: str) -> str:
    """Return why a database cannot be used."""
    database = open_database(url)
    with pytest.raises((ConfigError, DatabaseError)) as caught:
        cursor(database)
    database.close()
    return str(caught.value)


def with_settings(old: str, new: str) -> str:
    """Return what a writer sends first, with another time-out, for a test cannot wait so long."""
    assert old in engine._POSTGRES_WRITE
    return engine._POSTGRES_WRITE.replace(old, new)


# -- addresses -------------------------------------------------------------------------------------


def test_both_ways_to_write_the_address_open_the_same_database(database: Database) -> None:
    save_cursor(database, "7")
    url = database.engine.url.render_as_string(hide_password=False)
    other = open_database(url.replace("postgresql+psycopg:", "postgresql:"))
    assert cursor(other) == "7"
    other.close()


def test_without_its_driver_the_error_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'paper-triage\[postgres\]'"):
        open_database("postgresql://somewhere/papers")


def test_migrations_make_exactly_the_programs_tables() -> None:
    with postgres.copy_of("template1") as url:
        database = open_database(url)
        assert upgrade(database) == (None, SCHEMA_REVISION)
        assert differences(database) == []
        assert upgrade(database) == (SCHEMA_REVISION, SCHEMA_REVISION)
        database.close()


# -- transactions ----------------------------------------------------------------------------------


def test_a_writer_waits_ten_seconds_for_what_another_one_has_locked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_POSTGRES_WRITE", with_settings("10s", "20ms"))
    with database.write() as conn:
        store.take_turn(conn, store.Turn.PAPERS)
        with pytest.raises(DatabaseError, match="is another program holding it"):
            database.execute(store.take_turn, store.Turn.PAPERS)
    save_cursor(database, "7")


def test_turns_of_different_things_do_not_wait_for_each_other(database: Database) -> None:
    with database.write() as conn, database.write() as other:
        store.take_turn(conn, store.Turn.PAPERS)
        store.take_turn(other, store.Turn.SIGNUPS)
        store.take_turn(conn, store.Turn.ADDRESS, "ada@example.org")
        store.take_turn(other, store.Turn.ADDRESS, "ben@example.org")


def test_a_reader_waits_for_nobody_and_sees_one_state(database: Database) -> None:
    save_cursor(database, "old")
    with database.read() as conn:
        assert store.sources.cursor(conn, "listed") == "old"
        with database.write() as writer:
            store.sources.save_cursor(writer, "listed", "new", NOON)
            assert cursor(database) == "old"
        assert store.sources.cursor(conn, "listed") == "old"
    assert cursor(database) == "new"


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseError), database.read() as conn:
        store.sources.save_cursor(conn, "listed", "7", NOON)
    assert cursor(database) is None
    # The connection that comes out of the pool again is not marked by how it was used.
    save_cursor(database, "8")


def test_a_writer_that_fell_silent_loses_its_right_and_writes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_settings("60s", "50ms")
    monkeypatch.setattr(engine, "_POSTGRES_WRITE", settings)

    def freeze_and_wake() -> None:
        with database.write() as frozen:
            store.sources.save_cursor(frozen, "listed", "frozen", NOON)
            monkeypatch.undo()
            save_cursor(database, "other")  # waits until the server has thrown the first one out
            store.sources.save_cursor(frozen, "listed", "woken", NOON)

    with pytest.raises(DatabaseError, match="idle for a minute"):
        freeze_and_wake()
    assert cursor(database) == "other"


def test_a_connection_that_broke_between_two_transactions_is_made_again(
    database: Database,
) -> None:
    with database.read() as conn:
        pid = conn.scalar(text("SELECT pg_backend_pid()"))
    postgres.server().run(f"SELECT pg_terminate_backend({int(pid or 0)})")  # type: ignore[arg-type]
    save_cursor(database, "7")
    assert cursor(database) == "7"


def test_a_connection_that_breaks_within_a_transaction_is_told(database: Database) -> None:
    def break_off() -> None:
        with database.write() as conn:
            store.sources.save_cursor(conn, "listed", "7", NOON)
            conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(DatabaseError, match="nothing was partly written"):
        break_off()
    assert cursor(database) is None


# -- what is wrong, in words -----------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told() -> None:
    said = why_not("postgresql://ada:sesame@127.0.0.1:1/papers")
    assert "the database papers on 127.0.0.1 cannot be reached: does it run" in said
    assert "Connection refused" in said
    assert "sesame" not in said


def test_a_database_that_is_not_there_is_told() -> None:
    said = why_not(postgres.server().url("nowhere"))
    assert "nowhere" in said
    assert "does not exist: make it with `createdb --encoding=UTF8`" in said


@pytest.mark.parametrize("password", ["", ":wrong-sesame"])
def test_a_password_that_is_wrong_or_missing_is_told(password: str) -> None:
    postgres.server().run(
        "DO $$ BEGIN CREATE ROLE locked LOGIN PASSWORD 'sesame';"
        " EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    url = postgres.server().url("postgres").replace("triage@", f"locked{password}@")
    said = why_not(url)
    assert "refused the password of locked: correct [database] url" in said
    assert "sesame" not in said


def test_a_database_that_does_not_store_all_characters_is_refused() -> None:
    postgres.server().run(
        "CREATE DATABASE {} ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        "latin",
    )
    url = postgres.server().url("latin")
    assert "stores LATIN1, papers need UTF8" in why_not(url)
    postgres.drop(url)


def test_a_database_without_tables_says_what_to_run() -> None:
    with postgres.copy_of("template1") as url:
        assert "run `triage db upgrade`" in why_not(url)


def test_an_account_that_may_not_write_is_told(database: Database) -> None:
    with database.write() as conn:
        conn.execute(text("CREATE ROLE guest LOGIN"))
        conn.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest"))
    url = database.engine.url.render_as_string().replace("triage@", "guest@")
    guest = open_database(url)
    assert cursor(guest) is None
    with pytest.raises(DatabaseError, match="may not be written by this account"):
        save_cursor(guest, "7")
    guest.close()
    with database.write() as conn:
        conn.execute(text("DROP OWNED BY guest"))
        conn.execute(text("DROP ROLE guest"))
