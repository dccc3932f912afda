"""Statements that are the same on every supported database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, TypeVarTuple

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, Table
from sqlalchemy.dialects import postgresql, sqlite

from triage.domain.chunks import chunks

T = TypeVar("T", int, str, tuple[str, str], tuple[int, int])
Columns = TypeVarTuple("Columns")


def split_values(values: Iterable[T]) -> Iterator[Sequence[T]]:
    """Yield the values, unique and sorted, in chunks small enough for one statement."""
    # SQLite takes 32,766 values, and PostgreSQL 65,535.
    return chunks(sorted(set(values)), 15_000)


def rows_in(
    conn: Connection, query: Select[*Columns], column: ColumnElement[Any], values: Iterable[T]
) -> Iterator[Row[*Columns]]:
    """Yield the rows of `query` where `column` is one of any number of values."""
    for some in split_values(values):
        yield from conn.execute(query.where(column.in_(some)))


def _insert(conn: Connection, table: Table) -> Any:
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def insert_missing(conn: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose keys are new, and do not change existing rows."""
    if rows:
        conn.execute(_insert(conn, table).on_conflict_do_nothing(), list(rows))


def insert_new(
    conn: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    unique: Sequence[str],
    returning: Iterable[Column[Any]],
) -> list[Row[Any]]:
    """Insert the rows whose `unique` columns are new; return columns of the inserted rows."""
    if not rows:
        return []
    insert = _insert(conn, table).on_conflict_do_nothing(index_elements=list(unique))
    return list(conn.execute(insert.returning(*returning), list(rows)))


def upsert(conn: Connection, table: Table, key: Sequence[str], row: dict[str, Any]) -> None:
    """Insert `row`, or overwrite the row that has the same `key` columns."""
    upsert_all(conn, table, key, [row])


def upsert_all(
    conn: Connection, table: Table, key: Sequence[str], rows: Sequence[dict[str, Any]]
) -> None:
    """Insert rows of the same columns, or overwrite those that have the same `key` columns."""
    if not rows:
        return
    insert = _insert(conn, table)
    changes = {name: insert.excluded[name] for name in rows[0] if name not in key}
    conn.execute(insert.on_conflict_do_update(index_elements=list(key), set_=changes), list(rows))
