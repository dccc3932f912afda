"""Past days as they were: what was known before, who could be shown what, how it would be ranked.

    votes and slates before a day → Moment → Rankers → candidates and scores, one by one contender

Nothing from the day on reaches a score, except the candidates themselves. Upvotes are left out,
because only their newest count is stored.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from triage import store
from triage.domain.digest_calendar import digest_at, window_days
from triage.domain.protocols import Encoder
from triage.domain.records import F64, LIKES, RELEVANCE, EncodedPapers, Subscriber, Vote
from triage.ranking.serving.active_models import Serving
from triage.ranking.serving.ranker import Ranking, load_pool, load_profile, rank
from triage.ranking.serving.user_model_cache import Tastes
from triage.training.evaluation.baselines import PastBaselines

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Contender:
    """A scorer with its encoder, or one of the peers, which has neither."""

    name: str
    version: str
    pair: Serving | None = None
    taught_until: date | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Which days are replayed, and how many days a paper is offered on each, as for digests."""

    first: date
    until: date
    max_age_days: int


@dataclass(frozen=True, slots=True)
class PastSlate:
    """One slate to be: what was known before the day, and what was liked from then on."""

    subscriber: Subscriber
    on: date
    votes: tuple[Vote, ...]
    seen: frozenset[int]
    days: int
    relevance: dict[int, int]
    looked_at: frozenset[int]


def encoders(base: Serving, contenders: Sequence[Contender]) -> dict[str, Encoder]:
    """Return the encoders that are needed, by version; candidates are always those of `base`."""
    pairs = [base, *(each.pair for each in contenders if each.pair)]
    return {pair.encoder.version: pair.encoder for pair in pairs}


def moments_of(conn: Connection, span: Span) -> Iterator[PastSlate]:
    """Yield the slates to be replayed, subscriber by subscriber, each one's days in order."""
    for subscriber in store.subscribers.everyone(conn):
        end = digest_at(span.until + timedelta(1), 0, subscriber.zone)
        final = store.events.votes(conn, subscriber.id, end)
        shown = store.slates.shown_by_day(conn, subscriber.id)
        of_day = _liked_by_day(conn, final, shown, span)
        for on, ids in sorted(of_day.items()):
            moment = _moment(conn, subscriber, on, final, shown, span.max_age_days)
            if not ids.isdisjoint(moment.relevance):
                yield moment


def _liked_by_day(
    conn: Connection, final: Sequence[Vote], shown: Sequence[tuple[date, int]], span: Span
) -> dict[date, set[int]]:
    """Return what was ever liked of the papers that were listed, or shown, on each day."""
    liked = [vote.paper_id for vote in final if RELEVANCE[vote.kind] > 0]
    papers = store.papers.load(conn, liked)
    of_day: dict[date, set[int]] = {}
    for on, id in [*((paper.listed_on, id) for id, paper in papers.items()), *shown]:
        if id in papers and span.first <= on <= span.until:
            of_day.setdefault(on, set()).add(id)
    return of_day


def _moment(
    conn: Connection,
    subscriber: Subscriber,
    on: date,
    final: Sequence[Vote],
    shown: Sequence[tuple[date, int]],
    max_age_days: int,
) -> PastSlate:
    begins_at = digest_at(on, 0, subscriber.zone)
    votes = store.events.votes(conn, subscriber.id, begins_at)
    later = {vote.paper_id: RELEVANCE[vote.kind] for vote in final if vote.at >= begins_at}
    before = [(day, id) for day, id in shown if day < on]
    return PastSlate(
        subscriber=subscriber,
        on=on,
        votes=votes,
        seen=frozenset({vote.paper_id for vote in votes} | {id for _, id in before}),
        days=window_days(max_age_days, {day for day, _ in before}, on),
        relevance=later,
        looked_at=frozenset({id for day, id in shown if day == on} | later.keys()),
    )


class PastRankers:
    """Scores the candidates of any moment as each contender does, from what was known then."""

    def __init__(
        self,
        conn: Connection,
        base: Serving,
        contenders: Sequence[Contender],
        moments: Sequence[PastSlate],
    ) -> None:
        self._conn = conn
        self._base = base
        first, last = min(m.on for m in moments), max(m.on for m in moments)
        days = max(moment.days for moment in moments) + (last - first).days
        needed = encoders(base, contenders)
        self._pools = {
            version: _in_listing_order(load_pool(conn, encoder, last, days))
            for version, encoder in needed.items()
        }
        # What today's readers are known for is not what was known then.
        self._tastes = {version: Tastes(encoder, kept=False) for version, encoder in needed.items()}
        self._peers: PastBaselines | None = None
        if any(each.pair is None for each in contenders):
            papers = store.papers.listed_between(conn, date.min, last)
            papers.sort(key=lambda paper: (paper.listed_on, paper.id))
            self._peers = PastBaselines(papers, first)
        self._rankings: dict[str, Ranking] = {}
        self._moment: PastSlate | None = None

    def ranking(self, moment: PastSlate, encoder: Encoder | None = None) -> Ranking:
        """Return the candidates of a moment with their features, made once for each encoder."""
        encoder = encoder or self._base.encoder
        if moment is not self._moment:
            self._moment, self._rankings = moment, {}
        if encoder.version not in self._rankings:
            learner = self._tastes[encoder.version].on(moment.on)
            profile = load_profile(self._conn, encoder, moment.subscriber, moment.votes, learner)
            pool = _window(self._pools[encoder.version], moment)
            self._rankings[encoder.version] = rank(
                profile,
                pool,
                self._base.scorer,
                seen=moment.seen,
                on=moment.on,
                max_age_days=moment.days,
            )
        return self._rankings[encoder.version]

    def scores(self, moment: PastSlate, contender: Contender) -> tuple[Ranking, F64]:
        """Return a moment's candidates and a contender's float64 (n,) scores of them."""
        if contender.pair is None:
            assert self._peers is not None  # noqa: S101 - made where a peer takes part
            ranking = self.ranking(moment)
            liked = [vote.paper_id for vote in moment.votes if vote.kind in LIKES]
            ids = [paper.id for paper in ranking.candidates.papers]
            reader, on = moment.subscriber, moment.on
            return ranking, self._peers.scores(contender.name, reader, liked, on, ids)
        ranking = self.ranking(moment, contender.pair.encoder)
        return ranking, contender.pair.scorer.score(ranking.features)


def _in_listing_order(pool: EncodedPapers) -> EncodedPapers:
    papers = [replace(paper, upvotes=None) for paper in pool.papers]
    rows = sorted(range(len(papers)), key=lambda row: (papers[row].listed_on, papers[row].id))
    return EncodedPapers(tuple(papers), pool.encodings).select(np.array(rows, dtype=np.int64))


def _window(pool: EncodedPapers, moment: PastSlate) -> EncodedPapers:
    """Return what of a pool in listing order may be new to a moment's subscriber."""
    days = [paper.listed_on for paper in pool.papers]
    begin = bisect_left(days, moment.on - timedelta(days=moment.days))
    end = bisect_right(days, moment.on)
    return pool.select(slice(begin, end))
