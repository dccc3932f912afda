"""Feedback events, append-only; the last vote of a subscriber on a work counts.

Votes of other origins than a person are stored but do not count. A vote is stored with the paper
that was voted on, and counts for the work of this paper.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from triage.domain.chunks import group
from triage.domain.records import LIKES, EventKind, Origin, Reason, ReasonKind, Vote
from triage.store.engine.upsert import rows_in, split_values
from triage.store.papers import WORK, is_same_work
from triage.store.tables import events, impressions, papers, subscribers

_OF_WORK = events.join(papers, papers.c.id == events.c.paper_id)
_OWN = events.c.evidence["own"].as_string().label("own")


@dataclass(frozen=True, slots=True)
class Event:
    """One act of feedback on a paper, and its probable origin.

    Attributes:
        slate_id: the slate with the link; None for a vote from elsewhere.
        at: the time that orders votes.
        evidence: how the event arrived.
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


# Built once, because every vote runs it.
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
    """Return the last vote of one subscriber on a work, of one origin; None if there is none."""
    of = {"subscriber": subscriber_id, "paper": paper_id, "cast_by": origin}
    row = conn.execute(_LAST_VOTE, of).one_or_none()
    return Vote(row.paper_id, EventKind(row.kind), row.at) if row else None


def append_missing(conn: Connection, several: Iterable[Event]) -> list[Event]:
    """Store those of the events that are not stored yet, and return them.

    Two events of one subscriber on one paper with the same kind and time are the same.
    """
    of = events.c
    by_key = {(each.subscriber_id, each.paper_id, each.kind, each.at): each for each in several}
    query = select(of.subscriber_id, of.paper_id, of.kind, of.at)
    pairs = {(subscriber_id, paper_id) for subscriber_id, paper_id, _, _ in by_key}
    for row in rows_in(conn, query, tuple_(of.subscriber_id, of.paper_id), pairs):
        by_key.pop((row.subscriber_id, row.paper_id, EventKind(row.kind), row.at), None)
    if by_key:
        conn.execute(insert(events), [asdict(each) for each in by_key.values()])
    return list(by_key.values())


def votes(
    conn: Connection,
    subscriber_id: int,
    until: datetime | None = None,
    *,
    recorded_before: datetime | None = None,
) -> tuple[Vote, ...]:
    """Return the votes of a subscriber that count, newest first; see `votes_of_each`.

    Args:
        until: leave out events at this time or later.
        recorded_before: leave out events that were stored then or later. An imported vote may be
            much older than its record.
    """
    query = _VOTES
    if until is not None:
        query = query.where(events.c.at < until)
    if recorded_before is not None:
        query = query.where(events.c.recorded_at < recorded_before)
    return _last_votes(conn, query, [subscriber_id])[subscriber_id]


def votes_of_each(
    conn: Connection, subscriber_ids: Collection[int]
) -> defaultdict[int, tuple[Vote, ...]]:
    """Return the votes that count by subscriber, newest first, with each paper's first reason.

    `own` is the last one in the evidence of any event on the work.
    """
    return _last_votes(conn, _VOTES, subscriber_ids)


_SHOWN = and_(
    impressions.c.slate_id == events.c.slate_id, impressions.c.paper_id == events.c.paper_id
)
_VOTES = (
    select(events.c.subscriber_id, WORK, events.c.kind, events.c.at, impressions.c.reasons, _OWN)
    .select_from(_OF_WORK)
    .join(impressions, _SHOWN, isouter=True)
    .where(events.c.origin == Origin.PERSON)
    .order_by(events.c.at, events.c.id)
)


