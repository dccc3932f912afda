"""Slates and their impressions, with positions, propensities and reasons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from triage.domain.chunks import group
from triage.domain.digest_calendar import Last, latest_date
from triage.domain.records import (
    Impression,
    MessageState,
    Paper,
    Policy,
    Reason,
    ReasonKind,
    Slate,
)
from triage.store import papers as papers_store
from triage.store import subscribers as subscribers_store
from triage.store.engine.upsert import insert_new, rows_in
from triage.store.tables import impressions, messages, papers, slates, subscribers

RECAP = "recap"
"""The policy of papers that are only listed at the end of a digest.

They are in the log so that they are not mailed again. They have no features, so training ignores
them: a subscriber who skips a title in this list has not judged the paper.
"""


_OF_SLATE = tuple(each.name for each in fields(Slate) if each.name in slates.c)
_IS_RECAP = impressions.c.policy == RECAP
_IS_KEPT = impressions.c.released_at.is_(None)
# Every vote runs these statements. Building one takes longer than running it.
_OF_SUBSCRIBER = (slates.c.public_id == bindparam("slate")) & (
    subscribers.c.public_id == bindparam("subscriber")
)
_SHOWN_AT = (
    select(impressions)
    .join(slates, slates.c.id == impressions.c.slate_id)
    .join(subscribers, subscribers.c.id == slates.c.subscriber_id)
    .where(_OF_SUBSCRIBER, impressions.c.position == bindparam("position"), ~_IS_RECAP)
)
_CARRIED = (
    select(slates.c.id.label("slate_id"), slates.c.subscriber_id, messages.c.sent_at)
    .join(subscribers, subscribers.c.id == slates.c.subscriber_id)
    .outerjoin(messages, messages.c.slate_id == slates.c.id)
    .where(_OF_SUBSCRIBER)
)


def save_each(
    conn: Connection, several: Sequence[Slate], run_id: int, at: datetime
) -> dict[int, int]:
    """Store slates of one date with their impressions; return the new ids by subscriber id.

    A slate is left out if its subscriber has one for that date.

    Raises:
        sqlalchemy.exc.IntegrityError: a subscriber was shown one of the papers before.
    """
    rows = [
        {name: getattr(slate, name) for name in _OF_SLATE}
        | {"subscriber_id": slate.subscriber.id, "run_id": run_id, "created_at": at}
        for slate in several
    ]
    returned = slates.c["subscriber_id", "id"]
    of_day = ["subscriber_id", "on"]
    inserted = insert_new(conn, slates, rows, unique=of_day, returning=returned)
    new: dict[int, int] = {row.subscriber_id: row.id for row in inserted}
    shown = [
        row
        for slate in several
        if slate.subscriber.id in new
        for row in _impression_rows(slate, new[slate.subscriber.id])
    ]
    if shown:
        conn.execute(insert(impressions), shown)
    return new


def _impression_rows(slate: Slate, slate_id: int) -> Iterator[dict[str, Any]]:
    of = {"slate_id": slate_id, "subscriber_id": slate.subscriber.id}
    for shown in slate.impressions:
        yield {
            **of,
            "paper_id": shown.paper.id,
            "position": shown.position,
            "score": shown.score,
            "propensity": shown.propensity,
            "policy": shown.policy,
            "features": shown.features.astype("<f4").tobytes(),
            "reasons": [[reason.kind, reason.text] for reason in shown.reasons],
            "prior": shown.prior,
        }
    recap: dict[str, Any] = {"score": 0.0, "propensity": 1.0, "policy": RECAP, "prior": None}
    recap |= {"features": b"", "reasons": []}
    for position, paper in enumerate(slate.recap, start=len(slate.impressions) + 1):
        yield {**of, **recap, "paper_id": paper.id, "position": position}


def _papers_of(conn: Connection, slate_id: int) -> tuple[tuple[Impression, ...], tuple[Paper, ...]]:
    """Return the impressions of a slate, and the papers of its recap."""
    query = select(impressions).filter_by(slate_id=slate_id).order_by(impressions.c.position)
    rows = conn.execute(query).all()
    papers = papers_store.load(conn, [row.paper_id for row in rows])
    shown = tuple(_impression(row, papers[row.paper_id]) for row in rows if row.policy != RECAP)
    return shown, tuple(papers[row.paper_id] for row in rows if row.policy == RECAP)


def _impression(row: Row[Any], paper: Paper) -> Impression:
    return Impression(
        paper=paper,
        position=row.position,
        score=row.score,
        propensity=row.propensity,
        policy=Policy(row.policy),
        features=np.frombuffer(row.features, dtype="<f4"),
        reasons=_reasons(row.reasons),
        prior=row.prior,
    )


def _reasons(stored: list[list[str]]) -> tuple[Reason, ...]:
    return tuple(Reason(ReasonKind(kind), text) for kind, text in stored)


def by_day(conn: Connection, subscriber_id: int, on: date) -> Slate | None:
    return _load(conn, (slates.c.subscriber_id == subscriber_id) & (slates.c.on == on))


def of_link(conn: Connection, public_id: str, subscriber_public_id: str) -> Slate | None:
    """Return the slate of that subscriber that a link names; None if there is none."""
    owner = select(subscribers.c.id).where(subscribers.c.public_id == subscriber_public_id)
    is_meant = slates.c.public_id == public_id
    return _load(conn, is_meant & (slates.c.subscriber_id == owner.scalar_subquery()))


def _load(conn: Connection, is_meant: ColumnElement[bool]) -> Slate | None:
    row = conn.execute(select(slates).where(is_meant)).one_or_none()
    subscriber = subscribers_store.by_id(conn, row.subscriber_id) if row else None
    if row is None or subscriber is None:
        return None
    fields = {name: getattr(row, name) for name in _OF_SLATE}
    shown, recap = _papers_of(conn, row.id)
    return Slate(**fields, subscriber=subscriber, impressions=shown, recap=recap)


def shown_at(
    conn: Connection, public_id: str, subscriber_public_id: str, position: int
) -> Impression | None:
    """Return one impression of a slate of that subscriber; None if there is none."""
    of = {"slate": public_id, "subscriber": subscriber_public_id, "position": position}
    row = conn.execute(_SHOWN_AT, of).one_or_none()
    return _impression(row, papers_store.load(conn, [row.paper_id])[row.paper_id]) if row else None


def find_delivery(
    conn: Connection, public_id: str, subscriber_public_id: str
) -> Row[Any, Any, Any] | None:
    """Return the slate_id, the subscriber_id and when the message was sent (sent_at), or None.

    None if that subscriber has no such slate; sent_at is None if it was not sent.
    """
    of = {"slate": public_id, "subscriber": subscriber_public_id}
    return conn.execute(_CARRIED, of).one_or_none()


def newest(conn: Connection, now: datetime | None = None) -> dict[int, Last]:
    """Return the date and the creation time of the newest slate by subscriber id.

    Args:
        now: leave out the slates of `ahead`; None includes them.
    """
    query = select(
        slates.c.subscriber_id, func.max(slates.c.on), func.max(slates.c.created_at)
    ).group_by(slates.c.subscriber_id)
    if now is not None:
        query = query.where(~_is_ahead(now))
    return {subscriber_id: Last(on, at) for subscriber_id, on, at in conn.execute(query)}


def ahead(conn: Connection, now: datetime) -> set[tuple[int, date]]:
    """Return the subscriber id and date of each slate that a clock ahead of `now` has made.

    Such a slate is the digest of its own date, but later than no other one.
    """
    query = select(slates.c.subscriber_id, slates.c.on).where(_is_ahead(now))
    return {(subscriber_id, on) for subscriber_id, on in conn.execute(query)}


def _is_ahead(now: datetime) -> ColumnElement[bool]:
    return or_(slates.c.created_at > now, slates.c.on > latest_date(now))


def sent_days(
    conn: Connection, first: date, subscriber_ids: Collection[int]
) -> dict[int, list[date]]:
    """Return the dates of sent digests by subscriber id, oldest first.

    Up to `first`, only the newest date of each subscriber is included.
    """
    sent = (
        select(slates.c.subscriber_id, slates.c.on)
        .join(messages, messages.c.slate_id == slates.c.id)
        .where(messages.c.state == MessageState.SENT)
    )
    newest = (
        select(slates.c.subscriber_id, func.max(slates.c.on))
        .join(messages, messages.c.slate_id == slates.c.id)
        .where(messages.c.state == MessageState.SENT, slates.c.on <= first)
        .group_by(slates.c.subscriber_id)
    )
    later = sent.where(slates.c.on > first).order_by(slates.c.on)
    of = slates.c.subscriber_id
    found = [rows_in(conn, query, of, subscriber_ids) for query in (newest, later)]
    return group(pair for rows in found for pair in rows)


def shown_papers(conn: Connection, subscriber_id: int) -> set[int]:
    """Return the ids of all works that this subscriber was ever shown."""
    return shown_papers_of_each(conn, [subscriber_id], date.min)[subscriber_id]


def shown_papers_of_each(
    conn: Connection, subscriber_ids: Collection[int], listed_from: date
) -> defaultdict[int, set[int]]:
    """Return the works that each subscriber was ever shown, of those listed since a day."""
    query = (
        select(impressions.c.subscriber_id, papers_store.WORK)
        .join(impressions, impressions.c.paper_id == papers.c.id)
        .where(_IS_KEPT, papers.c.listed_on >= listed_from)
    )
    found: defaultdict[int, set[int]] = defaultdict(set)
    for who, work in rows_in(conn, query, impressions.c.subscriber_id, subscriber_ids):
        found[who].add(work)
    return found


def showing(conn: Connection, subscriber_id: int, paper_id: int) -> int | None:
    """Return the id of the newest slate that showed a subscriber any row of a work."""
    row = _newest_row(conn, subscriber_id, paper_id)
    return row.slate_id if row else None


def newest_shown(conn: Connection, subscriber_id: int, paper_id: int) -> Impression | None:
    """Return the newest impression of any row of a work for a subscriber; None if none is kept."""
    row = _newest_row(conn, subscriber_id, paper_id)
    return _impression(row, papers_store.load(conn, [row.paper_id])[row.paper_id]) if row else None


def _newest_row(conn: Connection, subscriber_id: int, paper_id: int) -> Row[Any] | None:
    query = (
        select(impressions)
        .filter_by(subscriber_id=subscriber_id)
        .join(papers, papers.c.id == impressions.c.paper_id)
        .where(papers_store.is_same_work(paper_id), _IS_KEPT, ~_IS_RECAP)
        .order_by(impressions.c.slate_id.desc())
        .limit(1)
    )
    return conn.execute(query).first()


def made(conn: Connection, subscriber_id: int) -> list[Last]:
    """Return the date and the creation time of a subscriber's slates, newest first."""
    query = select(slates.c.on, slates.c.created_at).filter_by(subscriber_id=subscriber_id)
    return [Last(on, at) for on, at in conn.execute(query.order_by(slates.c.on.desc()))]


