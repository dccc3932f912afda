"""The outbox: messages with fixed bytes, and the conditional updates that change their state."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from triage.domain.records import MessageState, OutgoingMessage, Slate, Subscriber, SubscriberState
from triage.errors import DatabaseError
from triage.store import slates as slates_store
from triage.store import subscribers as subscribers_store
from triage.store.engine.upsert import split_values
from triage.store.tables import message_bodies, messages, slates, subscribers, suppressions

DIGEST = "digest"
"""The kind of a message with a slate."""
RESEND = "resend-"
"""How the kind of a digest that is sent once more begins; the date of the digest follows.

It has no slate of its own, so the first message alone counts in the balance of its date.
"""

NEXT_STATES: dict[MessageState, frozenset[MessageState]] = {
    MessageState(state): frozenset(map(MessageState, following.split()))
    for state, following in {
        "planned": "rendered skipped cancelled failed",
        "rendered": "claimed cancelled failed",
        "claimed": "in_doubt cancelled deferred failed rendered",
        "in_doubt": "sent deferred failed held rendered",
        "deferred": "rendered claimed failed cancelled",
        "held": "sent rendered cancelled",
        "sent": "",
        "failed": "",
        "cancelled": "",
        "skipped": "",
    }.items()
}
"""The states that may follow each state; `move` refuses all others."""

ENDED = frozenset(state for state, following in NEXT_STATES.items() if not following)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message without its bytes.

    Attributes:
        attempts: how often a sender claimed and tried it.
        resends: how often it was sent again although it may have arrived.
        crashes: how often a sender died while it had the lease.
        doubted_at: since when it is unknown whether the message arrived.
        lease_epoch: the number of claims; each update compares it.
        last_reply: the last words of the server, or why there are none; "" if it was not tried.
    """

    id: int
    message_id: str
    slate_id: int | None
    subscriber_id: int
    subscriber_public_id: str
    recipient: str
    on: date
    kind: str
    state: MessageState
    attempts: int
    resends: int
    crashes: int
    created_at: datetime
    updated_at: datetime
    doubted_at: datetime | None
    lease_owner: str | None
    lease_epoch: int
    lease_until: datetime | None
    last_reply: str


_IS_RESEND = messages.c.kind.startswith(RESEND)
_IS_DIGEST = or_(messages.c.kind == DIGEST, _IS_RESEND)
_OWN = subscribers.c.id == messages.c.subscriber_id
_PUBLIC_ID = select(subscribers.c.public_id).where(_OWN).label("subscriber_public_id")
_COLUMNS = [messages.c.get(name, _PUBLIC_ID) for name in StoredMessage.__dataclass_fields__]
_WAITS = messages.c.state.in_([MessageState.RENDERED, MessageState.DEFERRED])


def _load(conn: Connection, query: Select[Any]) -> list[StoredMessage]:
    rows = conn.execute(query).mappings()
    return [StoredMessage(**{**row, "state": MessageState(row["state"])}) for row in rows]


@dataclass(frozen=True, slots=True)
class Digest:
    """A slate and its message, which may be sent from `not_before` on; None is at once.

    `message` is None if there is nothing to send, for the reason `skipped_because`.
    """

    slate: Slate
    message: OutgoingMessage | None
    skipped_because: str = ""
    not_before: datetime | None = None


def queue_each(conn: Connection, digests: Sequence[Digest], run_id: int, at: datetime) -> set[int]:
    """Store digests of one date; return the ids of the subscribers whose digest is new.

    A unique constraint refuses a second slate of a subscriber for that date. Subscribers who were
    erased get none.
    """
    there = subscribers_store.lock(conn, [each.slate.subscriber.id for each in digests])
    digests = [each for each in digests if each.slate.subscriber.id in there]
    slate_ids = slates_store.save_each(conn, [each.slate for each in digests], run_id, at)
    new = [each for each in digests if each.slate.subscriber.id in slate_ids]
    rows = [_row(each, slate_ids[each.slate.subscriber.id], at) for each in new]
    if not rows:
        return set()
    named = messages.c["message_id", "id"]
    ids = {row.message_id: row.id for row in conn.execute(insert(messages).returning(*named), rows)}
    bodies = [
        {"message_id": ids[each.message.message_id], "mime": each.message.mime}
        for each in new
        if each.message is not None
    ]
    if bodies:
        conn.execute(insert(message_bodies), bodies)
    return set(slate_ids)


