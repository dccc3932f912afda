"""Opens a database, and gives transactions for reading and for writing.

A read transaction sees one state. SQLite lets one transaction write at a time, so what a writer
reads does not change before its commit. PostgreSQL lets many write at once, in READ COMMITTED: each
statement sees what was committed before it, and a writer locks first what it reads and then changes
(`engine.turns` says how; decision 25 why).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import DatabaseError as DriverError

from triage.errors import ConfigError, DatabaseError, SchemaError
from triage.store import tables
from triage.store.engine.checkpoint import Checkpointer
from triage.store.engine.file_system import network_file_system
from triage.store.engine.write_queue import WriteQueue

P = ParamSpec("P")
T = TypeVar("T")

UNFINISHED_COPY = "unfinished copy at "
"""How the schema revision begins while `copy_database` fills a database."""

_PATIENCE_S = 10.0
_RETRY_MS, _SET_RETRY_TIMEOUT = 50, "PRAGMA busy_timeout = 50"
_BUSY = "was busy for longer than ten seconds: is another program holding it?"
_SQLITE_PRAGMAS = (
    # The timeout comes first, so that the others wait for a busy database.
    "PRAGMA busy_timeout = 10000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA mmap_size = 0",
    # `checkpoint` does this; the next write then truncates the log.
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA journal_size_limit = 0",
)
_DAMAGED = " is damaged or not a database: restore the back-up"
# By words, because SQLite has one code for many errors; the first match counts.
_SQLITE_MESSAGES = {
    "no such table": " has no tables or old ones: run `triage db upgrade`",
    "locked": f" {_BUSY}",
    "busy": f" {_BUSY}",
    "full": ": the disk is full; nothing was partly written. Free space and run again",
    "unable to open": " cannot be opened: does it exist, and may this account read and write it?",
    "readonly": " may not be written by this account: give it the right to write",
    "not a database": _DAMAGED,
    "malformed": _DAMAGED,
    "not decode": _DAMAGED,
}
_POSTGRES_CONNECT = {
    # In seconds; the URL may set another value.
    "connect_timeout": "10",
    "application_name": "triage",
}
# The same timeout as for SQLite. A writer that is idle for a minute, such as on a sleeping machine,
# is rolled back, because others wait for what it has locked. One statement saves a round trip.
_POSTGRES_WRITE = (
    "SELECT set_config('lock_timeout', '10s', true),"
    " set_config('idle_in_transaction_session_timeout', '60s', true)"
)
# Two writers waited for each other, and the server undid one: "Deadlocks" and "Serialization
# Failure Handling" in PostgreSQL's manual.
_UNDONE = ("40001", "40P01")
_MOST_TRIES = 5
# By SQLSTATE, appendix A of PostgreSQL's manual.
_POSTGRES_MESSAGES = {
    "25006": "accepts no writes now: is it a standby? Set the primary in [database] url",
    **dict.fromkeys(_UNDONE, "was changed by another program at the same moment: run again"),
    "25P03": "ended the transaction, which was idle for a minute: run again",
    "42501": "may not be written by this account: make the account the database's owner",
    "42703": "has no tables or old ones: run `triage db upgrade`",
    "42P01": "has no tables or old ones: run `triage db upgrade`",
    "53100": "has no space left: nothing was partly written. Free space on its disk and run again",
    "53300": "has no connection left: raise max_connections or end other programs",
    "55P03": _BUSY,
    "57P01": "was shut down; nothing was partly written. Start it and run again",
}


class _Undone(DatabaseError):
    """The server undid a transaction for another one's sake; made again, it may go through."""


