"""What the audit reads: every message beside its slate, its attempts, and what was shown in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    and_,
    cast,
    func,
    or_,
    select,
)

from triage.tables import attempts, impressions, message_bodies, messages, slates, subscribers

CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """As `attempts` has it."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    phase: str
    outcome: str
    reply: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a slate showed: how many papers, at positions up to which, how many taken back."""

    n: int = 0
    n_positions: int = 0
    last: int = 0
    n_released: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A message with all that must agree with it; what is None does not exist.

    `state` is a text, for a damaged database may hold any.
    """

    message_id: str
    subscriber_id: int
    on: date
    kind: str
    state: str
    reason: str
    recipient: str
    mime_sha256: str | None
    n_attempts: int
    resends: int
    lease_epoch: int
    last_reply: str
    doubted_at: datetime | None
    sent_at: datetime | None
    updated_at: datetime
    slate_public_id: str | None
    slate_subscriber_id: int | None
    slate_on: date | None
    email: str | None
    has_body: bool
    attempts: tuple[Attempt, ...]
    shown: Shown


_MESSAGE = [
    messages.c.id,
    messages.c.slate_id,
    messages.c.message_id,
    messages.c.subscriber_id,
    messages.c.on,
    messages.c.kind,
    messages.c.state,
    messages.c.reason,
    messages.c.recipient,
    messages.c.mime_sha256,
    messages.c.attempts.label("n_attempts"),
    messages.c.resends,
    messages.c.lease_epoch,
    messages.c.last_reply,
    messages.c.doubted_at,
    messages.c.sent_at,
    messages.c.updated_at,
    slates.c.public_id.label("slate_public_id"),
    slates.c.subscriber_id.label("slate_subscriber_id"),
    slates.c.on.label("slate_on"),
    subscribers.c.email,
    message_bodies.c.message_id.is_not(None).label("has_body"),
]


def _recent(since: date | None) -> ColumnElement[bool]:
    # By the index of the slates' dates. A message that belongs to none is always looked at.
    if since is None:
        return messages.c.id.is_not(None)
    of_late = select(slates.c.id).where(slates.c.on >= since)
    return or_(messages.c.slate_id.is_(None), messages.c.slate_id.in_(of_late))


def entries(conn: Connection, since: date | None = None) -> Iterator[Entry]:
    """Yield every message, only of slates from `since` on if it is given."""
    query = (
        select(*_MESSAGE)
        .outerjoin(slates, slates.c.id == messages.c.slate_id)
        .outerjoin(subscribers, subscribers.c.id == messages.c.subscriber_id)
        .outerjoin(message_bodies, message_bodies.c.message_id == messages.c.id)
        .where(_recent(since))
        .order_by(messages.c.id)
        .limit(CHUNK)
    )
    last = -1
    while rows := conn.execute(query.where(messages.c.id > last)).all():
        last = rows[-1].id
        tried = _attempts(conn, [row.id for row in rows])
        shown = _shown(conn, [row.slate_id for row in rows if row.slate_id is not None])
        for row in rows:
            fields = dict(row._mapping)
            id, slate_id = fields.pop("id"), fields.pop("slate_id")
            yield Entry(
                **fields,
                attempts=tuple(tried.get(id, ())),
                shown=shown.get(slate_id, Shown()),
            )


def _attempts(conn: Connection, ids: list[int]) -> dict[int, list[Attempt]]:
    query = (
        select(
            attempts.c.message_id,
            attempts.c.number,
            attempts.c.started_at,
            attempts.c.ended_at,
            attempts.c.phase,
            attempts.c.outcome,
            attempts.c.reply,
        )
        .where(attempts.c.message_id.in_(ids))
        .order_by(attempts.c.message_id, attempts.c.number)
    )
    found: dict[int, list[Attempt]] = {}
    for message_id, *fields in conn.execute(query):
        found.setdefault(message_id, []).append(Attempt(*fields))
    return found


def _shown(conn: Connection, slate_ids: list[int]) -> dict[int, Shown]:
    each = impressions.c
    released = func.sum(cast(each.released_at.is_not(None), Integer))
    query = (
        select(
            each.slate_id,
            func.count(),
            func.count(each.position.distinct()),
            func.max(each.position),
            released,
        )
        .where(each.slate_id.in_(slate_ids))
        .group_by(each.slate_id)
    )
    return {slate_id: Shown(*fields) for slate_id, *fields in conn.execute(query)}


