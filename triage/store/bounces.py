"""Bounces as received, and which digests of a subscriber bounced."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from triage.store.tables import bounces, messages, slates, subscribers


def of_slate(conn: Connection, public_id: str) -> Row[int, int, str, datetime] | None:
    """Return the id, subscriber_id, recipient and created_at of the message with a slate."""
    query = (
        select(*messages.c["id", "subscriber_id", "recipient", "created_at"])
        .join(slates, slates.c.id == messages.c.slate_id)
        .where(slates.c.public_id == public_id)
    )
    return conn.execute(query).one_or_none()


def is_known(conn: Connection, content_hash: str) -> bool:
    query = select(bounces.c.id).where(bounces.c.content_hash == content_hash)
    return conn.scalar(query) is not None


def add(conn: Connection, **fields: Any) -> None:
    """Store a bounce; its content hash is unique."""
    conn.execute(insert(bounces).values(**fields))


def days(conn: Connection, subscriber_id: int, kinds: Collection[str]) -> list[tuple[date, str]]:
    """Return the dates of bounced digests and the kinds of the bounces, oldest first.

    Digests from before the last change of the subscriber's state do not count.
    """
    query = (
        select(messages.c.on, bounces.c.kind)
        .join(messages, messages.c.id == bounces.c.message_id)
        .join(subscribers, subscribers.c.id == messages.c.subscriber_id)
        .where(
            messages.c.subscriber_id == subscriber_id,
            messages.c.created_at >= subscribers.c.state_changed_at,
            bounces.c.kind.in_(list(kinds)),
        )
        .order_by(messages.c.on, bounces.c.id)
    )
    return [(row.on, row.kind) for row in conn.execute(query)]


def forgive(conn: Connection, kinds: Collection[str], since: datetime, kind: str) -> int:
    """Make bounces of some kinds that were received since then another kind; return how many."""
    change = update(bounces).where(bounces.c.received_at >= since, bounces.c.kind.in_(list(kinds)))
    return conn.execute(change.values(kind=kind)).rowcount


def count_since(conn: Connection, kinds: Collection[str], since: datetime) -> int:
    """Return how many bounces of some kinds were received since then."""
    which = bounces.c.received_at >= since, bounces.c.kind.in_(list(kinds))
    return conn.scalar(select(func.count()).select_from(bounces).where(*which)) or 0


def listing(
    conn: Connection, kinds: Collection[str] = (), limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the bounces, newest first."""
    query = (
        select(
            *bounces.c["id", "received_at", "kind", "status"],
            subscribers.c.email.label("subscriber"),
            messages.c.on,
        )
        .outerjoin(messages, messages.c.id == bounces.c.message_id)
        .outerjoin(subscribers, subscribers.c.id == bounces.c.subscriber_id)
        .order_by(bounces.c.id.desc())
        .limit(limit)
    )
    if kinds:
        query = query.where(bounces.c.kind.in_(list(kinds)))
    return [dict(row._mapping) for row in conn.execute(query)]


def raw(conn: Connection, id: int) -> bytes | None:
    """Return a bounce as it was received; None if it was deleted."""
    return conn.scalar(select(bounces.c.raw).where(bounces.c.id == id))


def drop_raw(conn: Connection, before: datetime) -> int:
    """Delete the bytes of bounces received before then and keep their rows; return how many."""
    old = bounces.c.received_at < before
    change = update(bounces).where(old, bounces.c.raw.is_not(None)).values(raw=None)
    return conn.execute(change).rowcount
