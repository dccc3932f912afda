"""Feeds of digests; each subscriber has at most one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from triage.store.tables import feeds


def of(conn: Connection, subscriber_id: int) -> tuple[str, datetime] | None:
    """Return (public id, creation time) of a subscriber's feed; None if there is none."""
    query = select(feeds.c.public_id, feeds.c.made_at).where(feeds.c.subscriber_id == subscriber_id)
    row = conn.execute(query).one_or_none()
    return (row.public_id, row.made_at) if row else None


def add(conn: Connection, subscriber_id: int, public_id: str, at: datetime) -> None:
    row = {"subscriber_id": subscriber_id, "public_id": public_id, "made_at": at}
    conn.execute(insert(feeds), row)


def revoke(conn: Connection, subscriber_id: int) -> bool:
    """Delete a subscriber's feed; return False if there was none."""
    return conn.execute(delete(feeds).where(feeds.c.subscriber_id == subscriber_id)).rowcount == 1
