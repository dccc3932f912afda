"""Subscribers and their preferences."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from triage.domain.mail_addresses import to_ascii, to_unicode
from triage.domain.records import Detail, Frequency, Subscriber, SubscriberState
from triage.errors import DatabaseError, NotFound
from triage.store.engine.upsert import rows_in, split_values
from triage.store.tables import signup_requests, subscribers

log = structlog.get_logger()

_GIVEN = frozenset({"id", "created_at", "active_since"})
_CHOSEN = tuple(name for name in Subscriber.__dataclass_fields__ if name not in _GIVEN)
_KINDS = {"state": SubscriberState, "frequency": Frequency, "detail": Detail}
_TUPLES = ("categories", "followed_authors", "include_keywords", "exclude_keywords")
_TEXTS = ("email", "zone", "interests")
_NUMBERS = ("hour", "weekdays", "score_floor", "size", "community")
# Built once, because every vote and every message runs one of them.
_OF_IDS = (
    select(subscribers.c.id)
    .where(subscribers.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(subscribers.c.id)
)
_LOCK = _OF_IDS.with_for_update(key_share=True)
_HOLD = _OF_IDS.with_for_update(read=True)
# What a row raises that another program, or a damaged disk, has written.
_UNREADABLE = (ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class Contact:
    """What is needed to stop mail to a subscriber; it is read also if the rest of a row cannot."""

    id: int
    public_id: str
    email: str
    state: SubscriberState


def email_key(email: str) -> str:
    """Return a normalised address, the same one for all spellings of a mailbox.

    Addresses that differ only in case, or in how their domain is written, are the same mailbox.
    """
    return unicodedata.normalize("NFC", to_unicode(email.strip())).casefold()


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A subscriber whose row cannot be read, and why. They get no digest until it is mended."""

    id: int
    public_id: str
    email: str
    why: str


def _subscriber(row: Row[Any]) -> Subscriber:
    """Return the subscriber in a row; one of `_UNREADABLE` for a value that no release writes."""
    fields = {name: getattr(row, name) for name in ("id", "created_at", *_CHOSEN)}
    for name in _TUPLES:
        if not isinstance(fields[name], list) or not all(isinstance(x, str) for x in fields[name]):
            raise ValueError(f"{name} is not a list of texts")
    for name in _TEXTS:
        if not isinstance(fields[name], str):
            raise ValueError(f"{name} is not a text")
    for name in _NUMBERS:
        if not isinstance(fields[name], int | float | None):
            raise ValueError(f"{name} is not a number")
    if fields["hour"] not in range(24):
        raise ValueError("hour is not from 0 to 23")
    fields |= {name: tuple(fields[name]) for name in _TUPLES}
    fields |= {name: kind(fields[name]) for name, kind in _KINDS.items()}
    return Subscriber(**fields, active_since=row.state_changed_at)


def add(
    conn: Connection, subscriber: Subscriber, *, email_key: str, consent: str, at: datetime
) -> Subscriber:
    """Insert a subscriber, whose `id` is ignored, and return it as stored.

    Args:
        email_key: the normalised address, which is unique.
        consent: how and when the subscriber agreed to receive mail.
    """
    confirmed = subscriber.state is not SubscriberState.PENDING
    row = {name: getattr(subscriber, name) for name in _CHOSEN} | {
        "email_key": email_key,
        "consent": consent,
        "created_at": at,
        "confirmed_at": at if confirmed else None,
        "state_changed_at": at,
    }
    new = insert(subscribers).returning(*subscribers.c)
    return _subscriber(conn.execute(new, _listed(row)).one())


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if name in _TUPLES else value for name, value in row.items()}


def by_id(conn: Connection, id: int) -> Subscriber | None:
    return _one(conn, subscribers.c.id == id)


def by_ids(conn: Connection, ids: Collection[int]) -> list[Subscriber]:
    """Return the stored subscribers among `ids`, oldest first."""
    rows = rows_in(conn, select(subscribers), subscribers.c.id, ids)
    return sorted((_subscriber(row) for row in rows), key=lambda each: each.id)


def by_email_key(conn: Connection, email_key: str) -> Subscriber | None:
    return _one(conn, subscribers.c.email_key == email_key)


def id_by_email_key(conn: Connection, email_key: str) -> int | None:
    """Return the id of a subscriber, also if the rest of the row cannot be read."""
    return conn.scalar(select(subscribers.c.id).where(subscribers.c.email_key == email_key))


def by_public_id(conn: Connection, public_id: str) -> Subscriber | None:
    return _one(conn, subscribers.c.public_id == public_id)


def contacts(conn: Connection, **by: str | int) -> list[Contact]:
    """Return the subscribers with these values in the columns `by`, oldest first."""
    query = select(*subscribers.c["id", "public_id", "email", "state"]).filter_by(**by)
    return [Contact(*row) for row in conn.execute(query.order_by(subscribers.c.id))]


def contact(conn: Connection, **by: str | int) -> Contact | None:
    """Return the one of `contacts`; None if there is none."""
    return next(iter(contacts(conn, **by)), None)


def _one(conn: Connection, which: ColumnElement[bool]) -> Subscriber | None:
    try:
        row = conn.execute(select(subscribers).where(which)).one_or_none()
        return _subscriber(row) if row else None
    except _UNREADABLE as error:
        raise DatabaseError(
            f"a subscriber's row cannot be read ({error}): `triage doctor` names it"
        ) from error


