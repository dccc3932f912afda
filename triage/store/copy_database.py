"""Copies a SQLite database to PostgreSQL, and compares every row of the copy with the original.

The copy may be killed at any time, and then continues: each chunk of rows is committed together
with its position, in the table `copy_progress` of the target. Until all is compared, the schema
revision of the target begins with `UNFINISHED_COPY`, which every command refuses.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import zip_longest
from typing import Any

from alembic import command
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    MetaData,
    Row,
    Select,
    Table,
    cast,
    event,
    exists,
    func,
    insert,
    inspect,
    select,
    text,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy import Text as PlainText
from sqlalchemy.exc import StatementError
from sqlalchemy.types import NullType, UserDefinedType

from triage.domain.plain_text import storable
from triage.domain.protocols import Progress, silent
from triage.errors import DatabaseError
from triage.store import tables
from triage.store.column_types import String
from triage.store.engine.database import (
    UNFINISHED_COPY,
    Database,
    check_revision,
    open_database,
)
from triage.store.engine.turns import Turn, take_turn
from triage.store.migrate import config

# A chunk ends at the row that reaches one of the two.
CHUNK_ROWS = 1000
CHUNK_BYTES = 4_000_000
# How many rows wait in memory while a table is compared.
_AT_ONCE = 50
_PATIENCE = "PRAGMA busy_timeout = 1000"
_VERSION = text("SELECT version_num FROM alembic_version")
_SET_VERSION = text("UPDATE alembic_version SET version_num = :version")
_TRUNCATE_ALL = text("""
    DO $$ BEGIN EXECUTE (
        SELECT 'TRUNCATE ' || string_agg(quote_ident(tablename), ', ') FROM pg_tables
        WHERE schemaname = current_schema() AND tablename <> 'alembic_version'
    ); END $$
""")

_progress = Table(
    "copy_progress",
    MetaData(),
    Column("installation", PlainText, nullable=False),
    Column("source_state", PlainText, nullable=False),
    # The table that is being copied, and the JSON list of the key of its last copied row, or null.
    Column("table", PlainText, nullable=False),
    Column("after", PlainText, nullable=False),
    # The rows of all tables that are copied.
    Column("n_rows", BigInteger, nullable=False),
)


class _JsonText(UserDefinedType[str]):
    """JSON as the text that is stored, so that it is copied as it is."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "JSON"

    def column_expression(self, column: Any) -> Any:
        return cast(column, PlainText)

    def bind_expression(self, bindvalue: Any) -> Any:
        return cast(type_coerce(bindvalue, PlainText), JSON)


def _copied(table: Table) -> Table:
    """Return a table with the same columns, without what must not be read or written here."""
    columns = (
        Column(
            column.name,
            _JsonText() if isinstance(column.type, JSON) else column.type,
            primary_key=column.primary_key,
            autoincrement=False,
        )
        for column in table.c
    )
    return Table(table.name, MetaData(), *columns)


_TABLES = tuple(_copied(table) for table in tables.metadata.sorted_tables)
"""All tables; each comes after the ones to which its rows refer."""


def open_alone(url: str) -> Database:
    """Open a SQLite database that no other process may use until it is closed.

    Its connection is made at the first transaction.

    Raises:
        DatabaseError: as `open_database`; at the first transaction also if a process has it open.
    """
    database = open_database(url)

    def lock(connection: Any, _record: object) -> None:
        connection.execute(_PATIENCE)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            # So that the file itself shows every change.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise DatabaseError(
                f"{database.file} is in use: stop triage first, `triage serve`, `triage schedule`"
                " and all other commands"
            ) from None

    event.listen(database.engine, "connect", lock, insert=True)
    return database


