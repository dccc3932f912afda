"""Opening a database, and the two kinds of transaction.

A reader sees one state. Writers go one after the other: SQLite has one lock for them, and on
PostgreSQL each takes the same advisory lock first. So whatever a writer reads stays true until it
commits, on both, and no code has to think of isolation levels, retries or deadlocks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import DatabaseError as DriverError

from triage.errors import ConfigError, DatabaseError, SchemaError
from triage.store import tables
from triage.store.engine.checkpoint import Checkpointer
from triage.store.engine.file_system import network_file_system
from triage.store.engine.write_queue import InTurn

_PATIENCE_S = 10.0
_LOOK_AGAIN_MS, _LOOK_AGAIN = 50, "PRAGMA busy_timeout = 50"
_BUSY = "was busy for longer than ten seconds: is another program holding it?"
_SQLITE_PRAGMAS = (
    # The time-out comes first, so that the others already wait for a busy database.
    "PRAGMA busy_timeout = 10000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA mmap_size = 0",
    # `_checkpoint` does that; what it has carried over is cut off at the next write.
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA journal_size_limit = 0",
)
_DAMAGED = " is damaged or no database: restore the back-up"
# By words, for SQLite gives one code to many errors; the first that fits counts.
_SQLITE_SAYS = {
    "no such table": " has no tables yet or older ones: run `triage db upgrade`",
    "locked": f" {_BUSY}",
    "busy": f" {_BUSY}",
    "full": ": the disk is full; nothing was half written. Free space and run again",
    "unable to open": " cannot be opened: does it exist, and may this account read and write it?",
    "readonly": " may not be written by this account",
    "not a database": _DAMAGED,
    "malformed": _DAMAGED,
    "not decode": _DAMAGED,
}
_POSTGRES_CONNECT = {
    # Seconds until a server that does not answer counts as down; the URL may say otherwise.
    "connect_timeout": "10",
    "application_name": "triage",
}
# As patient as with SQLite. A writer that went silent, its machine gone or asleep, loses its right
# after a minute, for it keeps all others waiting; what it wrote is rolled back.
_POSTGRES_WRITE = (
    "SET LOCAL lock_timeout = '10s'",
    "SET LOCAL idle_in_transaction_session_timeout = '60s'",
    # Any number that nobody else uses: the bytes of "triage".
    f"SELECT pg_advisory_xact_lock({int.from_bytes(b'triage')})",
)
# By SQLSTATE, appendix A of PostgreSQL's manual.
_POSTGRES_SAYS = {
    "25006": "takes no writes now: is it a standby? Name the primary in [database] url",
    "25P03": "gave up on this process, which was silent for a minute: run again",
    "42501": "may not be written by this account: make the account the database's owner",
    "42703": "has no tables yet or older ones: run `triage db upgrade`",
    "42P01": "has no tables yet or older ones: run `triage db upgrade`",
    "53100": "has no room: nothing was half written. Free space on its disk and run again",
    "53300": "has no connection left: raise max_connections or end other programs",
    "55P03": _BUSY,
    "57P01": "was shut down; nothing was half written. Start it and run again",
}


class Database:
    """An open database. `read()` and `write()` give a connection inside one transaction."""

    def __init__(self, engine: Engine, checkpointer: Checkpointer | None = None) -> None:
        self.engine = engine
        self._checkpointer = checkpointer
        self._in_turn = InTurn()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the database."""
        with self._transaction(write=False) as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection that holds the right to write; commit at the end, else roll back."""
        if self._checkpointer is None:
            with self._transaction(write=True) as conn:
                yield conn
            return
        with self._in_turn.turn(_PATIENCE_S) as came:
            if not came:
                raise DatabaseError(f"{self.engine.url.database} {_BUSY}")
            with self._transaction(write=True) as conn:
                yield conn
        self._checkpointer.after_write()

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        try:
            with self._connection(write=write) as conn, conn.begin():
                yield conn
        except DriverError as error:
            explained = self._explained(error)
            if explained is None:
                raise
            raise DatabaseError(explained) from error

    def _connection(self, *, write: bool) -> Connection:
        conn = self.engine.connect().execution_options(triage_write=write)
        if write or self.is_file:
            return conn
        return conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def _explained(self, error: DBAPIError) -> str | None:
        """Say what the operator can do; None if it is the caller's error, a broken constraint."""
        explain = _explained_sqlite if self.is_file else _explained_postgres
        return explain(error, self.engine.url)

    def check_schema(self) -> None:
        """Refuse a database that is not exactly at this program's schema.

        Raises:
            SchemaError: not created yet, older or newer; the message says what to run.
        """
        with self.read() as conn:
            found = revision_of(conn)
        if found is None:
            raise SchemaError("the database has no tables yet: run `triage db upgrade`")
        if found != tables.SCHEMA_REVISION:
            raise SchemaError(
                f"the database is at schema {found}, this program needs {tables.SCHEMA_REVISION}:"
                " back it up and run `triage db upgrade`"
            )

    @property
    def is_file(self) -> bool:
        """Tell whether this is a SQLite file, which one may copy."""
        return self.engine.dialect.name == "sqlite"

    def copy_to(self, path: Path) -> None:
        """Copy a SQLite database while it is in use, through its online back-up.

        Raises:
            DatabaseError: the copy cannot be written or is not sound.
        """
        try:
            with closing(sqlite3.connect(path)) as copy, self.engine.connect() as conn:
                _raw(conn).backup(copy, pages=1000)
                found = copy.execute("PRAGMA integrity_check").fetchone()
        except (sqlite3.Error, DriverError) as error:
            said = error.orig if isinstance(error, DriverError) else error
            raise DatabaseError(
                f"the database {self.engine.url.database} cannot be copied to {path}: {said}. See"
                " that the disk has room and that this account may write there, then run again"
            ) from error
        if found != ("ok",):
            raise DatabaseError(f"the copy {path} of the database is not sound: {found[0]}")

    def rewrite(self) -> None:
        """Write a SQLite file anew, so that nothing of what was deleted is left in it.

        PostgreSQL does the like on its own, when its autovacuum comes by.

        Raises:
            DatabaseError: it is in use, or the disk has no room for a second copy.
        """
        if not self.is_file:
            return
        try:
            with self.engine.connect() as conn:
                _raw(conn).execute("VACUUM")
            if self._checkpointer is not None:
                self._checkpointer.empty()
        except (sqlite3.Error, DriverError, OSError) as error:
            said = error.orig if isinstance(error, DriverError) else error
            raise DatabaseError(
                f"what was deleted may still lie in the database's file ({said}): stop what uses"
                " it, see that its disk has room, and run `triage db compact`"
            ) from error

    def close(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()
        self.engine.dispose()


def revision_of(conn: Connection) -> str | None:
    """Return the schema that a database is at, None for one without tables.

    Raises:
        SchemaError: see `check_revision`.
    """
    if not inspect(conn).has_table("alembic_version"):
        return None
    found: str | None = conn.scalar(text("SELECT version_num FROM alembic_version"))
    if found is not None:
        check_revision(found)
    return found


def check_revision(revision: str) -> None:
    """Refuse a schema that this program can neither use nor upgrade.

    Raises:
        SchemaError: it is newer than this program, or of a version that was never released.
    """
    if revision < tables.FIRST_REVISION:
        raise SchemaError(
            f"the database is at schema {revision}, made by a version of triage that was never"
            " released: start a new installation with `triage init` in another folder, and import"
            " the feedback there again"
        )
    if revision > tables.SCHEMA_REVISION:
        raise SchemaError(
            f"the database is at schema {revision}, newer than this program"
            f" ({tables.SCHEMA_REVISION}): install the newer triage"
        )


def open_database(url: str) -> Database:
    """Open `url` without touching its tables.

    Raises:
        ConfigError: the address cannot be read or its driver is missing.
        DatabaseError: the folder of a SQLite file does not exist or is another machine's.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            "[database] url: not a database address, for example sqlite:///triage.db"
        ) from error
    if parsed.drivername == "sqlite":
        file = file_of(parsed)
        return Database(_sqlite(parsed, file), Checkpointer(file) if file else None)
    if parsed.drivername in {"postgresql", "postgresql+psycopg"}:
        return Database(_postgres(parsed))
    raise ConfigError(
        f"[database] url: {parsed.drivername} is not supported, use sqlite:///… or postgresql://…"
    )


def file_of(url: URL) -> Path | None:
    """Return the file that a SQLite database lies in; None for any other."""
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    return Path(str(url.database))


def _raw(conn: Connection) -> sqlite3.Connection:
    raw = conn.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - the engine is SQLite's
    return raw


def _sqlite(url: URL, file: Path | None) -> Engine:
    pool: dict[str, Any] = {}
    if file is not None:
        if not file.parent.is_dir():
            raise DatabaseError(f"the folder {file.parent} does not exist: create it")
        if kind := network_file_system(file.parent):
            raise DatabaseError(
                f"{file.parent} lies on a network file system ({kind}), where SQLite loses data:"
                " move the database to a disk of this machine, or use PostgreSQL"
            )
        # As many as web requests are answered at once: opening one costs more than most need.
        pool = {"pool_size": 16, "max_overflow": 24}
    # What a row holds, addresses for one, stays out of errors and so out of logs.
    engine = create_engine(url, hide_parameters=True, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    # The driver's own BEGIN is deferred and comes too late; _begin_sqlite sends the right one.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(conn: Connection) -> None:
    if conn.get_execution_options().get("triage_write", True):
        _begin_to_write(conn)
    else:
        conn.exec_driver_sql("BEGIN")


def _begin_to_write(conn: Connection) -> None:
    """Wait for the right to write as long as the connection is patient.

    The longer SQLite waits, the more seldom it looks, down to ten times a second: among processes
    that write without a pause one may then not find its moment for all its patience. Waiting many
    times for a short while looks a hundred times a second.
    """
    raw = _raw(conn)
    (patience_ms,) = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute(_LOOK_AGAIN)
    try:
        for _ in range(patience_ms // _LOOK_AGAIN_MS - 1):
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                # The extended codes of one kind share their lowest byte.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
            else:
                return
        conn.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        raw.execute(_SQLITE_PRAGMAS[0])


def _explained_sqlite(error: DBAPIError, url: URL) -> str | None:
    if type(error) not in (OperationalError, DriverError):
        return None
    said = str(error.orig)
    says = (told for words, told in _SQLITE_SAYS.items() if words in said)
    return f"{url.database or 'the database'}{next(says, f': {said}')}"


def _postgres(url: URL) -> Engine:
    url = url.set(drivername="postgresql+psycopg", query=_POSTGRES_CONNECT | dict(url.query))
    try:
        # A server may be restarted while this program runs; the first query then finds out.
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
    except ImportError as error:
        raise ConfigError(
            "[database] url: PostgreSQL needs its driver: pip install 'paper-triage[postgres]'"
        ) from error
    event.listen(engine, "connect", _check_postgres)
    event.listen(engine, "begin", _begin_postgres)
    return engine


def _check_postgres(dbapi_connection: Any, _record: object) -> None:
    encoding = dbapi_connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigError(
            f"[database] url: the database stores {encoding}, papers need UTF8:"
            " make another one with `createdb --encoding=UTF8 --template=template0`"
        )


def _begin_postgres(conn: Connection) -> None:
    if conn.get_execution_options().get("triage_write", True):
        for statement in _POSTGRES_WRITE:
            conn.exec_driver_sql(statement)


def _explained_postgres(error: DBAPIError, url: URL) -> str | None:
    place = f"the database {url.database or url.username} on {url.host or 'this machine'}"
    state = getattr(error.orig, "sqlstate", None) or ""
    if state in _POSTGRES_SAYS:
        return f"{place} {_POSTGRES_SAYS[state]}"
    if type(error) not in (OperationalError, DriverError):
        return None
    said = " ".join(str(error.orig).split())
    # A connection that fails has no code, only words.
    if "password" in said:
        return f"{place} refused the password of {url.username}: correct [database] url"
    if 'database "' in said and "does not exist" in said:
        return f"{place} does not exist: make it with `createdb --encoding=UTF8`"
    if state:
        return f"{place}: {said}"
    return f"{place} cannot be reached: does it run, and is [database] url right? {said}"
