"""Opening a database, and the two kinds of transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import DatabaseError as DriverError

from triage.errors import ConfigError, DatabaseError, SchemaError
from triage.tables import SCHEMA_REVISION

_SQLITE_PRAGMAS = (
    # The time-out comes first, so that the others already wait for a busy database.
    "PRAGMA busy_timeout = 10000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA mmap_size = 0",
)


class Database:
    """An open database. `read()` and `write()` give a connection inside one transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the database."""
        with self._transaction(write=False) as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection that holds the right to write; commit at the end, else roll back."""
        with self._transaction(write=True) as conn:
            yield conn

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        try:
            with self.engine.connect().execution_options(triage_write=write) as conn, conn.begin():
                yield conn
        except DriverError as error:
            # A broken constraint is of a class of its own: it is the caller's, not the operator's.
            if type(error) not in (OperationalError, DriverError):
                raise
            raise DatabaseError(_explained(error, self.engine)) from error

    def check_schema(self) -> None:
        """Refuse a database that is not exactly at this program's schema.

        Raises:
            SchemaError: not created yet, older or newer; the message says what to run.
        """
        with self.read() as conn:
            found = None
            if inspect(conn).has_table("alembic_version"):
                found = conn.scalar(text("SELECT version_num FROM alembic_version"))
        if found is None:
            raise SchemaError("the database has no tables yet: run `triage db upgrade`")
        if found < SCHEMA_REVISION:
            raise SchemaError(
                f"the database is at schema {found}, this program needs {SCHEMA_REVISION}:"
                " back it up and run `triage db upgrade`"
            )
        if found > SCHEMA_REVISION:
            raise SchemaError(
                f"the database is at schema {found}, newer than this program ({SCHEMA_REVISION}):"
                " install the newer triage"
            )

    @property
    def is_file(self) -> bool:
        """Tell whether this is a SQLite file, which one may copy."""
        return self.engine.dialect.name == "sqlite"

    def copy_to(self, path: Path) -> None:
        """Copy a SQLite database while it is in use, through its online back-up.

        Raises:
            DatabaseError: the copy is not sound.
        """
        with closing(sqlite3.connect(path)) as copy, self.engine.connect() as conn:
            source = conn.connection.driver_connection
            assert isinstance(source, sqlite3.Connection)  # noqa: S101 - `is_file` says so
            source.backup(copy, pages=1000)
            found = copy.execute("PRAGMA integrity_check").fetchone()
        if found != ("ok",):
            raise DatabaseError(f"the copy {path} of the database is not sound: {found[0]}")

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Open `url` without touching its tables.

    Raises:
        ConfigError: the address cannot be read or its driver is missing.
        DatabaseError: the folder of a SQLite file does not exist.
    """
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
        if name not in {"sqlite"}:
            raise ConfigError(f"[database] url: {name} is not supported, use sqlite:///…")
        engine = create_engine(parsed)
    except ArgumentError as error:
        raise ConfigError(
            "[database] url: not a database address, for example sqlite:///triage.db"
        ) from error
    if parsed.database and not Path(parsed.database).parent.is_dir():
        raise DatabaseError(f"the folder {Path(parsed.database).parent} does not exist: create it")
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Database(engine)


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    # The driver's own BEGIN is deferred and comes too late; _begin_sqlite sends the right one.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(conn: Connection) -> None:
    write = conn.get_execution_options().get("triage_write", True)
    conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _explained(error: DBAPIError, engine: Engine) -> str:
    said = str(error.orig)
    place = engine.url.database or "the database"
    if "no such table" in said:
        return f"{place} has no tables yet or older ones: run `triage db upgrade`"
    if "locked" in said or "busy" in said:
        return f"{place} was busy for longer than ten seconds: is another program holding it?"
    if "disk is full" in said or "full" in said:
        return f"{place}: the disk is full; nothing was half written. Free space and run again"
    if "unable to open" in said:
        return f"{place} cannot be opened: does it exist, and may this account read and write it?"
    if "readonly" in said:
        return f"{place} may not be written by this account"
    if "not a database" in said or "malformed" in said:
        return f"{place} is damaged or no database: restore the back-up"
    return f"{place}: {said}"
