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
from triage.baselines import Baselines, peer_text
from triage.due import digest_at, window_days
from triage.ports import Encoder
from triage.ranking import Ranking, load_pool, load_profile, rank
from triage.records import F64, LIKES, RELEVANCE, Library, Paper, Subscriber, Vote
from triage.serving import Serving
from triage.tastes import Tastes

if TYPE_CHECKING:
    from sqlalchemy import Connection

SEED = 0


@dataclass(frozen=True, slots=True)
class Contender:
    """A scorer with its encoder, or one of the peers, which has neither."""

    name: str
    version: str
    pair: Serving | None = None
    taught_until: date | None = None


@dataclass(frozen=True, slots=True)
class Moment:
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


def moments_of(conn: Connection, first: date, until: date, max_age_days: int) -> Iterator[Moment]:
    """Yield the slates to be replayed, subscriber by subscriber, each one's days in order."""
    for subscriber in store.subscribers.everyone(conn):
        zone = subscriber.zone
        final = store.events.votes(conn, subscriber.id, digest_at(until + timedelta(1), 0, zone))
        liked = [vote for vote in final if RELEVANCE[vote.kind] > 0]
        listed_on = {
            id: paper.listed_on
            for id, paper in store.papers.load(conn, [vote.paper_id for vote in liked]).items()
        }
        shown = store.slates.shown_by_day(conn, subscriber.id)
        of_day: dict[date, set[int]] = {}
        for on, id in [*((on, id) for id, on in listed_on.items()), *shown]:
            if id in listed_on and first <= on <= until:
                of_day.setdefault(on, set()).add(id)
        for on, ids in sorted(of_day.items()):
            begins_at = digest_at(on, 0, zone)
            votes = store.events.votes(conn, subscriber.id, begins_at)
            known = {vote.paper_id for vote in votes}
            later = {vote.paper_id: RELEVANCE[vote.kind] for vote in final if vote.at >= begins_at}
            if ids.isdisjoint(later):
                continue
            before = [(day, id) for day, id in shown if day < on]
            yield Moment(
                subscriber=subscriber,
                on=on,
                votes=votes,
                seen=frozenset(known | {id for _, id in before}),
                days=window_days(max_age_days, {day for day, _ in before}, on),
                relevance=later,
                looked_at=frozenset({id for day, id in shown if day == on} | later.keys()),
            )


class Rankers:
    """Scores the candidates of any moment as each contender does, from what was known then."""

    def __init__(
        self,
        conn: Connection,
        base: Serving,
        contenders: Sequence[Contender],
        moments: Sequence[Moment],
    ) -> None:
        self._conn = conn
        self._base = base
        first, last = min(m.on for m in moments), max(m.on for m in moments)
        days = max(moment.days for moment in moments) + (last - first).days
        self._pools = {
            version: _in_listing_order(load_pool(conn, encoder, last, days))
            for version, encoder in encoders(base, contenders).items()
        }
        # What today's readers are known for is not what was known then.
        self._tastes = {
            version: Tastes(encoder, kept=False)
            for version, encoder in encoders(base, contenders).items()
        }
        self._peers = None
        if any(each.pair is None for each in contenders):
            self._peers = _Peers(conn, first, last)
        self._rankings: dict[str, Ranking] = {}
        self._moment: Moment | None = None

    def ranking(self, moment: Moment, encoder: Encoder | None = None) -> Ranking:
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

    def scores(self, moment: Moment, contender: Contender) -> tuple[Ranking, F64]:
        """Return a moment's candidates and a contender's float64 (n,) scores of them."""
        if contender.pair is None:
            assert self._peers is not None  # noqa: S101 - made where a peer takes part
            ranking = self.ranking(moment)
            papers = ranking.candidates.papers
            return ranking, self._peers.scores(contender.name, moment, papers)
        ranking = self.ranking(moment, contender.pair.encoder)
        return ranking, contender.pair.scorer.score(ranking.features)


class _Peers:
    """The peers' rankers over all papers of the time, one subscriber after the other.

    Their vocabulary is learned from the papers listed up to the first day. A learner is fitted anew
    when the likes have changed, on what was listed by then, and asked again until they change.
    """

    def __init__(self, conn: Connection, first: date, last: date) -> None:
        papers = store.papers.listed_between(conn, date.min, last)
        papers.sort(key=lambda paper: (paper.listed_on, paper.id))
        self._days = [paper.listed_on for paper in papers]
        self._rows = {paper.id: row for row, paper in enumerate(papers)}
        texts = [peer_text(paper.title, paper.abstract, paper.authors) for paper in papers]
        n_first = bisect_right(self._days, first)
        learned = Baselines.fit(texts[:n_first])
        self._baselines = learned if n_first == len(texts) else learned.over(texts)
        self._fitted: dict[str, tuple[tuple[int, tuple[int, ...]], F64]] = {}

    def scores(self, name: str, moment: Moment, papers: Sequence[Paper]) -> F64:
        """Return float64 (n,): how the named peer scores these papers for that moment."""
        liked = tuple(
            self._rows[vote.paper_id]
            for vote in moment.votes
            if vote.kind in LIKES and vote.paper_id in self._rows
        )
        asked = (moment.subscriber.id, liked)
        if name not in self._fitted or self._fitted[name][0] != asked:
            found = self._baselines.scores(
                name,
                moment.subscriber.interests,
                liked,
                np.random.default_rng([SEED, moment.subscriber.id, moment.on.toordinal()]),
                n_known=bisect_right(self._days, moment.on),
            )
            self._fitted[name] = (asked, found)
        return self._fitted[name][1][[self._rows[paper.id] for paper in papers]]


def _in_listing_order(pool: Library) -> Library:
    papers = [replace(paper, upvotes=None) for paper in pool.papers]
    rows = sorted(range(len(papers)), key=lambda row: (papers[row].listed_on, papers[row].id))
    return Library(tuple(papers), pool.encodings).taken(np.array(rows, dtype=np.int64))


def _window(pool: Library, moment: Moment) -> Library:
    """Return what of a pool in listing order may be new to a moment's subscriber."""
    days = [paper.listed_on for paper in pool.papers]
    begin = bisect_left(days, moment.on - timedelta(days=moment.days))
    end = bisect_right(days, moment.on)
    return pool.taken(slice(begin, end))