def _row(digest: Digest, slate_id: int, at: datetime) -> dict[str, Any]:
    slate, message = digest.slate, digest.message
    return {
        "subscriber_id": slate.subscriber.id,
        "on": slate.on,
        "slate_id": slate_id,
        "created_at": at,
        "updated_at": at,
        "not_before": digest.not_before,
        "message_id": message.message_id if message else f"skipped.{slate.public_id}",
        "state": MessageState.RENDERED if message else MessageState.SKIPPED,
        "reason": "" if message else digest.skipped_because,
        "recipient": message.recipient if message else slate.subscriber.email,
        "mime_sha256": sha256(message.mime).hexdigest() if message else None,
    }


def add_note(
    conn: Connection,
    subscriber: Subscriber,
    kind: str,
    message: OutgoingMessage,
    at: datetime,
    on: date | None = None,
) -> bool:
    """Put a mail without a slate into the outbox; False if that day has one of its kind.

    False, too, for a subscriber who was erased.

    Args:
        on: the day; None for that of `at` in UTC.
    """
    if not subscribers_store.lock(conn, [subscriber.id]):
        return False
    of_day = {"subscriber_id": subscriber.id, "on": on or at.date(), "kind": kind}
    if conn.scalar(select(messages.c.id).filter_by(**of_day)) is not None:
        return False
    _add(conn, message, of_day | {"created_at": at, "updated_at": at})
    return True


def _add(conn: Connection, message: OutgoingMessage, fields: dict[str, Any]) -> None:
    row = {
        "message_id": message.message_id,
        "state": MessageState.RENDERED,
        "recipient": message.recipient,
        "mime_sha256": sha256(message.mime).hexdigest(),
    }
    id = conn.scalar(insert(messages).returning(messages.c.id), row | fields)
    conn.execute(insert(message_bodies), {"message_id": id, "mime": message.mime})


def waiting(conn: Connection, now: datetime, *, only_notes: bool = False) -> list[StoredMessage]:
    """Return the messages that may be sent now, in the order of the queue, but digests last.

    A wait that was decided later than `now` was decided by a wrong clock, and is over.
    Those that were tried before come after the others of their kind.

    Args:
        only_notes: leave out the digests.
    """
    not_before = messages.c.not_before
    query = (
        select(*_COLUMNS)
        .where(_WAITS, or_(not_before.is_(None), not_before <= now, messages.c.updated_at > now))
        # One that stopped the last drain must not stop the next one before the others went.
        .order_by(_IS_DIGEST, messages.c.last_reply != "", messages.c.id)
    )
    if only_notes:
        query = query.where(~_IS_DIGEST)
    return _load(conn, query)


def in_states(
    conn: Connection, states: Collection[MessageState], message_ids: Collection[str] = ()
) -> list[StoredMessage]:
    """Return the messages in any of `states`; only those of `message_ids` if these are not empty.

    Angle brackets around an id are optional.
    """
    query = select(*_COLUMNS).where(messages.c.state.in_(list(states))).order_by(messages.c.id)
    if message_ids:
        query = query.where(
            messages.c.message_id.in_([f"<{id.strip('<>')}>" for id in message_ids])
        )
    return _load(conn, query)


def in_flight(conn: Connection) -> list[StoredMessage]:
    """Return the messages that a sender claimed and whose result is not stored yet."""
    return in_states(conn, [MessageState.CLAIMED, MessageState.IN_DOUBT])


