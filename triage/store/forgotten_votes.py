"""Votes that a subscriber let be forgotten, while they can be brought back.

The rows are moved out of their tables, so that nothing counts them, and no query needs to know.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Date, Table, delete, func, insert, select

from triage.store import interests as interests_store
from triage.store.column_types import UtcDateTime
from triage.store.engine.upsert import insert_missing, rows_in, upsert
from triage.store.tables import events, forgotten_votes, interests, named_papers, papers, slates

_OWN = forgotten_votes.c


def forget(conn: Connection, subscriber_id: int, at: datetime) -> None:
    """Move a subscriber's events, interests and the papers that they named to `forgotten_votes`."""
    for table in (events, named_papers, interests):
        query = select(table).filter_by(subscriber_id=subscriber_id)
        rows = conn.execute(query.order_by(*table.primary_key)).mappings()
        moved = [
            {
                "subscriber_id": subscriber_id,
                "table": table.name,
                "content": {name: _plain(value) for name, value in row.items()},
                "forgotten_at": at,
            }
            for row in rows
        ]
        if moved:
            conn.execute(insert(forgotten_votes), moved)
    # Interests keep their rows, because their numbers must not be used again.
    interests_store.forget(conn, subscriber_id)
    for table in (events, named_papers):
        conn.execute(delete(table).where(table.c.subscriber_id == subscriber_id))


def forgotten_at(conn: Connection, subscriber_id: int, since: datetime) -> datetime | None:
    """Return when a subscriber's votes were last forgotten; None if not since that time."""
    query = select(func.max(_OWN.forgotten_at)).where(_OWN.forgotten_at > since)
    at: datetime | None = conn.scalar(query.where(_OWN.subscriber_id == subscriber_id))
    return at


def restore(conn: Connection, subscriber_id: int, since: datetime) -> None:
    """Move the rows that were forgotten since that time back into their tables.

    Votes, names and interests that are new since then stay.
    """
    query = select(_OWN.table, _OWN.content).where(_OWN.forgotten_at > since)
    query = query.where(_OWN.subscriber_id == subscriber_id).order_by(_OWN.id)
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, content in conn.execute(query):
        rows.setdefault(name, []).append(content)
    voted = _existing(conn, [_row(events, each) for each in rows.get(events.name, [])])
    if voted:
        conn.execute(insert(events), voted)
    named = [_row(named_papers, each) for each in rows.get(named_papers.name, [])]
    insert_missing(conn, named_papers, named)
    for each in rows.get(interests.name, []):
        row = _row(interests, each)
        upsert(conn, interests, ["subscriber_id", "number"], row)
    conn.execute(delete(forgotten_votes).where(_OWN.subscriber_id == subscriber_id))


def delete_until(conn: Connection, at: datetime) -> None:
    """Delete for good what was forgotten up to a time."""
    conn.execute(delete(forgotten_votes).where(_OWN.forgotten_at <= at))


def _existing(conn: Connection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events without those whose paper or digest was deleted since."""
    for name, table in (("paper_id", papers), ("slate_id", slates)):
        ids = {row[name] for row in rows if row[name] is not None}
        there = {id for (id,) in rows_in(conn, select(table.c.id), table.c.id, ids)} | {None}
        rows = [row for row in rows if row[name] in there]
    return rows


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _row(table: Table, content: dict[str, Any]) -> dict[str, Any]:
    """Return the row without its number, which another row may have now."""
    row = {name: value for name, value in content.items() if name != "id"}
    for name, value in row.items():
        if value is not None and isinstance(table.c[name].type, Date | UtcDateTime):
            kind = date if isinstance(table.c[name].type, Date) else datetime
            row[name] = kind.fromisoformat(value)
    return row
