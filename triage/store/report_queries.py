"""Counts for the report, by day and never by subscriber."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Connection, func, select, text

from triage.domain.records import EventKind, MessageState, Origin, Policy, SubscriberState
from triage.store.messages import DIGEST
from triage.store.slates import RECAP
from triage.store.tables import bounces, events, impressions, messages, slates, subscribers

UNDELIVERED = ("hard", "soft", "policy")
"""The kinds of bounces of digests that were not delivered."""


def deliveries(conn: Connection, first: date, last: date) -> dict[tuple[date, MessageState], int]:
    """Return the number of digests by local date and state, from `first` to `last`."""
    query = (
        select(messages.c.on, messages.c.state, func.count())
        .where(messages.c.on.between(first, last), messages.c.kind == DIGEST)
        .group_by(messages.c.on, messages.c.state)
    )
    return {(on, MessageState(state)): n for on, state, n in conn.execute(query)}


def returned(conn: Connection, first: date, last: date) -> int:
    """Return how many sent digests of these dates bounced as undeliverable."""
    query = (
        select(func.count(messages.c.id.distinct()))
        .join(bounces, bounces.c.message_id == messages.c.id)
        .where(
            messages.c.on.between(first, last),
            messages.c.kind == DIGEST,
            messages.c.state == MessageState.SENT,
            bounces.c.kind.in_(UNDELIVERED),
        )
    )
    return conn.scalar(query) or 0


def answered(conn: Connection, first: date, last: date) -> int:
    """Return how many sent digests of these dates got at least one vote of a person."""
    query = (
        select(func.count(messages.c.id.distinct()))
        .join(events, events.c.slate_id == messages.c.slate_id)
        .where(
            messages.c.on.between(first, last),
            messages.c.state == MessageState.SENT,
            events.c.origin == Origin.PERSON,
        )
    )
    return conn.scalar(query) or 0


def votes(conn: Connection, first: date, last: date) -> Counter[tuple[date, EventKind]]:
    """Return the number of votes by persons on each UTC day, including votes changed later."""
    begin = datetime.combine(first, time(), UTC)
    end = datetime.combine(last + timedelta(days=1), time(), UTC)
    query = select(events.c.at, events.c.kind).where(
        events.c.origin == Origin.PERSON, events.c.at >= begin, events.c.at < end
    )
    return Counter((at.date(), EventKind(kind)) for at, kind in conn.execute(query))


def shown(
    conn: Connection, first: date, last: date
) -> dict[tuple[date, Policy, EventKind | None], int]:
    """Return the number of delivered papers by date, policy and last vote (or None)."""
    newest = func.row_number().over(
        partition_by=(events.c.subscriber_id, events.c.paper_id),
        order_by=(events.c.at.desc(), events.c.id.desc()),
    )
    ranked = (
        select(events.c.subscriber_id, events.c.paper_id, events.c.kind, newest.label("nth"))
        .where(events.c.origin == Origin.PERSON)
        .subquery()
    )
    vote = select(ranked).where(ranked.c.nth == 1).subquery()
    query = (
        select(slates.c.on, impressions.c.policy, vote.c.kind, func.count())
        .join(slates, slates.c.id == impressions.c.slate_id)
        .join(messages, messages.c.slate_id == slates.c.id)
        .outerjoin(
            vote,
            (vote.c.subscriber_id == impressions.c.subscriber_id)
            & (vote.c.paper_id == impressions.c.paper_id),
        )
        .where(
            slates.c.on.between(first, last),
            messages.c.state == MessageState.SENT,
            impressions.c.released_at.is_(None),
            impressions.c.policy != RECAP,
        )
        .group_by(slates.c.on, impressions.c.policy, vote.c.kind)
    )
    return {
        (on, Policy(policy), EventKind(kind) if kind else None): n
        for on, policy, kind, n in conn.execute(query)
    }


def messages_by_state(conn: Connection) -> dict[MessageState, int]:
    query = select(messages.c.state, func.count()).group_by(messages.c.state)
    return {MessageState(state): n for state, n in conn.execute(query)}


def subscribers_by_state(conn: Connection) -> dict[SubscriberState, int]:
    query = select(subscribers.c.state, func.count()).group_by(subscribers.c.state)
    # `triage doctor` names a subscriber whose row has another state.
    known = set(SubscriberState)
    return {SubscriberState(state): n for state, n in conn.execute(query) if state in known}


def size_bytes(conn: Connection) -> int:
    """Return the size of the database in bytes."""
    if conn.dialect.name == "postgresql":
        return int(conn.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    pages = conn.scalar(text("PRAGMA page_count")) or 0
    return int(pages * (conn.scalar(text("PRAGMA page_size")) or 0))
