"""Statements that are the same on every supported database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T", int, str)


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Yield the values, each once and in order, in as many pieces as statements need.

    A statement takes only so many parameters.
    """
    several = sorted(set(values))
    for start in range(0, len(several), 5000):
        yield several[start : start + 5000]


def _insert(conn: Connection, table: Table) -> Any:
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def insert_missing(conn: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose keys are new and let existing ones stand."""
    if rows:
        conn.execute(_insert(conn, table).on_conflict_do_nothing(), list(rows))


def upsert(conn: Connection, table: Table, key: Sequence[str], row: dict[str, Any]) -> None:
    """Insert `row`, or overwrite the row that has the same `key` columns."""
    insert = _insert(conn, table).values(row)
    changed = {name: insert.excluded[name] for name in row if name not in key}
    conn.execute(insert.on_conflict_do_update(index_elements=list(key), set_=changed))