def begin_copy(source: Database, target: Database, installation: str) -> str:
    """Prepare the target for the copy, or for the rest of it.

    If the source was changed since an unfinished copy began, that copy is deleted.

    Args:
        source: from `open_alone`, at the schema of this program.
        installation: names the installation, so that it continues its own copy only.

    Returns:
        What kind of copy follows: "new", "continued" or "restarted".

    Raises:
        DatabaseError: the target has rows or tables that are not of this copy.
    """
    state = _state_of(source)
    with target.write() as conn:
        take_turn(conn, Turn.SCHEMA)
        names = set(inspect(conn).get_table_names())
        version = (conn.scalar(_VERSION) or "") if "alembic_version" in names else ""
        kind = "new"
        if version.startswith(UNFINISHED_COPY):
            began = conn.execute(select(_progress)).one()
            if began.installation != installation:
                raise DatabaseError(
                    f"the database {target.engine.url.database} has an unfinished copy of another"
                    f" installation: {_USE_ANOTHER}"
                )
            if began.source_state == state:
                return "continued"
            kind = "restarted"
            _undo(conn, version.removeprefix(UNFINISHED_COPY))
        elif names:
            _check_empty(conn, names, version)
        command.upgrade(config(conn), "head")
        _progress.create(conn)
        position = {"table": _TABLES[0].name, "after": "null", "n_rows": 0}
        row = {"installation": installation, "source_state": state} | position
        conn.execute(insert(_progress), row)
        conn.execute(_SET_VERSION, {"version": f"{UNFINISHED_COPY}{tables.SCHEMA_REVISION}"})
    return kind


def copy_rows(source: Database, target: Database, progress: Progress = silent) -> int:
    """Copy the rows that the target does not have yet, compare them, and make the target usable.

    Args:
        source: from `open_alone`.
        target: prepared by `begin_copy`.

    Returns:
        The number of all rows.

    Raises:
        DatabaseError: PostgreSQL cannot store a row, or it stored another one.
    """
    with source.read() as conn:
        n_all = sum(conn.scalar(select(func.count()).select_from(each)) or 0 for each in _TABLES)
        began_at = target.fetch(lambda conn: conn.scalar(select(_progress.c.table)))
        names = [table.name for table in _TABLES]
        for table in _TABLES[names.index(str(began_at)) :]:
            _copy_table(conn, target, table, n_all, progress)
            _compare(conn, target, table)
            following = names[names.index(table.name) + 1 :]
            if following:
                place = {"table": following[0], "after": "null"}
                target.execute(lambda conn, at: conn.execute(update(_progress).values(at)), place)
    _finish(target)
    return n_all


_USE_ANOTHER = "make a new database for the copy with `createdb --encoding=UTF8`"


def _state_of(source: Database) -> str:
    """Return what changes with every change of a database that `open_alone` opened."""
    assert source.file is not None  # noqa: S101 - it is SQLite
    with source.read():
        stat = source.file.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


def _check_empty(conn: Connection, names: set[str], version: str) -> None:
    """Check that a database has only the empty tables of `triage db upgrade`."""
    place = conn.engine.url.database
    if not version:
        raise DatabaseError(f"the database {place} has tables of another program: {_USE_ANOTHER}")
    check_revision(version)
    for name in names - {"alembic_version"}:
        if conn.scalar(select(exists().select_from(Table(name, MetaData())))):
            raise DatabaseError(
                f"the database {place} has data already. If it is the finished copy, use it: set"
                f" [database] url. If not, {_USE_ANOTHER}"
            )


def _undo(conn: Connection, version: str) -> None:
    """Delete what an unfinished copy has copied."""
    _progress.drop(conn)
    conn.execute(_TRUNCATE_ALL)
    conn.execute(_SET_VERSION, {"version": version})


def _copy_table(
    source: Connection, target: Database, table: Table, n_all: int, progress: Progress
) -> None:
    n_rows = CHUNK_ROWS
    at = target.fetch(lambda conn: conn.execute(select(_progress)).one())
    after, done = at.after, at.n_rows
    while True:
        try:
            rows = list(_rows_after(source, table, after, n_rows))
            if not rows:
                return
            key = [rows[-1]._mapping[column.name] for column in table.primary_key]
            following = json.dumps(key, default=str)
            _insert_chunk(target, table, rows, done, following)
        except (StatementError, ValueError, TypeError) as error:
            if hasattr(getattr(error, "orig", None), "sqlite_errorcode"):
                # SQLite cannot read its file.
                raise
            if n_rows == 1:
                raise DatabaseError(
                    f"{_next_row(source, table, after)} cannot be stored in PostgreSQL"
                    f" ({_cause(error)}): correct or delete it in the SQLite database, and run"
                    " again"
                ) from error
            # One by one, the rows before the bad one are stored, and the bad one is found.
            n_rows = 1
        else:
            after, done = following, done + len(rows)
            progress("copy", done, n_all)


def _insert_chunk(
    target: Database, table: Table, rows: Sequence[Row[Any]], done: int, after: str
) -> None:
    """Insert rows after the `done` ones that are there, and store the new position."""
    with target.write() as conn:
        # The server may still be storing the last chunk of a killed process: wait for its end.
        found = conn.scalar(select(_progress.c.n_rows).with_for_update())
        if found != done:
            raise DatabaseError("another process has continued this copy: run again")
        conn.execute(insert(table), [dict(row._mapping) for row in rows])
        conn.execute(update(_progress).values(after=after, n_rows=done + len(rows)))


