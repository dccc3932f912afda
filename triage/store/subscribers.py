"""Subscribers and what they told us about their taste."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from triage.records import Detail, Frequency, Subscriber, SubscriberState
from triage.tables import signup_requests, subscribers

_TUPLES = ("categories", "followed_authors", "include_keywords", "exclude_keywords")


@dataclass(frozen=True, slots=True)
class Consent:
    """What a subscriber agreed to, in the words that they saw, and when."""

    words: str
    asked_at: datetime
    confirmed_at: datetime | None


def email_key(email: str) -> str:
    """Return an address as it is compared: spellings that differ in case are one mailbox."""
    return unicodedata.normalize("NFC", email.strip()).casefold()


def _subscriber(row: Row[Any]) -> Subscriber:
    return Subscriber(
        id=row.id,
        public_id=row.public_id,
        email=row.email,
        state=SubscriberState(row.state),
        zone=row.zone,
        hour=row.hour,
        frequency=Frequency(row.frequency),
        interests=row.interests,
        detail=Detail(row.detail),
        created_at=row.created_at,
        active_since=row.state_changed_at,
        revisions=row.revisions,
        weekdays=row.weekdays,
        paused_until=row.paused_until,
        score_floor=row.score_floor,
        size=row.size,
        recap=row.recap,
        explores=row.explores,
        community=row.community,
        categories=tuple(row.categories),
        followed_authors=tuple(row.followed_authors),
        include_keywords=tuple(row.include_keywords),
        exclude_keywords=tuple(row.exclude_keywords),
    )


def add(
    conn: Connection, subscriber: Subscriber, *, email_key: str, consent: str, at: datetime
) -> Subscriber:
    """Insert a subscriber, whose `id` is ignored, and return it as stored.

    Args:
        email_key: the address as it is compared; no two subscribers share one.
        consent: how and when the subscriber agreed to receive mail.
    """
    confirmed = subscriber.state is not SubscriberState.PENDING
    row = {
        "public_id": subscriber.public_id,
        "email": subscriber.email,
        "email_key": email_key,
        "state": subscriber.state,
        "zone": subscriber.zone,
        "hour": subscriber.hour,
        "frequency": subscriber.frequency,
        "detail": subscriber.detail,
        "interests": subscriber.interests,
        "revisions": subscriber.revisions,
        "weekdays": subscriber.weekdays,
        "paused_until": subscriber.paused_until,
        "score_floor": subscriber.score_floor,
        "size": subscriber.size,
        "recap": subscriber.recap,
        "explores": subscriber.explores,
        "community": subscriber.community,
        "consent": consent,
        "created_at": at,
        "confirmed_at": at if confirmed else None,
        "state_changed_at": at,
        **{name: list(getattr(subscriber, name)) for name in _TUPLES},
    }
    id = conn.scalar(insert(subscribers).returning(subscribers.c.id), row)
    return _subscriber(conn.execute(select(subscribers).where(subscribers.c.id == id)).one())


def by_id(conn: Connection, id: int) -> Subscriber | None:
    row = conn.execute(select(subscribers).where(subscribers.c.id == id)).one_or_none()
    return _subscriber(row) if row else None


def by_email_key(conn: Connection, email_key: str) -> Subscriber | None:
    query = select(subscribers).where(subscribers.c.email_key == email_key)
    row = conn.execute(query).one_or_none()
    return _subscriber(row) if row else None


def by_public_id(conn: Connection, public_id: str) -> Subscriber | None:
    query = select(subscribers).where(subscribers.c.public_id == public_id)
    row = conn.execute(query).one_or_none()
    return _subscriber(row) if row else None


def everyone(conn: Connection, states: Sequence[SubscriberState] = ()) -> list[Subscriber]:
    """Return the subscribers in any of `states`, or all of them, oldest first."""
    query = select(subscribers).order_by(subscribers.c.id)
    if states:
        query = query.where(subscribers.c.state.in_(list(states)))
    return [_subscriber(row) for row in conn.execute(query)]


def set_state(conn: Connection, id: int, state: SubscriberState, at: datetime) -> bool:
    """Change a subscriber's state; return False when it was that already."""
    change = (
        update(subscribers)
        .where(subscribers.c.id == id, subscribers.c.state != state)
        .values(state=state, state_changed_at=at)
    )
    return conn.execute(change).rowcount == 1


def confirm(conn: Connection, id: int, consent: str, at: datetime) -> None:
    """Let a subscriber be active, from the first time on; what was agreed to is kept."""
    first = {"consent": consent, "confirmed_at": func.coalesce(subscribers.c.confirmed_at, at)}
    conn.execute(update(subscribers).where(subscribers.c.id == id).values(first))
    set_state(conn, id, SubscriberState.ACTIVE, at)


def change(conn: Connection, id: int, **fields: Any) -> None:
    """Change what a subscriber has chosen; the names are those of `Subscriber`."""
    values = {name: list(value) if name in _TUPLES else value for name, value in fields.items()}
    conn.execute(update(subscribers).where(subscribers.c.id == id).values(values))


def consent(conn: Connection, id: int) -> Consent:
    """Return what a subscriber agreed to."""
    columns = subscribers.c.consent, subscribers.c.created_at, subscribers.c.confirmed_at
    row = conn.execute(select(*columns).where(subscribers.c.id == id)).one()
    return Consent(*row)


def forget_pending(conn: Connection, before: datetime) -> int:
    """Delete who never confirmed and has not asked since an instant; return how many those were.

    What they asked for is kept, for it says how often they were written to.
    """
    asked = exists().where(
        signup_requests.c.email == subscribers.c.email, signup_requests.c.answered_at >= before
    )
    old = delete(subscribers).where(
        subscribers.c.state == SubscriberState.PENDING,
        subscribers.c.created_at < before,
        ~asked,
    )
    return conn.execute(old).rowcount


def erase(conn: Connection, id: int) -> None:
    """Delete a subscriber with all that belongs to them, and what their address asked for."""
    address = select(func.lower(subscribers.c.email)).where(subscribers.c.id == id)
    conn.execute(
        delete(signup_requests).where(
            func.lower(signup_requests.c.email) == address.scalar_subquery()
        )
    )
    conn.execute(delete(subscribers).where(subscribers.c.id == id))
