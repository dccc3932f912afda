"""Slates and impressions: what was shown to whom, where, how likely, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, func, insert, select, update

from triage.records import Impression, MessageState, Policy, Reason, Slate
from triage.store import papers as papers_store
from triage.store import subscribers as subscribers_store
from triage.tables import impressions, messages, slates, subscribers


@dataclass(frozen=True, slots=True)
class LoggedImpression:
    """One row of the training log. `features` is float32 (n_features,)."""

    slate_id: int
    on: date
    subscriber_id: int
    paper_id: int
    position: int
    propensity: float
    policy: Policy
    features: np.ndarray[tuple[int], np.dtype[np.float32]]
    feature_version: str
    encoder_version: str


def save(conn: Connection, slate: Slate, run_id: int, at: datetime) -> int:
    """Store a slate with its impressions and return its id.

    Raises:
        sqlalchemy.exc.IntegrityError: the subscriber has a slate for that date already, or one of
            the papers was shown to them before.
    """
    row = {
        "public_id": slate.public_id,
        "subscriber_id": slate.subscriber.id,
        "on": slate.on,
        "run_id": run_id,
        "n_candidates": slate.n_candidates,
        "scorer_version": slate.scorer_version,
        "encoder_version": slate.encoder_version,
        "feature_version": slate.feature_version,
        "day_report": slate.day_report,
        "created_at": at,
    }
    slate_id = int(conn.execute(insert(slates).returning(slates.c.id), row).scalar_one())
    if slate.impressions:
        conn.execute(
            insert(impressions),
            [
                {
                    "slate_id": slate_id,
                    "subscriber_id": slate.subscriber.id,
                    "paper_id": shown.paper.id,
                    "position": shown.position,
                    "score": shown.score,
                    "propensity": shown.propensity,
                    "policy": shown.policy,
                    "features": shown.features.astype("<f4").tobytes(),
                    "reasons": [[reason.kind, reason.text] for reason in shown.reasons],
                }
                for shown in slate.impressions
            ],
        )
    return slate_id


def _impressions(conn: Connection, slate_id: int) -> tuple[Impression, ...]:
    query = (
        select(impressions)
        .where(impressions.c.slate_id == slate_id)
        .order_by(impressions.c.position)
    )
    rows = conn.execute(query).all()
    papers = papers_store.load(conn, [row.paper_id for row in rows])
    return tuple(
        Impression(
            paper=papers[row.paper_id],
            position=row.position,
            score=row.score,
            propensity=row.propensity,
            policy=Policy(row.policy),
            features=np.frombuffer(row.features, dtype="<f4"),
            reasons=tuple(Reason(kind, text) for kind, text in row.reasons),
        )
        for row in rows
    )


def _slate(conn: Connection, row: Row[Any] | None) -> Slate | None:
    if row is None:
        return None
    subscriber = subscribers_store.by_id(conn, row.subscriber_id)
    assert subscriber is not None  # noqa: S101 - a foreign key says so
    return Slate(
        public_id=row.public_id,
        subscriber=subscriber,
        on=row.on,
        impressions=_impressions(conn, row.id),
        n_candidates=row.n_candidates,
        scorer_version=row.scorer_version,
        encoder_version=row.encoder_version,
        feature_version=row.feature_version,
        day_report=row.day_report,
    )


def by_public_id(conn: Connection, public_id: str) -> Slate | None:
    query = select(slates).where(slates.c.public_id == public_id)
    return _slate(conn, conn.execute(query).one_or_none())


def by_day(conn: Connection, subscriber_id: int, on: date) -> Slate | None:
    query = select(slates).where(slates.c.subscriber_id == subscriber_id, slates.c.on == on)
    return _slate(conn, conn.execute(query).one_or_none())


def id_of(conn: Connection, public_id: str) -> int | None:
    return conn.scalar(select(slates.c.id).where(slates.c.public_id == public_id))


def last_days(conn: Connection, *, sent: bool = False) -> dict[int, date]:
    """Return the date of the newest slate of every subscriber who has one.

    Args:
        sent: of those alone whose message was handed over.
    """
    query = select(slates.c.subscriber_id, func.max(slates.c.on)).group_by(slates.c.subscriber_id)
    if sent:
        query = query.join(messages, messages.c.slate_id == slates.c.id).where(
            messages.c.state == MessageState.SENT
        )
    return {subscriber_id: on for subscriber_id, on in conn.execute(query)}  # noqa: C416


def shown_papers(conn: Connection, subscriber_id: int) -> set[int]:
    """Return the ids of all papers that this subscriber was ever shown."""
    query = select(impressions.c.paper_id).where(
        impressions.c.subscriber_id == subscriber_id, impressions.c.released_at.is_(None)
    )
    return set(conn.scalars(query))


def release(conn: Connection, slate_id: int, at: datetime) -> None:
    """Let the papers of a digest that could never be delivered be shown again."""
    change = update(impressions).where(
        impressions.c.slate_id == slate_id, impressions.c.released_at.is_(None)
    )
    conn.execute(change.values(released_at=at))


def training_log(conn: Connection, feature_version: str) -> list[LoggedImpression]:
    """Return every impression that was not taken back, with features of that version, in order."""
    query = (
        select(
            impressions,
            slates.c.on,
            slates.c.encoder_version,
            slates.c.feature_version,
        )
        .join(slates, slates.c.id == impressions.c.slate_id)
        .where(
            slates.c.feature_version == feature_version,
            impressions.c.released_at.is_(None),
        )
        .order_by(slates.c.on, slates.c.id, impressions.c.position)
    )
    return [
        LoggedImpression(
            slate_id=row.slate_id,
            on=row.on,
            subscriber_id=row.subscriber_id,
            paper_id=row.paper_id,
            position=row.position,
            propensity=row.propensity,
            policy=Policy(row.policy),
            features=np.frombuffer(row.features, dtype="<f4"),
            feature_version=row.feature_version,
            encoder_version=row.encoder_version,
        )
        for row in conn.execute(query)
    ]


def listing(conn: Connection, limit: int) -> list[dict[str, Any]]:
    """Return the newest slates: public_id, on, email, n_candidates, scorer_version."""
    query = (
        select(
            slates.c.public_id,
            slates.c.on,
            subscribers.c.email,
            slates.c.n_candidates,
            slates.c.scorer_version,
        )
        .join(subscribers, subscribers.c.id == slates.c.subscriber_id)
        .order_by(slates.c.on.desc(), slates.c.id.desc())
        .limit(limit)
    )
    return [dict(row._mapping) for row in conn.execute(query)]