def _last_votes(
    conn: Connection, query: Select[*tuple[Any, ...]], subscriber_ids: Collection[int]
) -> defaultdict[int, tuple[Vote, ...]]:
    last: defaultdict[int, dict[int, Vote]] = defaultdict(dict)
    for who, paper_id, kind, at, reasons, own in rows_in(
        conn, query, events.c.subscriber_id, subscriber_ids
    ):
        before = last[who].pop(paper_id, None)
        reason = Reason(ReasonKind(reasons[0][0]), reasons[0][1]) if reasons else None
        own = before.own if own is None and before else own
        last[who][paper_id] = Vote(paper_id, EventKind(kind), at, reason, own)
    found = ((who, tuple(reversed(votes.values()))) for who, votes in last.items())
    return defaultdict(tuple, found)


def n_votes(conn: Connection) -> dict[int, int]:
    """Return by subscriber id on how many works they have a vote that counts."""
    query = (
        select(events.c.subscriber_id, func.count(WORK.distinct()))
        .select_from(_OF_WORK)
        .where(events.c.origin == Origin.PERSON)
        .group_by(events.c.subscriber_id)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def all_votes(
    conn: Connection, until: datetime | None = None, *, elsewhere: bool = False, every: int = 1
) -> list[tuple[int, int, EventKind]]:
    """Return (subscriber id, paper id, kind) of every person's event, oldest first.

    Args:
        until: leave out events at this time or later.
        elsewhere: leave out votes from digests, and on papers that the subscriber wrote.
        every: only those of every k-th subscriber, see `store.training_log.load`.
    """
    query = (
        select(events.c.subscriber_id, WORK, events.c.kind, _OWN)
        .select_from(_OF_WORK)
        .where(events.c.origin == Origin.PERSON)
        .order_by(events.c.at, events.c.id)
    )
    if until is not None:
        query = query.where(events.c.at < until)
    if elsewhere:
        query = query.where(events.c.slate_id.is_(None))
    if every > 1:
        query = query.where(events.c.subscriber_id % every == 0)
    rows = conn.execute(query).all()
    own = {(who, work) for who, work, _, name in rows if elsewhere and name is not None}
    return [(who, work, EventKind(kind)) for who, work, kind, _ in rows if (who, work) not in own]


def liked(
    conn: Connection, until: datetime | None = None, *, elsewhere: bool = False
) -> dict[int, list[int]]:
    """Return the works whose last vote is positive, by subscriber id, newest vote last.

    Args:
        until, elsewhere: see `all_votes`.
    """
    last: dict[tuple[int, int], EventKind] = {}
    for who, paper, kind in all_votes(conn, until, elsewhere=elsewhere):
        last.pop((who, paper), None)
        last[who, paper] = kind
    return group(pair for pair, kind in last.items() if kind in LIKES)


def liked_between(
    conn: Connection, begin: datetime, end: datetime
) -> dict[int, dict[int, tuple[datetime, datetime]]]:
    """Return the works whose last vote of a time is a like, by subscriber id, oldest first.

    Each has the time of its first vote in [begin, end), and when this vote was stored.
    """
    query = (
        select(events.c.subscriber_id, WORK, events.c.kind, events.c.at, events.c.recorded_at)
        .select_from(_OF_WORK)
        .where(events.c.origin == Origin.PERSON, events.c.at >= begin, events.c.at < end)
        .order_by(events.c.at, events.c.id)
    )
    first: dict[int, dict[int, tuple[datetime, datetime]]] = {}
    last: dict[tuple[int, int], str] = {}
    for who, paper, kind, at, recorded_at in conn.execute(query):
        first.setdefault(who, {}).setdefault(paper, (at, recorded_at))
        last[who, paper] = kind
    return {
        who: {paper: times for paper, times in papers.items() if last[who, paper] in LIKES}
        for who, papers in first.items()
    }


def forget(conn: Connection, subscriber_id: int, paper_id: int, *, saves: bool = True) -> int:
    """Delete a subscriber's votes on one work, all or those that are no saves; return how many."""
    same = select(papers.c.id).where(is_same_work(paper_id))
    change = delete(events).where(events.c.subscriber_id == subscriber_id)
    if not saves:
        change = change.where(events.c.kind != EventKind.SAVE)
    return conn.execute(change.where(events.c.paper_id.in_(same))).rowcount


def forget_saves(conn: Connection, subscriber_id: int, paper_ids: Iterable[int]) -> None:
    """Delete a subscriber's saves of the works of these papers; other votes stay."""
    works = {work for (work,) in rows_in(conn, select(WORK), papers.c.id, paper_ids)}
    saves = delete(events).filter_by(subscriber_id=subscriber_id, kind=EventKind.SAVE)
    for some in split_values(works):
        same = select(papers.c.id).where(papers.c.id.in_(some) | papers.c.merged_into.in_(some))
        conn.execute(saves.where(events.c.paper_id.in_(same)))


def forget_by_link(
    conn: Connection, slate_id: int, paper_id: int, since: datetime
) -> set[EventKind]:
    """Delete the votes on a paper through links of a digest since then; return their kinds."""
    query = select(*events.c["id", "kind", "evidence"]).where(events.c.recorded_at >= since)
    rows = conn.execute(query.filter_by(slate_id=slate_id, paper_id=paper_id))
    gone = {row.id: EventKind(row.kind) for row in rows if row.evidence.get("method") == "page"}
    conn.execute(delete(events).where(events.c.id.in_(gone)))
    return set(gone.values())


def find_liked_by(conn: Connection, subscriber_id: int, method: str) -> set[int]:
    """Return the works whose last vote is a like with this method as its evidence."""
    query = (
        select(WORK, events.c.kind, events.c.evidence)
        .select_from(_OF_WORK)
        .where(events.c.subscriber_id == subscriber_id)
        .order_by(events.c.at, events.c.id)
    )
    last = {work: (kind, evidence) for work, kind, evidence in conn.execute(query)}
    return {
        work
        for work, (kind, evidence) in last.items()
        if kind in LIKES and evidence.get("method") == method
    }


def mark_suspected(conn: Connection, slate_id: int, since: datetime) -> set[int]:
    """Mark the votes through links of a digest since then as cast by a suspected scanner.

    Returns:
        The papers of those votes that were saves.
    """
    query = select(*events.c["id", "paper_id", "kind", "evidence"]).filter_by(
        slate_id=slate_id, origin=Origin.PERSON
    )
    rows = conn.execute(query.where(events.c.recorded_at >= since)).all()
    marked = {row.id: row for row in rows if row.evidence.get("method") == "page"}
    change = update(events).where(events.c.id.in_(marked))
    conn.execute(change.values(origin=Origin.SUSPECTED_SCANNER))
    return {row.paper_id for row in marked.values() if row.kind == EventKind.SAVE}


def mark_trusted(conn: Connection, subscriber_id: int) -> list[Vote]:
    """Mark a subscriber's suspected votes as cast by a person; return these votes."""
    suspect = {"subscriber_id": subscriber_id, "origin": Origin.SUSPECTED_SCANNER}
    query = select(*events.c["paper_id", "kind", "at"]).filter_by(**suspect)
    marked = [Vote(row.paper_id, EventKind(row.kind), row.at) for row in conn.execute(query)]
    conn.execute(update(events).filter_by(**suspect).values(origin=Origin.PERSON))
    return marked


def listing(
    conn: Connection, limit: int | None = None, origin: Origin | None = None
) -> list[dict[str, Any]]:
    """Return events newest first: email, paper_id, kind, origin, at; of all origins or one."""
    query = (
        select(subscribers.c.email, events.c.paper_id, events.c.kind, events.c.origin, events.c.at)
        .join(subscribers, subscribers.c.id == events.c.subscriber_id)
        .order_by(events.c.at.desc(), events.c.id.desc())
        .limit(limit)
    )
    if origin is not None:
        query = query.where(events.c.origin == origin)
    return [dict(row._mapping) for row in conn.execute(query)]
