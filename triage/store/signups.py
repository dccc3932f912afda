"""What people ask for on the pages, before it is known who they are, and who is logged in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from triage.store.tables import sessions, signup_requests


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """Somebody's wish for a mail, to subscribe or to log in.

    Attributes:
        public_id: names it in the link that answers it.
        address_key: the mailbox, however it is spelled; for limits only.
        network: whoever else asks from there is taken for the same.
        details: what a new subscriber wrote.
        binding: hash of what the asking browser keeps; "" where nothing is bound.
        code: lets another browser use the link.
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
    """Return what waits for its mail, oldest first."""
    query = (
        select(signup_requests)
        .where(_column.answered_at.is_(None))
        .order_by(_column.id)
        .limit(limit)
    )
    return [StoredRequest(**row._mapping) for row in conn.execute(query)]


# Put together once, for every form that is sent asks them.
_N_UNANSWERED = (
    select(func.count()).select_from(signup_requests).where(_column.answered_at.is_(None))
)
_N_UNANSWERED_THERE = _N_UNANSWERED.where(_column.network == bindparam("there"))


def n_unanswered(conn: Connection) -> int:
    """Return how many asks wait for their mail."""
    return conn.scalar(_N_UNANSWERED) or 0


def n_unanswered_from(conn: Connection, network: str) -> int:
    """Return how many asks of one network wait for their mail."""
    return conn.scalar(_N_UNANSWERED_THERE, {"there": network}) or 0


def n_answered(conn: Connection, since: datetime, kinds: Sequence[str], **column: str) -> int:
    """Return how many asks of these kinds were answered since an instant.

    Args:
        column: count only those of one address or network.
    """
    same: list[ColumnElement[bool]] = [_column[name] == value for name, value in column.items()]
    query = (
        select(func.count())
        .select_from(signup_requests)
        .where(_column.answered_at >= since, _column.kind.in_(kinds), *same)
    )
    return conn.scalar(query) or 0


def answer(conn: Connection, ask: StoredRequest, at: datetime) -> bool:
    """Note that an ask is being answered; return False if somebody else has."""
    change = update(signup_requests).where(_column.id == ask.id, _column.answered_at.is_(None))
    return conn.execute(change.values(answered_at=at)).rowcount == 1


def forget(conn: Connection, ask: StoredRequest) -> None:
    """Delete what was asked for too often, or is for nobody."""
    conn.execute(delete(signup_requests).where(_column.id == ask.id))


def forget_before(conn: Connection, at: datetime) -> None:
    """Delete what was answered before an instant, or was asked for before and never answered.

    One that waited for its answer counts for the limits from its answer on.
    """
    conn.execute(delete(signup_requests).where(func.coalesce(_column.answered_at, _column.at) < at))


def by_public_id(conn: Connection, public_id: str) -> StoredRequest | None:
    row = conn.execute(select(signup_requests).where(_column.public_id == public_id)).one_or_none()
    return StoredRequest(**row._mapping) if row else None


def use(conn: Connection, ask: StoredRequest, at: datetime) -> bool:
    """Use an ask up; return False if somebody else has."""
    change = update(signup_requests).where(_column.id == ask.id, _column.used_at.is_(None))
    return conn.execute(change.values(used_at=at)).rowcount == 1


def count_try(conn: Connection, ask: StoredRequest) -> None:
    conn.execute(
        update(signup_requests).where(_column.id == ask.id).values(tries=_column.tries + 1)
    )


def begin_session(
    conn: Connection, key_hash: str, subscriber_id: int, at: datetime, until: datetime
) -> None:
    conn.execute(delete(sessions).where(sessions.c.until < at))
    row = {"key_hash": key_hash, "subscriber_id": subscriber_id, "created_at": at, "until": until}
    conn.execute(insert(sessions), row)


def session(conn: Connection, key_hash: str, at: datetime) -> int | None:
    """Return whose session it is; None if it is nobody's or over."""
    query = select(sessions.c.subscriber_id).where(
        sessions.c.key_hash == key_hash, sessions.c.until > at
    )
    found: int | None = conn.scalar(query)
    return found


def end_sessions(conn: Connection, subscriber_id: int) -> None:
    conn.execute(delete(sessions).where(sessions.c.subscriber_id == subscriber_id))