class Database:
    """An open database. `read()` and `write()` give a connection inside one transaction.

    `file` is the file of a SQLite database, None for any other database.
    """

    def __init__(self, engine: Engine, checkpointer: Checkpointer | None = None) -> None:
        self.engine = engine
        self._checkpointer = checkpointer
        self.file = checkpointer.file if checkpointer else None
        self._in_turn = WriteQueue()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the database."""
        with self._transaction(write=False) as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection that may write; commit at the end, or roll back on an error.

        With SQLite no other one may write meanwhile; with PostgreSQL, see `engine.turns`.
        """
        if self._checkpointer is None:
            with self._transaction(write=True) as conn:
                yield conn
            return
        with self._in_turn.turn(_PATIENCE_S) as is_mine:
            if not is_mine:
                raise DatabaseError(f"{self.engine.url.database} {_BUSY}")
            with self._transaction(write=True) as conn:
                yield conn
        self._checkpointer.after_write()

    def fetch(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of one query, such as `store.jobs.last_done`, in its own `read`."""
        with self.read() as conn:
            return query(conn, *args, **kwargs)

    def execute(
        self, change: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Make one change in its own `write`, and return its result.

        PostgreSQL may undo it for the sake of another one. Then it is made again, so it must only
        read and write the database.
        """
        for _ in range(_MOST_TRIES - 1):
            with suppress(_Undone), self.write() as conn:
                return change(conn, *args, **kwargs)
        with self.write() as conn:
            return change(conn, *args, **kwargs)

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        options: dict[str, Any] = {"triage_write": write}
        if not (write or self.is_file):
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with self.engine.connect().execution_options(**options) as conn, conn.begin():
                yield conn
        except DriverError as error:
            explain = _explain_sqlite if self.is_file else _explain_postgres
            message = explain(error, self.engine.url)
            if message is None:
                raise
            is_undone = getattr(error.orig, "sqlstate", None) in _UNDONE
            raise (_Undone if is_undone else DatabaseError)(message) from error

    def check_schema(self) -> None:
        """Check that the database has the schema of this program.

        Raises:
            SchemaError: it has no tables, or an older or newer schema.
        """
        found = self.fetch(revision_of)
        if found is None:
            raise SchemaError("the database has no tables yet: run `triage db upgrade`")
        if found != tables.SCHEMA_REVISION:
            raise SchemaError(
                f"the database is at schema {found}, this program needs {tables.SCHEMA_REVISION}:"
                " back it up and run `triage db upgrade`"
            )

    @property
    def is_file(self) -> bool:
        """Whether this is a SQLite database."""
        return self.engine.dialect.name == "sqlite"

    def copy_to(self, path: Path) -> None:
        """Copy a SQLite database with its online back-up, also while it is used.

        Raises:
            DatabaseError: the copy cannot be written or is damaged.
        """
        try:
            with closing(sqlite3.connect(path)) as copy, self.engine.connect() as conn:
                _raw(conn).backup(copy, pages=1000)
                found = copy.execute("PRAGMA integrity_check").fetchone()
        except (sqlite3.Error, DriverError) as error:
            raise DatabaseError(
                f"the database {self.engine.url.database} cannot be copied to {path}:"
                f" {getattr(error, 'orig', error)}. Check that the disk has space and that this"
                " account may write there, then run again"
            ) from error
        if found != ("ok",):
            raise DatabaseError(f"the copy {path} of the database is damaged: {found[0]}")

    def rewrite(self) -> None:
        """Rewrite a SQLite file, so that it contains no deleted data.

        For PostgreSQL this does nothing, because its autovacuum removes deleted rows.

        Raises:
            DatabaseError: it is in use, or the disk has no space for a second copy.
        """
        if not self.is_file:
            return
        try:
            with self.engine.connect() as conn:
                _raw(conn).execute("VACUUM")
            if self._checkpointer is not None:
                self._checkpointer.empty()
        except (sqlite3.Error, DriverError, OSError) as error:
            raise DatabaseError(
                f"deleted data may still be in the file of the database"
                f" ({getattr(error, 'orig', error)}): stop the programs that use it, check that its"
                " disk has space, and run `triage db compact`"
            ) from error

    def close(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()
        self.engine.dispose()


def revision_of(conn: Connection) -> str | None:
    """Return the schema revision of a database; None if it has no tables.

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
    """Check that this program can use or upgrade a schema.

    Raises:
        SchemaError: it is newer than this program, from before the first release, or an unfinished
            copy.
    """
    if revision.startswith(UNFINISHED_COPY):
        raise SchemaError(
            "the copy to this database is not complete: run `triage db migrate-to` again, with the"
            " SQLite database in [database] url"
        )
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
        ConfigError: the URL is invalid or its driver is missing.
        DatabaseError: the folder of a SQLite file does not exist or is on a network file system.
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
    """Return the file of a SQLite database; None for any other database."""
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
        if kind := network_file_system(file):
            raise DatabaseError(
                f"{file.parent} is on a network file system ({kind}), where SQLite loses data:"
                " move the database to a disk of this machine, or use PostgreSQL"
            )
        # One for each parallel web request, because opening one takes longer than most requests.
        pool = {"pool_size": 16, "max_overflow": 24}
    # Values of rows, such as addresses, must not be in error messages and logs.
    engine = create_engine(url, hide_parameters=True, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    # The driver's own BEGIN is deferred and too late; `_begin_sqlite` sends the right one.
    dbapi_connection.isolation_level = None
    for pragma in _SQLITE_PRAGMAS:
        dbapi_connection.execute(pragma).close()


def _begin_sqlite(conn: Connection) -> None:
    if conn.get_execution_options().get("triage_write", True):
        _begin_to_write(conn)
    else:
        conn.exec_driver_sql("BEGIN")


def _begin_to_write(conn: Connection) -> None:
    """Wait for the write lock until the connection's timeout.

    SQLite's wait backs off to ten tries a second. If other processes write all the time, it may
    then not get the lock before the timeout. Many short waits try a hundred times a second.
    """
    raw = _raw(conn)
    (timeout_ms,) = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute(_SET_RETRY_TIMEOUT)
    try:
        for _ in range(timeout_ms // _RETRY_MS - 1):
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                # Extended codes have the basic code in their lowest byte.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
            else:
                return
        conn.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        raw.execute(_SQLITE_PRAGMAS[0])


def _explain_sqlite(error: DBAPIError, url: URL) -> str | None:
    """Return what is wrong and what to do; None if the caller must handle it."""
    if type(error) not in (OperationalError, DriverError):
        return None
    cause = str(error.orig)
    messages = (message for words, message in _SQLITE_MESSAGES.items() if words in cause)
    return f"{url.database or 'the database'}{next(messages, f': {cause}')}"


def _postgres(url: URL) -> Engine:
    url = url.set(drivername="postgresql+psycopg", query=_POSTGRES_CONNECT | dict(url.query))
    try:
        # `pool_pre_ping` replaces the connections to a server that was restarted.
        # Many requests and senders use a connection each; few of them are kept open.
        engine = create_engine(url, pool_pre_ping=True, max_overflow=25, hide_parameters=True)
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
        conn.exec_driver_sql(_POSTGRES_WRITE)


def _explain_postgres(error: DBAPIError, url: URL) -> str | None:
    """Return what is wrong and what to do; None if the caller must handle it."""
    place = f"the database {url.database or url.username} on {url.host or 'this machine'}"
    state = getattr(error.orig, "sqlstate", None) or ""
    if state in _POSTGRES_MESSAGES:
        return f"{place} {_POSTGRES_MESSAGES[state]}"
    if type(error) not in (OperationalError, DriverError):
        return None
    cause = " ".join(str(error.orig).split())
    # A failed connection has no code, only words.
    if "password" in cause:
        return f"{place} refused the password of {url.username}: correct [database] url"
    if 'database "' in cause and "does not exist" in cause:
        return f"{place} does not exist: make it with `createdb --encoding=UTF8`"
    if state:
        return f"{place}: {cause}"
    return f"{place} cannot be reached: does it run, and is [database] url right? {cause}"
