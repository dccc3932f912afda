"""The outbox: frozen messages and the conditional updates that move them from state to state."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    Connection,
    Update,
    and_,
    bindparam,
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
from triage.store.tables import message_bodies, messages, slates, subscribers, suppressions

DIGEST = "digest"
"""The kind of a message that carries a slate."""

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
"""Which state may follow which; `move` refuses everything else."""

ENDED = frozenset(state for state, following in NEXT_STATES.items() if not following)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as the outbox sees it; its bytes stay behind until it is claimed.

    Attributes:
        attempts: how often it was claimed and tried.
        resends: how often it was sent again though it may have arrived.
        crashes: how often a sender died while it held this message.
        doubted_at: since when only the receiver knows whether it arrived.
        lease_epoch: counts the claims; whoever writes names the epoch of theirs.
        subscriber_public_id: names its subscriber outside of the database.
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
    doubted_at: datetime | None
    lease_owner: str | None
    lease_epoch: int
    lease_until: datetime | None


_IS_DIGEST = messages.c.kind == DIGEST
_PUBLIC_ID = (
    select(subscribers.c.public_id)
    .where(subscribers.c.id == messages.c.subscriber_id)
    .scalar_subquery()
    .label("subscriber_public_id")
)
_COLUMNS = [messages.c.get(name, _PUBLIC_ID) for name in StoredMessage.__dataclass_fields__]


def _stored(row: Any) -> StoredMessage:
    fields = dict(row._mapping)
    fields["state"] = MessageState(fields["state"])
    return StoredMessage(**fields)


def queue_once(
    conn: Connection,
    slate: Slate,
    message: OutgoingMessage | None,
    run_id: int,
    at: datetime,
    *,
    skipped_because: str = "",
    not_before: datetime | None = None,
) -> bool:
    """Store a slate with its message, or that it has none; False if the date has one already.

    Writers go one after the other, so of many planners one queues the digest of a date; and the
    database would take no second one.

    Args:
        message: None where there is nothing to send, for the reason `skipped_because`.
        not_before: when it may go; at once if left out.
    """
    taken = select(slates.c.id).where(
        slates.c.subscriber_id == slate.subscriber.id, slates.c.on == slate.on
    )
    if conn.scalar(taken) is not None:
        return False
    slate_id = slates_store.save(conn, slate, run_id, at)
    if message is None:
        add_skipped(conn, slate, slate_id, skipped_because, at)
    else:
        add(conn, slate, slate_id, message, at, not_before)
    return True


def add(
    conn: Connection,
    slate: Slate,
    slate_id: int,
    message: OutgoingMessage,
    at: datetime,
    not_before: datetime | None = None,
) -> None:
    """Put a digest's frozen bytes into the outbox; there is one for each subscriber and date."""
    _add(conn, message, _of_slate(slate, slate_id, at) | {"not_before": not_before})


def add_note(
    conn: Connection, subscriber: Subscriber, kind: str, message: OutgoingMessage, at: datetime
) -> bool:
    """Put a mail that is no digest into the outbox; False if one of its kind was on that day."""
    of_day = {"subscriber_id": subscriber.id, "on": at.date(), "kind": kind}
    if conn.scalar(select(messages.c.id).filter_by(**of_day)) is not None:
        return False
    _add(conn, message, of_day | {"created_at": at, "updated_at": at})
    return True


def add_skipped(conn: Connection, slate: Slate, slate_id: int, reason: str, at: datetime) -> None:
    """Note that a digest was due and, for `reason`, has nothing to send."""
    row = {
        "message_id": f"skipped.{slate.public_id}",
        "state": MessageState.SKIPPED,
        "reason": reason,
        "recipient": slate.subscriber.email,
    }
    conn.execute(insert(messages), row | _of_slate(slate, slate_id, at))


def _add(conn: Connection, message: OutgoingMessage, fields: dict[str, Any]) -> None:
    row = {
        "message_id": message.message_id,
        "state": MessageState.RENDERED,
        "recipient": message.recipient,
        "mime_sha256": sha256(message.mime).hexdigest(),
    }
    id = conn.scalar(insert(messages).returning(messages.c.id), row | fields)
    conn.execute(insert(message_bodies), {"message_id": id, "mime": message.mime})