def find_shown(
    conn: Connection, subscriber_id: int, paper_id: int
) -> tuple[date, float | None, tuple[Reason, ...]] | None:
    """Return the date, score and reasons with which a subscriber first saw any row of a work.

    None if it was never shown. A recap has no score and no reasons.
    """
    query = (
        select(slates.c.on, impressions.c.policy, impressions.c.score, impressions.c.reasons)
        .join(slates, slates.c.id == impressions.c.slate_id)
        .join(papers, papers.c.id == impressions.c.paper_id)
        .where(impressions.c.subscriber_id == subscriber_id, _IS_KEPT)
        .where(papers_store.is_same_work(paper_id))
        .order_by(slates.c.on, impressions.c.position)
        .limit(1)
    )
    row = conn.execute(query).one_or_none()
    if row is None:
        return None
    return row.on, None if row.policy == RECAP else row.score, _reasons(row.reasons)


def shown_by_day(conn: Connection, subscriber_id: int) -> list[tuple[date, int]]:
    """Return (date, work id) of all papers that this subscriber was ever shown, oldest first."""
    query = (
        select(slates.c.on, papers_store.WORK)
        .join(impressions, impressions.c.slate_id == slates.c.id)
        .join(papers, papers.c.id == impressions.c.paper_id)
        .where(slates.c.subscriber_id == subscriber_id, _IS_KEPT)
        .order_by(slates.c.on, impressions.c.position)
    )
    return [(on, paper_id) for on, paper_id in conn.execute(query)]


