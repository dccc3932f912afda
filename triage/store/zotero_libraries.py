"""The Zotero libraries that are read again once a day."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, or_, select, update

from triage.store.engine.upsert import upsert
from triage.store.tables import zotero_libraries

_column = zotero_libraries.c


def save(conn: Connection, subscriber_id: int, api_key: str, read_at: datetime) -> None:
    """Store the API key of a subscriber's library, which was read now."""
    row = {"subscriber_id": subscriber_id, "api_key": api_key, "items": [], "read_at": read_at}
    upsert(conn, zotero_libraries, ["subscriber_id"], row)


def forget(conn: Connection, subscriber_id: int) -> bool:
    """Delete the API key; return False if there was none."""
    gone = delete(zotero_libraries).where(_column.subscriber_id == subscriber_id)
    return conn.execute(gone).rowcount > 0


def due(conn: Connection, now: datetime, again: timedelta) -> list[tuple[int, str, frozenset[str]]]:
    """Return (subscriber id, API key, items) of the libraries that were not read for `again`.

    One that was read later than `now` was read by a wrong clock, and is due.
    """
    read_at = _column.read_at
    query = (
        select(_column.subscriber_id, _column.api_key, _column["items"])
        .where(or_(read_at.is_(None), read_at < now - again, read_at > now))
        .order_by(_column.subscriber_id)
    )
    rows = conn.execute(query)
    return [(row.subscriber_id, row.api_key, frozenset(row._mapping["items"])) for row in rows]


def save_items(conn: Connection, subscriber_id: int, items: Collection[str]) -> None:
    """Store what a library has, if it is read daily."""
    change = update(zotero_libraries).where(_column.subscriber_id == subscriber_id)
    conn.execute(change.values(items=sorted(items)))


def mark_read(conn: Connection, subscriber_id: int, at: datetime) -> None:
    change = update(zotero_libraries).where(_column.subscriber_id == subscriber_id)
    conn.execute(change.values(read_at=at))
