"""Requests to sign up or log in from the pages, and sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update

from triage.store.tables import sessions, signup_requests


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request for a mail with a link, to subscribe or to log in.

    Attributes:
        public_id: the id in this link.
        address_key: the normalised address, for rate limits only.
        network: the network of the browser, for rate limits.
        details: the preferences of a new subscriber.
        binding: hash of a secret in the browser; "" if the link is not bound to a browser.
        code: allows another browser to use the link.
    """

    id: int
    public_id: str
    kind: str
    email: str
    address_key: str
    domain: str
    network: str
    details: Mapping[str, Any]
    binding: str
    code: str
    tries: int
    at: datetime
    answered_at: datetime | None
    used_at: datetime | None


_column = signup_requests.c


def add(conn: Connection, **fields: Any) -> None:
    conn.execute(insert(signup_requests).values(**fields))


def unanswered(conn: Connection, limit: int) -> list[StoredRequest]:
    """Return the requests that wait for their mail, oldest first."""
    query = select(signup_requests).where(_column.answered_at.is_(None)).order_by(_column.id)
    return [StoredRequest(**row._mapping) for row in conn.execute(query.limit(limit))]


def n_unanswered(conn: Connection) -> int:
    """Return how many requests wait for their mail."""
    return _count(conn, {}, _column.answered_at.is_(None))


def n_answered(conn: Connection, since: datetime, kinds: Sequence[str], **column: str) -> int:
    """Return how many requests were answered since then, all or those of one address or network."""
    return _count(conn, column, _column.answered_at >= since, _column.kind.in_(kinds))


def _count(conn: Connection, column: dict[str, str], *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(signup_requests).filter_by(**column)
    return conn.scalar(query.where(*conditions)) or 0


def answer(conn: Connection, ask: StoredRequest, at: datetime) -> bool:
    """Mark a request as answered; return False if it was already."""
    change = update(signup_requests).where(_column.id == ask.id, _column.answered_at.is_(None))
    return conn.execute(change.values(answered_at=at)).rowcount == 1


def forget(conn: Connection, ask: StoredRequest) -> None:
    """Delete a request that gets no answer."""
    conn.execute(delete(signup_requests).where(_column.id == ask.id))


def forget_before(conn: Connection, at: datetime) -> None:
    """Delete requests that were answered before then, or made before then and never answered."""
    conn.execute(delete(signup_requests).where(func.coalesce(_column.answered_at, _column.at) < at))


def by_public_id(conn: Connection, public_id: str) -> StoredRequest | None:
    return _one(conn, select(signup_requests).where(_column.public_id == public_id))


def lock(conn: Connection, public_id: str) -> StoredRequest | None:
    """Return what `by_public_id` does, and keep others from it until the transaction ends."""
    mine = select(signup_requests).where(_column.public_id == public_id)
    return _one(conn, mine.with_for_update())


def _one(conn: Connection, query: Select[Any]) -> StoredRequest | None:
    row = conn.execute(query).one_or_none()
    return StoredRequest(**row._mapping) if row else None


def use(conn: Connection, ask: StoredRequest, at: datetime) -> bool:
    """Mark a request as used; return False if it was already."""
    change = update(signup_requests).where(_column.id == ask.id, _column.used_at.is_(None))
    return conn.execute(change.values(used_at=at)).rowcount == 1


def count_try(conn: Connection, ask: StoredRequest) -> None:
    conn.execute(update(signup_requests).filter_by(id=ask.id).values(tries=_column.tries + 1))


def begin_session(
    conn: Connection, key_hash: str, subscriber_id: int, at: datetime, until: datetime
) -> None:
    conn.execute(delete(sessions).where(sessions.c.until < at))
    row = {"key_hash": key_hash, "subscriber_id": subscriber_id, "created_at": at, "until": until}
    conn.execute(insert(sessions), row)


def session(conn: Connection, key_hash: str, at: datetime) -> int | None:
    """Return the subscriber id of a session; None if it is unknown or has ended."""
    query = select(sessions.c.subscriber_id).filter_by(key_hash=key_hash)
    return conn.scalar(query.where(sessions.c.until > at))


def end_sessions(conn: Connection, /, **of: int | str) -> None:
    """Delete sessions by their `subscriber_id` or `key_hash`."""
    conn.execute(delete(sessions).filter_by(**of))