def everyone(conn: Connection, states: Sequence[SubscriberState] = ()) -> list[Subscriber]:
    """Return the subscribers in any of `states`, or all of them, oldest first.

    Those whose rows cannot be read are left out, and logged: one row costs nobody else a digest.
    """
    query = _in_states(select(subscribers), states)
    try:
        return [_subscriber(row) for row in conn.execute(query)]
    except _UNREADABLE:
        left_out = unreadable(conn, states)
    for each in left_out:
        log.error("a subscriber is left out", subscriber=each.public_id, why=each.why)
    readable = query.where(subscribers.c.id.not_in([each.id for each in left_out]))
    return [_subscriber(row) for row in conn.execute(readable)]


def unreadable(conn: Connection, states: Sequence[SubscriberState] = ()) -> list[UnreadableRow]:
    """Return the rows in any of `states`, or in all of them, that cannot be read."""
    found: list[UnreadableRow] = []
    try:
        for row in conn.execute(_in_states(select(subscribers), states)):
            _subscriber(row)
        return found
    except _UNREADABLE:
        # The database driver gives up at the first such row, so each is read on its own.
        names = select(subscribers.c.id, subscribers.c.public_id, subscribers.c.email)
    for id, public_id, email in conn.execute(_in_states(names, states)).all():
        try:
            by_id(conn, id)
        except DatabaseError as error:
            found.append(UnreadableRow(id, public_id, email, str(error.__cause__)))
    return found


def _in_states(query: Select[Any], states: Sequence[SubscriberState]) -> Select[Any]:
    if states:
        query = query.where(subscribers.c.state.in_(list(states)))
    return query.order_by(subscribers.c.id)


def lock(conn: Connection, ids: Iterable[int]) -> set[int]:
    """Keep all other writers from these subscribers until the transaction ends.

    Whoever reads and then writes what belongs to a subscriber calls this first: preferences, votes,
    collections, interests, digests and other mail. Who inserts rows without it is not kept off.

    Returns:
        Those of the ids whose subscribers were not erased.
    """
    return {id for some in split_values(ids) for id in conn.scalars(_LOCK, {"ids": some})}


def lock_one(conn: Connection, id: int) -> None:
    """Do the same as `lock`.

    Raises:
        NotFound: the subscriber was erased.
    """
    if not lock(conn, [id]):
        raise NotFound("this subscriber is no longer stored")


def lock_by_public_id(conn: Connection, public_id: str) -> Subscriber | None:
    """Do the same as `lock`, and return the subscriber; None if there is none."""
    found = contact(conn, public_id=public_id)
    return by_id(conn, found.id) if found and lock(conn, [found.id]) else None


def hold(conn: Connection, id: int) -> None:
    """Keep a subscriber from being changed; others may hold them at the same time, too."""
    conn.execute(_HOLD, {"ids": [id]})


def set_state(conn: Connection, id: int, state: SubscriberState, at: datetime) -> bool:
    """Change a subscriber's state; return False if it was the state already."""
    change = (
        update(subscribers)
        .where(subscribers.c.id == id, subscribers.c.state != state)
        .values(state=state, state_changed_at=at)
    )
    return conn.execute(change).rowcount == 1


def lift(conn: Connection, id: int, at: datetime) -> bool:
    """Make a suppressed subscriber what they were; return False if they were not suppressed."""
    # Earlier releases suppressed also who had never confirmed.
    never_agreed = and_(subscribers.c.confirmed_at.is_(None), subscribers.c.consent == "")
    before = case((never_agreed, SubscriberState.PENDING.value), else_=SubscriberState.ACTIVE.value)
    change = (
        update(subscribers)
        .where(subscribers.c.id == id, subscribers.c.state == SubscriberState.SUPPRESSED)
        .values(state=before, state_changed_at=at)
    )
    return conn.execute(change).rowcount == 1


def confirm(conn: Connection, id: int, consent: str, at: datetime) -> None:
    """Make a subscriber active, and store the consent; the first time of confirmation stays."""
    first = {"consent": consent, "confirmed_at": func.coalesce(subscribers.c.confirmed_at, at)}
    conn.execute(update(subscribers).where(subscribers.c.id == id).values(first))
    set_state(conn, id, SubscriberState.ACTIVE, at)


def change(conn: Connection, id: int, **chosen: Any) -> None:
    """Change preferences of a subscriber, named as the fields of `Subscriber`."""
    conn.execute(update(subscribers).where(subscribers.c.id == id).values(_listed(chosen)))


def consent(conn: Connection, id: int) -> Row[str, datetime, datetime | None]:
    """Return the consent of a subscriber: its words, and when it was asked_at and confirmed_at."""
    of = subscribers.c
    query = select(of.consent.label("words"), of.created_at.label("asked_at"), of.confirmed_at)
    return conn.execute(query.where(of.id == id)).one()


def forget_pending(conn: Connection, before: datetime) -> int:
    """Delete subscribers who never confirmed and made no request since then; return how many.

    Their requests stay, because the rate limits count them.
    """
    asked = exists().where(
        signup_requests.c.email == subscribers.c.email, signup_requests.c.answered_at >= before
    )
    pending = delete(subscribers).filter_by(state=SubscriberState.PENDING)
    return conn.execute(pending.where(subscribers.c.created_at < before, ~asked)).rowcount


def erase(conn: Connection, id: int) -> None:
    """Delete a subscriber, all rows that reference them, and the requests of their address."""
    lock(conn, [id])
    email = conn.scalar(select(subscribers.c.email).where(subscribers.c.id == id)) or ""
    # Earlier releases stored domains in Unicode.
    same = {email.lower(), to_ascii(email).lower()}
    conn.execute(delete(signup_requests).where(func.lower(signup_requests.c.email).in_(same)))
    conn.execute(delete(subscribers).where(subscribers.c.id == id))