def _of_slate(slate: Slate, slate_id: int, at: datetime) -> dict[str, Any]:
    return {
        "subscriber_id": slate.subscriber.id,
        "slate_id": slate_id,
        "on": slate.on,
        "created_at": at,
        "updated_at": at,
    }


def waiting(conn: Connection, now: datetime, *, only_notes: bool = False) -> list[StoredMessage]:
    """Return what may be handed over now in the order it was queued, but digests last.

    Args:
        only_notes: leave the digests out.
    """
    query = (
        select(*_COLUMNS)
        .where(
            messages.c.state.in_([MessageState.RENDERED, MessageState.DEFERRED]),
            or_(messages.c.not_before.is_(None), messages.c.not_before <= now),
        )
        .order_by(_IS_DIGEST, messages.c.id)
    )
    if only_notes:
        query = query.where(~_IS_DIGEST)
    return [_stored(row) for row in conn.execute(query)]


def in_states(
    conn: Connection, states: Collection[MessageState], message_ids: Collection[str] = ()
) -> list[StoredMessage]:
    """Return the messages in any of `states`, only those named by `message_ids` if there are any.

    Each id counts with and without its angle brackets.
    """
    query = select(*_COLUMNS).where(messages.c.state.in_(list(states))).order_by(messages.c.id)
    if message_ids:
        written = {f"<{id.strip('<>')}>" for id in message_ids}
        query = query.where(messages.c.message_id.in_(list(written)))
    return [_stored(row) for row in conn.execute(query)]


def in_flight(conn: Connection) -> list[StoredMessage]:
    """Return what a sender has claimed and not yet accounted for."""
    return in_states(conn, [MessageState.CLAIMED, MessageState.IN_DOUBT])


_STANDS = and_(
    messages.c.id == bindparam("of"),
    messages.c.state == bindparam("now_state"),
    messages.c.lease_epoch == bindparam("now_epoch"),
)
# Who asked for a digest may have left; what else is sent was asked for just now, by whomever.
_WANTED = and_(
    exists().where(
        subscribers.c.id == messages.c.subscriber_id,
        or_(
            and_(
                subscribers.c.state == SubscriberState.ACTIVE,
                or_(
                    subscribers.c.paused_until.is_(None),
                    subscribers.c.paused_until <= messages.c.on,
                ),
            ),
            and_(~_IS_DIGEST, subscribers.c.state != SubscriberState.SUPPRESSED),
        ),
    ),
    ~exists().where(suppressions.c.address_hash == bindparam("address_hash")),
    ~slates_store.shows_withdrawn(messages.c.slate_id),
)


@cache
def _change(fields: tuple[str, ...], *, wanted: bool) -> Update:
    """Return the statement that changes these columns; made once, for making it takes long."""
    change = update(messages).where(_STANDS)
    if wanted:
        change = change.where(_WANTED)
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
    """Move a message on if it still stands as `message` says; return it moved, or None.

    The state and the lease's epoch are compared in the same statement, so of two senders one wins.

    Args:
        wanted_at: the hash of the recipient's address; the message then moves only if the same
            statement finds that its subscriber still wants it and the address may receive.

    Raises:
        ValueError: no message may go from the one state to the other.
    """
    if state not in NEXT_STATES[message.state]:
        raise ValueError(f"a message that is {message.state} cannot become {state}")
    return _changed(conn, message, wanted_at, {"state": state, "updated_at": at} | fields)


def amend(
    conn: Connection, message: StoredMessage, at: datetime, **fields: Any
) -> StoredMessage | None:
    """Change a message that stays in its state if it stands as `message` says; else None."""
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
    """Return why nobody wants a message any more, None if somebody does."""
    query = select(subscribers.c.state, subscribers.c.paused_until)
    row = conn.execute(query.where(subscribers.c.id == message.subscriber_id)).one_or_none()
    if row is None:
        return "erased"
    if row.state == SubscriberState.SUPPRESSED:
        return str(row.state)
    if message.kind == DIGEST:
        if row.state != SubscriberState.ACTIVE:
            return str(row.state)
        if row.paused_until is not None and row.paused_until > message.on:
            return str(SubscriberState.PAUSED)
    found = select(suppressions.c.at).where(suppressions.c.address_hash == address_hash)
    if conn.scalar(found) is not None:
        return str(SubscriberState.SUPPRESSED)
    withdrawn = conn.scalar(select(slates_store.shows_withdrawn(message.slate_id)))
    return "paper_withdrawn" if withdrawn else None