def _rows_after(source: Connection, table: Table, after: str, n_rows: int) -> Iterator[Row[Any]]:
    """Yield the next rows in the order of the primary key, until a chunk is full."""
    query = _from(table, after).limit(n_rows)
    n_bytes = 0
    for row in source.execute(query, execution_options={"yield_per": min(n_rows, _AT_ONCE)}):
        yield row
        n_bytes += sum(len(value) for value in row if isinstance(value, str | bytes))
        if n_bytes >= CHUNK_BYTES:
            return


def _from(table: Table, after: str) -> Select[Any]:
    query = select(table).order_by(*table.primary_key)
    key = json.loads(after)
    if key is None:
        return query
    # As SQLite stores them: dates are text.
    keys = (type_coerce(column, NullType()) for column in table.primary_key)
    return query.where(tuple_(*keys) > tuple_(*key))


def _next_row(source: Connection, table: Table, after: str) -> str:
    """Return the name of the row that comes next; its key is read as SQLite stores it."""
    keys = [type_coerce(column, NullType()).label(column.name) for column in table.primary_key]
    row = source.execute(_from(table, after).with_only_columns(*keys)).first()
    return f"the row of {table.name} ({_name(table, row)})"


def _name(table: Table, row: Row[*tuple[Any, ...]] | None) -> str:
    """Return the key of a row; no key has the address of a person."""
    values = {} if row is None else row._mapping
    return ", ".join(f"{c.name} {values.get(c.name)!r}" for c in table.primary_key)


def _cause(error: Exception) -> str:
    """Return what the driver says, without any value of the row."""
    cause = getattr(error, "orig", error)
    said = getattr(getattr(cause, "diag", None), "message_primary", None) or '"'
    return type(cause).__name__ if '"' in said else said


def _compare(source: Connection, target: Database, table: Table) -> None:
    """Check that both databases have the same rows, each value bit by bit."""
    with target.read() as conn, closing(_all_rows(conn, table)) as copies:
        for original, copy in zip_longest(_all_rows(source, table), copies):
            if original is None or copy is None or _exact(original) != _exact(copy):
                break
        else:
            return
    target.execute(lambda conn: conn.execute(update(_progress).values(source_state="")))
    what = "is missing or too many"
    if original is not None and copy is not None and _key(table, original) == _key(table, copy):
        pairs = zip(table.c.keys(), _exact(original), _exact(copy), strict=True)
        what = f"has another {', '.join(name for name, one, two in pairs if one != two)}"
    raise DatabaseError(
        f"the row of {table.name} ({_name(table, original or copy)}) {what} in PostgreSQL. Run"
        " again: the copy begins anew. If that does not help, correct or delete the row in the"
        " SQLite database"
    )


def _all_rows(conn: Connection, table: Table) -> Generator[Row[Any]]:
    """Yield all rows in the order of the primary key, text by its bytes, as SQLite orders it."""
    on_server = conn.dialect.name == "postgresql"
    keys = (
        column.collate("C") if on_server and isinstance(column.type, String) else column
        for column in table.primary_key
    )
    query = select(table).order_by(*keys)
    with conn.execute(query, execution_options={"yield_per": _AT_ONCE}) as rows:
        yield from rows


def _key(table: Table, row: Row[Any]) -> list[Any]:
    return _exact([row._mapping[column.name] for column in table.primary_key])


def _exact(values: Sequence[Any]) -> list[Any]:
    """Return values that are equal only if a copy may not differ from its original."""
    return [
        storable(value)
        if isinstance(value, str)
        else struct.pack("d", value)
        if isinstance(value, float)
        else value
        for value in values
    ]


def _finish(target: Database) -> None:
    with target.write() as conn:
        for table in tables.metadata.sorted_tables:
            column = table.autoincrement_column
            if column is not None:
                newest = conn.scalar(select(func.max(column)))
                sequence = func.pg_get_serial_sequence(table.name, column.name)
                conn.execute(select(func.setval(sequence, newest or 1, newest is not None)))
        # Until the server does it by itself, it would plan queries for empty tables.
        conn.exec_driver_sql("ANALYZE")
        _progress.drop(conn)
        conn.execute(_SET_VERSION, {"version": tables.SCHEMA_REVISION})