def release(conn: Connection, slate_id: int, at: datetime) -> None:
    """Allow the papers of a digest that was not delivered to be shown again."""
    change = update(impressions).filter_by(slate_id=slate_id).where(_IS_KEPT)
    conn.execute(change.values(released_at=at))


def shows_withdrawn(slate_id: ColumnElement[Any] | int | None) -> ColumnElement[bool]:
    """Return the condition that a slate has a withdrawn paper."""
    return exists().where(
        impressions.c.slate_id == slate_id,
        papers.c.id == impressions.c.paper_id,
        papers.c.withdrawn_at.is_not(None),
    )


@dataclass(frozen=True, slots=True)
class ShownChance:
    """A shown paper, the chance that was told, and the one before corrections."""

    subscriber_id: int
    slate_id: int
    paper_id: int
    chance: float
    prior: float


def shown_chances(
    conn: Connection, limit: int, *, first: date | None = None, before: date | None = None
) -> list[ShownChance]:
    """Return the newest shown papers with chances, newest first.

    Args:
        first, before: leave out digests before `first`, or on `before` and later.
    """
    query = _with_chances(before).order_by(impressions.c.id.desc()).limit(limit)
    if first is not None:
        query = query.where(slates.c.on >= first)
    return [ShownChance(*row) for row in conn.execute(query)]


