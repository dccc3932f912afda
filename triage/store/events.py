"""Feedback, append-only: every vote ever cast, of which the last one on a paper counts.

Votes whose origin is no person are stored, and count for nothing.

A vote stays with the row that it was cast on, and counts for the work that this row is of.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from triage.domain.records import LIKES, EventKind, Origin, Reason, ReasonKind, Vote
from triage.store.papers import WORK
from triage.store.tables import events, impressions, papers, subscribers

_OF_WORK = events.join(papers, papers.c.id == events.c.paper_id)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was said of a paper, and who is believed to have said it.

    Attributes:
        slate_id: the slate that it was said from; None for a vote from elsewhere.
        at: when it counts as said, which orders votes.
        evidence: how it came.
    """

    subscriber_id: int
    paper_id: int
    kind: EventKind
    at: datetime
    recorded_at: datetime
    slate_id: int | None = None
    origin: Origin = Origin.PERSON
    evidence: dict[str, Any] = field(default_factory=dict)


def append(conn: Connection, event: Event) -> None:
    conn.execute(insert(events), asdict(event))


# Put together once, for every vote asks it.
_LAST_VOTE = (
    select(WORK.label("paper_id"), events.c.kind, events.c.at)
    .select_from(_OF_WORK)
    .where(
        events.c.subscriber_id == bindparam("subscriber"),
        select(WORK).where(papers.c.id == bindparam("paper")).scalar_subquery() == WORK,
        events.c.origin == bindparam("cast_by"),
    )
    .order_by(events.c.at.desc(), events.c.id.desc())
    .limit(1)
)


def last_vote(
    conn: Connection, subscriber_id: int, paper_id: int, origin: Origin = Origin.PERSON
) -> Vote | None:
    """Return the vote that counts now for one subscriber and paper, or another origin's last."""
    of = {"subscriber": subscriber_id, "paper": paper_id, "cast_by": origin}
    row = conn.execute(_LAST_VOTE, of).one_or_none()
    return Vote(row.paper_id, EventKind(row.kind), row.at) if row else None


def exists(
    conn: Connection, subscriber_id: int, paper_id: int, kind: EventKind, at: datetime
) -> bool:
    """Tell whether this very event is stored already."""
    query = select(events.c.id).where(
        events.c.subscriber_id == subscriber_id,
        events.c.paper_id == paper_id,
        events.c.kind == kind,
        events.c.at == at,
    )
    return conn.execute(query.limit(1)).first() is not None


def votes(conn: Connection, subscriber_id: int, until: datetime | None = None) -> tuple[Vote, ...]:
    """Return the subscriber's votes that count, newest first, with what the papers were shown for.

    Args:
        until: leave out whatever happened at this instant or later.
    """
    shown = and_(
        impressions.c.slate_id == events.c.slate_id, impressions.c.paper_id == events.c.paper_id
    )
    query = (
        select(WORK, events.c.kind, events.c.at, impressions.c.reasons)
        .select_from(_OF_WORK)
        .join(impressions, shown, isouter=True)
        .where(events.c.subscriber_id == subscriber_id, events.c.origin == Origin.PERSON)
        .order_by(events.c.at, events.c.id)
    )
    if until is not None:
        query = query.where(events.c.at < until)
    last: dict[int, Vote] = {}
    for paper_id, kind, at, reasons in conn.execute(query):
        last.pop(paper_id, None)
        reason = Reason(ReasonKind(reasons[0][0]), reasons[0][1]) if reasons else None
        last[paper_id] = Vote(paper_id, EventKind(kind), at, reason)
    return tuple(reversed(last.values()))


def all_votes(
    conn: Connection, until: datetime | None = None, *, elsewhere: bool = False
) -> list[tuple[int, int, EventKind]]:
    """Return (subscriber id, paper id, kind) of every person's event, oldest first.

    Args:
        until: leave out whatever happened at this instant or later.
        elsewhere: leave out what was voted on in a digest.
    """
    query = (
        select(events.c.subscriber_id, WORK, events.c.kind)
        .select_from(_OF_WORK)
        .where(events.c.origin == Origin.PERSON)
        .order_by(events.c.at, events.c.id)
    )
    if until is not None:
        query = query.where(events.c.at < until)
    if elsewhere:
        query = query.where(events.c.slate_id.is_(None))
    return [(subscriber, paper, EventKind(kind)) for subscriber, paper, kind in conn.execute(query)]


def liked(
    conn: Connection, until: datetime | None = None, *, elsewhere: bool = False
) -> dict[int, list[int]]:
    """Return the papers that each subscriber likes by the last vote on them, newest vote last.

    Args:
        until, elsewhere: see `all_votes`.
    """
    last: dict[tuple[int, int], EventKind] = {}
    for who, paper, kind in all_votes(conn, until, elsewhere=elsewhere):
        last.pop((who, paper), None)
        last[who, paper] = kind
    found: dict[int, list[int]] = {}
    for (who, paper), kind in last.items():
        if kind in LIKES:
            found.setdefault(who, []).append(paper)
    return found


def forget(conn: Connection, subscriber_id: int, paper_id: int | None = None) -> int:
    """Delete a subscriber's events, all or those on one work; return how many those were."""
    change = delete(events).where(events.c.subscriber_id == subscriber_id)
    if paper_id is not None:
        rows = papers.alias()
        work = select(func.coalesce(rows.c.merged_into, rows.c.id)).where(rows.c.id == paper_id)
        same = select(papers.c.id).where(work.scalar_subquery() == WORK)
        change = change.where(events.c.paper_id.in_(same))
    return conn.execute(change).rowcount


def doubt(conn: Connection, slate_id: int, since: datetime) -> None:
    """Let the votes by links on a digest since then count for nothing, until they are believed."""
    query = select(events.c.id, events.c.evidence).where(
        events.c.slate_id == slate_id,
        events.c.recorded_at >= since,
        events.c.origin == Origin.PERSON,
    )
    ids = [row.id for row in conn.execute(query) if row.evidence.get("method") == "page"]
    change = update(events).where(events.c.id.in_(ids))
    conn.execute(change.values(origin=Origin.SUSPECTED_SCANNER))


def believe(conn: Connection, subscriber_id: int) -> int:
    """Let a subscriber's doubted votes count; return how many those were."""
    change = update(events).where(
        events.c.subscriber_id == subscriber_id, events.c.origin == Origin.SUSPECTED_SCANNER
    )
    return conn.execute(change.values(origin=Origin.PERSON)).rowcount


def listing(
    conn: Connection, limit: int | None = None, origin: Origin | None = None
) -> list[dict[str, Any]]:
    """Return events newest first: email, paper_id, kind, origin, at.

    Args:
        origin: leave out what is of any other.
    """
    query = (
        select(subscribers.c.email, events.c.paper_id, events.c.kind, events.c.origin, events.c.at)
        .join(subscribers, subscribers.c.id == events.c.subscriber_id)
        .order_by(events.c.at.desc(), events.c.id.desc())
        .limit(limit)
    )
    if origin is not None:
        query = query.where(events.c.origin == origin)
    return [dict(row._mapping) for row in conn.execute(query)]
