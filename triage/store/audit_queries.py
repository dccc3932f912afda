"""Queries of the audit: every message with its slate, its attempts and its impressions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    cast,
    func,
    or_,
    select,
    tuple_,
)

from triage.domain.chunks import group
from triage.store.tables import attempts, impressions, message_bodies, messages, slates, subscribers

CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Shown:
    """Counts of the impressions of a slate; `last` is the largest position."""

    n: int = 0
    n_positions: int = 0
    last: int = 0
    n_released: int = 0


def _recent(since: date | None) -> ColumnElement[bool]:
    # This uses the index on the dates of slates. Messages without a slate are always included.
    if since is None:
        return messages.c.id.is_not(None)
    recent = select(slates.c.id).where(slates.c.on >= since)
    return or_(messages.c.slate_id.is_(None), messages.c.slate_id.in_(recent))


def entries(
    conn: Connection, since: date | None = None
) -> Iterator[tuple[Row[Any], Sequence[Row[Any]], Shown]]:
    """Yield every message, or only those of slates since a date, with its attempts and impressions.

    The message has all columns of `messages`, and those of its slate and its subscriber that the
    audit compares; these are None if that row is missing.
    """
    query = (
        select(
            messages,
            slates.c.public_id.label("slate_public_id"),
            slates.c.subscriber_id.label("slate_subscriber_id"),
            slates.c.on.label("slate_on"),
            subscribers.c.email,
            message_bodies.c.message_id.is_not(None).label("has_body"),
        )
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
        ids = [row.id for row in rows]
        of = select(attempts).where(attempts.c.message_id.in_(ids)).order_by(attempts.c.number)
        tries = group((each.message_id, each) for each in conn.execute(of))
        shown = _shown(conn, [row.slate_id for row in rows if row.slate_id is not None])
        for row in rows:
            yield row, tries.get(row.id, ()), shown.get(row.slate_id, Shown())


def _shown(conn: Connection, slate_ids: list[int]) -> dict[int, Shown]:
    each = impressions.c
    released = func.sum(cast(each.released_at.is_not(None), Integer))
    places = func.count(each.position.distinct()), func.max(each.position)
    query = select(each.slate_id, func.count(), *places, released).group_by(each.slate_id)
    rows = conn.execute(query.where(each.slate_id.in_(slate_ids)))
    return {slate_id: Shown(*counts) for slate_id, *counts in rows}


def days(conn: Connection, since: date | None = None) -> dict[date, dict[str, int]]:
    """Return by date the number of digests that were `due`, and of messages in each state."""
    due = select(slates.c.on, func.count()).group_by(slates.c.on)
    if since is not None:
        due = due.where(slates.c.on >= since)
    found = {on: {"due": n} for on, n in conn.execute(due)}
    states = (
        select(messages.c.on, messages.c.state, func.count())
        .where(_recent(since), messages.c.slate_id.is_not(None))
        .group_by(messages.c.on, messages.c.state)
    )
    for on, state, n in conn.execute(states):
        found.setdefault(on, {"due": 0})[state] = n
    return dict(sorted(found.items()))


def _found(conn: Connection, queries: Mapping[str, Select[Any]]) -> dict[str, list[str]]:
    return {
        fault: [" ".join(map(str, row)) for row in conn.execute(query)]
        for fault, query in queries.items()
    }


def _without(name: ColumnElement[Any], key: Column[Any], parent: Column[Any]) -> Select[Any]:
    """Return a query for the names of rows without a row in the parent table."""
    query = select(name).select_from(key.table.outerjoin(parent.table, key == parent))
    return query.where(parent.is_(None)).distinct()


def orphans(conn: Connection, since: date | None = None) -> dict[str, list[str]]:
    """Return the ids of rows without the row that they belong to, by kind of fault."""
    is_recent = slates.c.on >= since if since else slates.c.id.is_not(None)
    queries = {
        "slates without a message": _without(
            slates.c.public_id, slates.c.id, messages.c.slate_id
        ).where(is_recent),
        "attempts without a message": _without(attempts.c.id, attempts.c.message_id, messages.c.id),
        "bytes without a message": _without(
            message_bodies.c.message_id, message_bodies.c.message_id, messages.c.id
        ),
        "impressions without a slate": _without(
            impressions.c.id, impressions.c.slate_id, slates.c.id
        ),
        "impressions for another subscriber than their slate": select(impressions.c.id)
        .join(slates, slates.c.id == impressions.c.slate_id)
        .where(impressions.c.subscriber_id != slates.c.subscriber_id),
    }
    return _found(conn, queries)


def doubles(conn: Connection) -> dict[str, list[str]]:
    """Return the ids of duplicate rows, by kind of fault."""

    def more_than_one(*columns: ColumnElement[Any]) -> Select[Any]:
        return select(*columns).group_by(*columns).having(func.count() > 1)

    of_date = (messages.c.subscriber_id, messages.c.on, messages.c.kind)
    queries = {
        "message ids that are used twice": more_than_one(messages.c.message_id),
        "messages of one subscriber and date": select(messages.c.message_id).where(
            tuple_(*of_date).in_(more_than_one(*of_date))
        ),
        "slates with two messages": more_than_one(messages.c.slate_id).where(
            messages.c.slate_id.is_not(None)
        ),
        "slates of one subscriber and date": more_than_one(slates.c.subscriber_id, slates.c.on),
        "papers shown twice (subscriber, paper)": more_than_one(
            subscribers.c.public_id, impressions.c.paper_id
        )
        .join(subscribers, subscribers.c.id == impressions.c.subscriber_id)
        .where(impressions.c.released_at.is_(None)),
    }
    return _found(conn, queries)


def changed_bytes(conn: Connection) -> list[str]:
    """Return the ids of messages whose bytes do not match their hash; this reads all bytes."""
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