def shown_chances_of_each(
    conn: Connection, limit: int, subscriber_ids: Collection[int], before: date | None = None
) -> dict[int, list[ShownChance]]:
    """Return the newest `limit` shown papers of each subscriber, newest first.

    Args:
        before: leave out digests on this date and later.
    """
    newest = func.row_number().over(
        partition_by=impressions.c.subscriber_id, order_by=impressions.c.id.desc()
    )
    ranked = (
        _with_chances(before)
        .add_columns(newest.label("place"))
        .where(impressions.c.subscriber_id.in_(list(subscriber_ids)))
        .subquery()
    )
    query = select(*list(ranked.c)[:-1]).where(ranked.c.place <= limit).order_by(ranked.c.place)
    shown = (ShownChance(*row) for row in conn.execute(query))
    return group((each.subscriber_id, each) for each in shown)


def _with_chances(before: date | None) -> Select[Any]:
    each = impressions.c
    query = (
        select(each.subscriber_id, each.slate_id, papers_store.WORK, each.score, each.prior)
        .join(slates, slates.c.id == each.slate_id)
        .join(papers, papers.c.id == each.paper_id)
        .where(each.prior.is_not(None), each.released_at.is_(None))
    )
    return query if before is None else query.where(slates.c.on < before)


def listing(conn: Connection, limit: int) -> list[dict[str, Any]]:
    """Return the newest slates: public_id, on, email, n_candidates, scorer_version."""
    query = (
        select(
            *slates.c["public_id", "on"],
            subscribers.c.email,
            *slates.c["n_candidates", "scorer_version"],
        )
        .join(subscribers, subscribers.c.id == slates.c.subscriber_id)
        .order_by(slates.c.on.desc(), slates.c.id.desc())
        .limit(limit)
    )
    return [dict(row._mapping) for row in conn.execute(query)]


def of_subscriber(conn: Connection, subscriber_id: int, limit: int) -> list[tuple[date, int]]:
    """Return (date, number of papers shown) of a subscriber's newest digests, newest first."""
    query = (
        select(slates.c.on, func.count())
        .join(impressions, impressions.c.slate_id == slates.c.id)
        .where(slates.c.subscriber_id == subscriber_id, _IS_KEPT, ~_IS_RECAP)
        .group_by(slates.c.on)
        .order_by(slates.c.on.desc())
        .limit(limit)
    )
    return [(on, n) for on, n in conn.execute(query)]