def days(conn: Connection, since: date | None = None) -> dict[date, dict[str, int]]:
    """Return by date how many digests were `due`, and how many messages each state has."""
    found: dict[date, dict[str, int]] = {}
    due = select(slates.c.on, func.count()).group_by(slates.c.on)
    if since is not None:
        due = due.where(slates.c.on >= since)
    for on, n in conn.execute(due):
        found[on] = {"due": n}
    states = (
        select(messages.c.on, messages.c.state, func.count())
        .where(_recent(since), messages.c.slate_id.is_not(None))
        .group_by(messages.c.on, messages.c.state)
    )
    for on, state, n in conn.execute(states):
        found.setdefault(on, {"due": 0})[state] = n
    return dict(sorted(found.items()))


def n_resends(conn: Connection, since: date | None = None) -> int:
    """Return how many messages were handed over again though they may have arrived."""
    query = select(func.sum(messages.c.resends)).where(_recent(since))
    return int(conn.scalar(query) or 0)


def _names(conn: Connection, query: Select[Any]) -> list[str]:
    return [str(name) for name in conn.scalars(query)]


def _without(
    child: FromClause, name: ColumnElement[Any], parent: FromClause, on: ColumnElement[bool]
) -> Select[Any]:
    key = next(iter(parent.primary_key)) if parent.primary_key else next(iter(parent.c))
    return select(name).select_from(child.outerjoin(parent, on)).where(key.is_(None)).distinct()


def orphans(conn: Connection, since: date | None = None) -> dict[str, list[str]]:
    """Return what belongs to nothing: the ids by what is wrong with them."""
    of_late = slates.c.on >= since if since else slates.c.id.is_not(None)
    return {
        "slates without a message": _names(
            conn,
            _without(
                slates, slates.c.public_id, messages, messages.c.slate_id == slates.c.id
            ).where(of_late),
        ),
        "attempts without a message": _names(
            conn,
            _without(attempts, attempts.c.id, messages, messages.c.id == attempts.c.message_id),
        ),
        "bytes without a message": _names(
            conn,
            _without(
                message_bodies,
                message_bodies.c.message_id,
                messages,
                messages.c.id == message_bodies.c.message_id,
            ),
        ),
        "impressions without a slate": _names(
            conn,
            _without(impressions, impressions.c.id, slates, slates.c.id == impressions.c.slate_id),
        ),
        "impressions for another subscriber than their slate": _names(
            conn,
            select(impressions.c.id)
            .join(slates, slates.c.id == impressions.c.slate_id)
            .where(impressions.c.subscriber_id != slates.c.subscriber_id),
        ),
    }


def doubles(conn: Connection) -> dict[str, list[str]]:
    """Return what is there twice: the ids by what is wrong with them."""

    def more_than_one(*columns: ColumnElement[Any]) -> list[str]:
        query = select(*columns).group_by(*columns).having(func.count() > 1)
        return [" ".join(map(str, row)) for row in conn.execute(query)]

    each = impressions.c
    live = (
        select(subscribers.c.public_id, each.paper_id)
        .join(subscribers, subscribers.c.id == each.subscriber_id)
        .where(each.released_at.is_(None))
        .group_by(subscribers.c.public_id, each.paper_id)
        .having(func.count() > 1)
    )
    by_subscriber = select(messages.c.message_id).join(
        _digests_twice := (
            select(messages.c.subscriber_id, messages.c.on, messages.c.kind)
            .group_by(messages.c.subscriber_id, messages.c.on, messages.c.kind)
            .having(func.count() > 1)
            .subquery()
        ),
        and_(
            _digests_twice.c.subscriber_id == messages.c.subscriber_id,
            _digests_twice.c.on == messages.c.on,
            _digests_twice.c.kind == messages.c.kind,
        ),
    )
    return {
        "message ids that are used twice": more_than_one(messages.c.message_id),
        "messages of one subscriber and date": _names(conn, by_subscriber),
        "slates with two messages": [
            name for name in more_than_one(messages.c.slate_id) if name != "None"
        ],
        "slates of one subscriber and date": more_than_one(slates.c.subscriber_id, slates.c.on),
        "papers shown twice (subscriber, paper)": [
            " ".join(map(str, row)) for row in conn.execute(live)
        ],
    }


def changed_bytes(conn: Connection) -> list[str]:
    """Return the ids of messages whose bytes are not those that were frozen; reads all of them."""
    query = (
        select(messages.c.message_id, messages.c.mime_sha256, message_bodies.c.mime)
        .join(message_bodies, message_bodies.c.message_id == messages.c.id)
        .where(messages.c.mime_sha256.is_not(None))
        .execution_options(yield_per=100)
    )
    return [
        message_id
        for message_id, wanted, mime in conn.execute(query)
        if sha256(mime).hexdigest() != wanted
    ]