def renew(conn: Connection, owner: str, ids: Collection[int], until: datetime) -> None:
    """Lengthen the leases of messages that a sender holds."""
    mine = messages.c.lease_owner == owner
    held = messages.c.state.in_([MessageState.CLAIMED, MessageState.IN_DOUBT])
    change = update(messages).where(mine, held, messages.c.id.in_(list(ids)))
    conn.execute(change.values(lease_until=until))


def drop_withdrawn(conn: Connection, on: date) -> int:
    """Undo the digests of a date that show a withdrawn paper and were never handed to anybody.

    They are as if they had not been made, and so are due again; returns how many those are.
    """
    unsent = select(messages.c.slate_id).where(
        messages.c.on == on,
        messages.c.state.in_([MessageState.RENDERED, MessageState.DEFERRED]),
        messages.c.resends == 0,
        slates_store.shows_withdrawn(messages.c.slate_id),
    )
    return conn.execute(delete(slates).where(slates.c.id.in_(unsent))).rowcount


_MIME = (
    select(message_bodies.c.mime, messages.c.mime_sha256, messages.c.recipient, subscribers.c.email)
    .join(messages, messages.c.id == message_bodies.c.message_id)
    .join(subscribers, subscribers.c.id == messages.c.subscriber_id)
    .where(message_bodies.c.message_id == bindparam("of"))
)


def mime(conn: Connection, id: int) -> bytes:
    """Return the frozen bytes of a message, after looking whether they and its address still are.

    Raises:
        DatabaseError: something in the database has changed that nobody changes.
    """
    row = conn.execute(_MIME, {"of": id}).one_or_none()
    if row is not None:
        mime = bytes(row.mime)
        same = row.mime_sha256 in (None, sha256(mime).hexdigest())
        if same and row.recipient == row.email:
            return mime
    raise DatabaseError(
        f"message {id} is not what was queued, so the database is damaged and nothing is sent:"
        " `triage audit` says what else is; restore the newest sound back-up"
    )


def waiting_bytes(conn: Connection) -> int:
    """Return how many bytes wait to be handed over."""
    waits = messages.c.state.in_([MessageState.RENDERED, MessageState.DEFERRED])
    query = select(func.sum(func.length(message_bodies.c.mime))).join(
        messages, messages.c.id == message_bodies.c.message_id
    )
    return int(conn.scalar(query.where(waits)) or 0)


def cancel_waiting(conn: Connection, subscriber_id: int, reason: str, at: datetime) -> int:
    """Cancel the digests that a subscriber has not been sent yet; return how many those were.

    The papers in them were never mailed, so they may be shown again.
    """
    states = [MessageState.PLANNED, MessageState.RENDERED, MessageState.DEFERRED]
    change = (
        update(messages)
        .where(messages.c.subscriber_id == subscriber_id, messages.c.state.in_(states), _IS_DIGEST)
        .values(state=MessageState.CANCELLED, reason=reason, updated_at=at)
        .returning(messages.c.slate_id)
    )
    cancelled = conn.scalars(change).all()
    for slate_id in cancelled:
        if slate_id is not None:
            slates_store.release(conn, slate_id, at)
    return len(cancelled)


def stop(conn: Connection, subscriber_id: int, state: SubscriberState, at: datetime) -> bool:
    """Cancel the digests that wait and let no other begin; return False if that was so already."""
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
            messages.c.on,
            messages.c.state,
            messages.c.reason,
            messages.c.attempts,
            messages.c.last_reply,
        )
        .join(subscribers, subscribers.c.id == messages.c.subscriber_id)
        .order_by(messages.c.on.desc(), messages.c.id.desc())
        .limit(limit)
    )
    if states:
        query = query.where(messages.c.state.in_(list(states)))
    return [dict(row._mapping) for row in conn.execute(query)]


def sent_at(conn: Connection, slate_id: int) -> datetime | None:
    """Return when the message that carries a slate was handed over."""
    return conn.scalar(select(messages.c.sent_at).where(messages.c.slate_id == slate_id))
