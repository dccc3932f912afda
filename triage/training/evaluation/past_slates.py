"""Past slates: what was known before a past day, and how each contender ranks its candidates.

    votes and slates before a day → PastSlate → PastRankers → candidates, and scores by contender

Scores use nothing from the day on, except the candidates. Upvotes are not used, because only their
newest count is stored.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from triage import store
from triage.domain.digest_calendar import digest_at, window_days
from triage.domain.protocols import Encoder
from triage.domain.records import F64, LIKES, RELEVANCE, EncodedPapers, Subscriber, Vote
from triage.ranking.pool import Pool
from triage.ranking.serving.active_models import ActiveModels
from triage.ranking.serving.calibrations import Calibrations
from triage.ranking.serving.ranker import Ranking, listing_days, load_pool, load_profile, rank
from triage.ranking.serving.user_model_cache import UserModelCache
from triage.store import Connection
from triage.training.evaluation.baselines import PastBaselines


@dataclass(frozen=True, slots=True)
class Contender:
    """A scorer with its encoder, or a baseline, which has neither."""

    name: str
    version: str
    pair: ActiveModels | None = None
    taught_until: date | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """The days to replay, and for how many days a paper is a candidate, as for digests."""

    first: date
    until: date
    max_age_days: int


@dataclass(frozen=True, slots=True)
class PastSlate:
    """A slate to rank: what was known before the day, and the labels from the votes after it."""

    subscriber: Subscriber
    on: date
    votes: tuple[Vote, ...]
    seen: frozenset[int]
    days: int
    relevance: dict[int, int]
    looked_at: frozenset[int]


def encoders(base: ActiveModels, contenders: Sequence[Contender]) -> dict[str, Encoder]:
    """Return the encoders of `base` and of the contenders, by version."""
    pairs = [base, *(each.pair for each in contenders if each.pair)]
    return {pair.encoder.version: pair.encoder for pair in pairs}


def list_past_slates(conn: Connection, span: Span) -> Iterator[PastSlate]:
    """Yield the slates to replay, one subscriber after the other, their days in order."""
    for subscriber in store.subscribers.everyone(conn):
        end = digest_at(span.until + timedelta(1), 0, subscriber.zone)
        final = store.events.votes(conn, subscriber.id, end)
        shown = store.slates.shown_by_day(conn, subscriber.id)
        for on, ids in sorted(_liked_by_day(conn, final, shown, span).items()):
            slate = _past_slate(conn, subscriber, on, final, shown, span.max_age_days)
            if not ids.isdisjoint(slate.relevance):
                yield slate


def _liked_by_day(
    conn: Connection, final: Sequence[Vote], shown: Sequence[tuple[date, int]], span: Span
) -> dict[date, set[int]]:
    """Return the liked papers that were listed or shown on each day."""
    liked = [vote.paper_id for vote in final if RELEVANCE[vote.kind] > 0]
    papers = store.papers.load(conn, liked)
    of_day: dict[date, set[int]] = {}
    for on, id in [*((paper.listed_on, id) for id, paper in papers.items()), *shown]:
        if id in papers and span.first <= on <= span.until:
            of_day.setdefault(on, set()).add(id)
    return of_day


def _past_slate(
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
    """Scores the candidates of a past slate by each contender, from what was known then."""

    def __init__(
        self,
        conn: Connection,
        base: ActiveModels,
        contenders: Sequence[Contender],
        slates: Sequence[PastSlate],
    ) -> None:
        self._conn = conn
        self._base = base
        first, last = min(slate.on for slate in slates), max(slate.on for slate in slates)
        days = max(slate.days for slate in slates) + (last - first).days
        needed = encoders(base, contenders)
        self._pools = {
            version: _in_listing_order(load_pool(conn, encoder, last, days))
            for version, encoder in needed.items()
        }
        # The stored user models know later likes.
        self._tastes = {
            version: UserModelCache(encoder, kept=False) for version, encoder in needed.items()
        }
        self._calibrations = Calibrations(conn, first)
        self._baselines: PastBaselines | None = None
        if any(each.pair is None for each in contenders):
            papers = store.papers.listed_between(conn, date.min, last)
            papers.sort(key=lambda paper: (paper.listed_on, paper.id))
            self._baselines = PastBaselines(papers, first)
        self._rankings: dict[str, Ranking] = {}
        self._slate: PastSlate | None = None

    def ranking(self, slate: PastSlate, encoder: Encoder | None = None) -> Ranking:
        """Return a slate's candidates with their features, computed once for each encoder."""
        encoder = encoder or self._base.encoder
        if slate is not self._slate:
            self._slate, self._rankings = slate, {}
        if encoder.version not in self._rankings:
            learner = self._tastes[encoder.version].on(slate.on)
            self._rankings[encoder.version] = rank(
                load_profile(self._conn, encoder, slate.subscriber, slate.votes, learner),
                _window(self._pools[encoder.version], slate),
                self._base.scorer,
                seen=slate.seen,
                on=slate.on,
                max_age_days=slate.days,
            )
        return self._rankings[encoder.version]

    def scores(self, slate: PastSlate, contender: Contender) -> tuple[Ranking, F64]:
        """Return a slate's candidates and a contender's scores of them, float64 (n,)."""
        if contender.pair is None:
            assert self._baselines is not None  # noqa: S101 - made if a baseline is a contender
            ranking = self.ranking(slate)
            liked = [vote.paper_id for vote in slate.votes if vote.kind in LIKES]
            ids = [paper.id for paper in ranking.candidates.papers]
            name, subscriber, on = contender.name, slate.subscriber, slate.on
            return ranking, self._baselines.scores(name, subscriber, liked, on, ids)
        ranking = self.ranking(slate, contender.pair.encoder)
        return ranking, contender.pair.scorer.score(ranking.features)

    def chances(self, slate: PastSlate, ranking: Ranking, scores: F64) -> F64:
        """Return the chances of a slate's candidates by what was known before, float64 (n,)."""
        of = self._calibrations.of(self._conn, slate.subscriber.id, slate.votes, slate.on)
        return of.chances(scores, listing_days(ranking.candidates))[0]


def _in_listing_order(pool: EncodedPapers) -> EncodedPapers:
    papers = tuple(replace(paper, upvotes=None) for paper in pool.papers)
    rows = sorted(range(len(papers)), key=lambda row: (papers[row].listed_on, papers[row].id))
    return EncodedPapers(papers, pool.encodings).select(np.array(rows, dtype=np.int64))


def _window(pool: EncodedPapers, slate: PastSlate) -> Pool:
    """Return the papers of a pool in listing order that are in the slate's window of days."""
    days = [paper.listed_on for paper in pool.papers]
    begin = bisect_left(days, slate.on - timedelta(days=slate.days))
    return Pool.of(pool.select(slice(begin, bisect_right(days, slate.on))))