_IS_UNCHANGED = and_(
    messages.c.id == bindparam("of"),
    messages.c.state == bindparam("now_state"),
    messages.c.lease_epoch == bindparam("now_epoch"),
)
_STATE = select(subscribers.c.state).where(_OWN).scalar_subquery()
_PAUSED_UNTIL = select(subscribers.c.paused_until).where(_OWN).scalar_subquery()
# A digest needs an active subscriber. Account mail was requested just now, so any state will do.
_UNWANTED_BECAUSE: ColumnElement[str | None] = case(
    (_STATE.is_(None), "erased"),
    (_STATE == SubscriberState.SUPPRESSED, _STATE),
    (and_(_IS_DIGEST, _STATE != SubscriberState.ACTIVE), _STATE),
    (and_(_IS_DIGEST, messages.c.on < _PAUSED_UNTIL), SubscriberState.PAUSED.value),
    (
        exists().where(suppressions.c.address_hash == bindparam("address_hash")),
        SubscriberState.SUPPRESSED.value,
    ),
    (slates_store.shows_withdrawn(messages.c.slate_id), "paper_withdrawn"),
)


@cache
def _change(fields: tuple[str, ...], *, wanted: bool) -> Update:
    """Return the statement that changes these columns; cached because building it is slow."""
    change = update(messages).where(_IS_UNCHANGED)
    if wanted:
        change = change.where(_UNWANTED_BECAUSE.is_(None))
    return change.values({name: bindparam(f"new_{name}") for name in fields})


def move(
    conn: Connection,
    message: StoredMessage,
    state: MessageState,
    at: datetime,
    *,
    wanted_at: str | None = None,
    **fields: Any,
) -> StoredMessage | None:
    """Change the state of a message; return the new message, or None if it changed meanwhile.

    The same statement compares the state and the lease epoch, so only one of two senders succeeds.

    Args:
        wanted_at: the hash of the recipient's address. The message then changes only if its
            subscriber still wants it and the address is not on the blocklist.

    Raises:
        ValueError: `NEXT_STATES` does not allow this change.
    """
    if state not in NEXT_STATES[message.state]:
        raise ValueError(f"a message that is {message.state} cannot become {state}")
    return _changed(conn, message, wanted_at, {"state": state, "updated_at": at} | fields)


def amend(
    conn: Connection, message: StoredMessage, at: datetime, **fields: Any
) -> StoredMessage | None:
    """Change other columns of a message; return it, or None if it changed meanwhile."""
    return _changed(conn, message, None, {"updated_at": at} | fields)


def _changed(
    conn: Connection, message: StoredMessage, address_hash: str | None, fields: dict[str, Any]
) -> StoredMessage | None:
    wanted = address_hash is not None
    values = {f"new_{name}": value for name, value in fields.items()} | {
        "of": message.id,
        "now_state": message.state,
        "now_epoch": message.lease_epoch,
    }
    if wanted:
        values["address_hash"] = address_hash
    if conn.execute(_change(tuple(fields), wanted=wanted), values).rowcount != 1:
        return None
    known = StoredMessage.__dataclass_fields__
    return replace(message, **{name: fields[name] for name in fields if name in known})


def unwanted_because(conn: Connection, message: StoredMessage, address_hash: str) -> str | None:
    """Return why a message must not be sent; None if it may be sent."""
    query = select(_UNWANTED_BECAUSE).where(messages.c.id == message.id)
    row = conn.execute(query, {"address_hash": address_hash}).one_or_none()
    return row[0] if row else "erased"


_LOCK = select(messages.c.id).where(_IS_UNCHANGED).with_for_update(skip_locked=True)


def lock(conn: Connection, message: StoredMessage) -> bool:
    """Keep all other writers from a message until the transaction ends, to claim it.

    Returns:
        Whether that is done: False if another one has it now, or it changed meanwhile.
    """
    now = {"of": message.id, "now_state": message.state, "now_epoch": message.lease_epoch}
    return conn.scalar(_LOCK, now) is not None


def renew(conn: Connection, owner: str, ids: Collection[int], until: datetime) -> None:
    """Extend the leases of a sender on these messages."""
    mine = messages.c.lease_owner == owner
    held = messages.c.state.in_([MessageState.CLAIMED, MessageState.IN_DOUBT])
    change = update(messages).where(mine, held, messages.c.id.in_(list(ids)))
    conn.execute(change.values(lease_until=until))


def drop_withdrawn(conn: Connection, on: date) -> int:
    """Delete the unsent digests of a date that show a withdrawn paper; return how many.

    So these digests are due again. One that a sender claims at this moment stays: the sender looks
    at its papers once more.
    """
    unsent = select(messages.c.slate_id).filter_by(on=on, resends=0).where(_WAITS)
    shown = unsent.where(slates_store.shows_withdrawn(messages.c.slate_id))
    ids = conn.scalars(shown.with_for_update(skip_locked=True)).all()
    return sum(
        conn.execute(delete(slates).where(slates.c.id.in_(some))).rowcount
        for some in split_values(ids)
    )


_MIME = (
    select(message_bodies.c.mime, messages.c.mime_sha256, messages.c.recipient, subscribers.c.email)
    .join(messages, messages.c.id == message_bodies.c.message_id)
    .join(subscribers, _OWN)
    .where(message_bodies.c.message_id == bindparam("of"))
)


def mime(conn: Connection, id: int) -> bytes:
    """Return the bytes of a message after checking their hash and the address.

    Raises:
        DatabaseError: the bytes or the address are not as they were queued.
    """
    row = conn.execute(_MIME, {"of": id}).one_or_none()
    if row is not None:
        mime = bytes(row.mime)
        same = row.mime_sha256 in (None, sha256(mime).hexdigest())
        if same and row.recipient == row.email:
            return mime
    raise DatabaseError(
        f"message {id} is not as it was queued, so the database is damaged and nothing is sent:"
        " run `triage audit` to see other damage, and restore the newest undamaged back-up"
    )


def has_sent_another(conn: Connection, message: StoredMessage) -> bool:
    """Return whether another message was sent since this one was made."""
    query = select(messages.c.id).where(
        messages.c.sent_at >= message.created_at, messages.c.id != message.id
    )
    return conn.scalar(query.limit(1)) is not None


def waiting_bytes(conn: Connection) -> int:
    """Return the total size in bytes of the messages that wait to be sent."""
    query = select(func.sum(func.length(message_bodies.c.mime))).join(
        messages, messages.c.id == message_bodies.c.message_id
    )
    return int(conn.scalar(query.where(_WAITS)) or 0)


def cancel_waiting(conn: Connection, subscriber_id: int, reason: str, at: datetime) -> int:
    """Cancel the unsent digests of a subscriber; return how many.

    Their papers may be shown again.
    """
    states = [MessageState.PLANNED, MessageState.RENDERED, MessageState.DEFERRED]
    change = (
        update(messages)
        .where(messages.c.subscriber_id == subscriber_id, messages.c.state.in_(states), _IS_DIGEST)
        .values(state=MessageState.CANCELLED, reason=reason, updated_at=at)
        .returning(messages.c.slate_id)
    )
    slate_ids = conn.scalars(change).all()
    for slate_id in slate_ids:
        if slate_id is not None:
            slates_store.release(conn, slate_id, at)
    return len(slate_ids)


def stop(conn: Connection, subscriber_id: int, state: SubscriberState, at: datetime) -> bool:
    """Cancel the unsent digests and set the state; return False if it was the state already."""
    cancel_waiting(conn, subscriber_id, state, at)
    return subscribers_store.set_state(conn, subscriber_id, state, at)


def listing(
    conn: Connection, states: Collection[str] = (), limit: int | None = None
) -> list[dict[str, Any]]:
    """Return messages newest first, as `outbox list` shows them."""
    query = (
        select(
            messages.c.message_id,
            subscribers.c.email.label("subscriber"),
            *messages.c["on", "state", "reason", "attempts", "last_reply"],
        )
        .join(subscribers, _OWN)
        .order_by(messages.c.on.desc(), messages.c.id.desc())
        .limit(limit)
    )
    if states:
        query = query.where(messages.c.state.in_(list(states)))
    return [dict(row._mapping) for row in conn.execute(query)]


def n_resent(conn: Connection) -> int:
    """Return how many digests were sent once more because somebody asked."""
    sent = select(func.count()).where(_IS_RESEND, messages.c.state == MessageState.SENT)
    return int(conn.scalar(sent) or 0)


def sent_at(conn: Connection, slate_id: int) -> datetime | None:
    """Return when the message with a slate was sent; None if it was not."""
    return conn.scalar(select(messages.c.sent_at).where(messages.c.slate_id == slate_id))
