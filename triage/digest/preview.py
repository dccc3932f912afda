"""Preview the papers that somebody would get with other preferences; nothing is stored."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np

from triage import store
from triage.domain.protocols import Clock, Encoder
from triage.domain.records import EventKind, Impression, Subscriber, Vote
from triage.ranking.pool import Pool
from triage.ranking.serving.active_models import load_active_models
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import DigestRules, fill_slate, load_pool, load_profile, rank
from triage.store import Database

SIZE = 5
DAYS = 3
# A page waits for the preview, so only the newest papers are ranked.
MOST_PAPERS = 1_500
FRESH_FOR = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Preview:
    """The papers that somebody would get, best first, and what they were chosen from.

    These are `n_papers` papers of `days`, oldest first. No days: no papers are stored. No papers,
    but days: the papers have no vectors yet. `has_unknown_words` if the text of the interests has
    no word that the encoder knows, so that it could not be used.
    """

    impressions: tuple[Impression, ...] = ()
    n_papers: int = 0
    days: tuple[date, ...] = ()
    has_unknown_words: bool = False


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest papers at an instant; `days` are those of the papers, oldest first."""

    days: tuple[date, ...]
    encoder: Encoder
    pool: Pool
    at: datetime


class Previews:
    """Ranks the newest papers with the pretrained ranker.

    These are the papers of the last DAYS days that have any, so that there are some after a weekend
    or holidays, too. They are cached for FRESH_FOR; no model is fitted, and only the interests are
    encoded.
    """

    def __init__(
        self, database: Database, model_store: ModelStore, clock: Clock, rules: DigestRules
    ) -> None:
        self._database = database
        self._model_store = model_store
        self._clock = clock
        self._rules = replace(rules, size=min(SIZE, rules.size), exploration_slots=0)
        self._lock = threading.Lock()
        self._cached: _Newest | None = None

    def of(self, subscriber: Subscriber, likes: Sequence[int] = ()) -> Preview:
        """Return the papers that a subscriber with these preferences would get; may be empty.

        Papers that a stored subscriber was sent already are not left out, but those with a vote.

        Args:
            subscriber: stored or not; the votes of a stored one count.
            likes: ids of papers that they like, too; these are not shown.
        """
        with self._lock:
            newest = self._load_newest()
        if newest is None:
            days = self._database.fetch(store.listing_days.newest_days, DAYS)
            return Preview(days=tuple(reversed(days)))
        subscriber = replace(subscriber, size=None)
        scorer = self._model_store.pretrained_scorer()
        with self._database.read() as conn:
            votes = [Vote(id, EventKind.VOTE_UP, newest.at) for id in likes]
            votes += store.events.votes(conn, subscriber.id)
            profile = load_profile(conn, newest.encoder, subscriber, votes)
        first, last = newest.days[0], newest.days[-1]
        ranking = rank(
            profile,
            newest.pool,
            scorer,
            seen={vote.paper_id for vote in votes},
            on=last,
            max_age_days=(last - first).days,
        )
        rng = np.random.default_rng(0)
        shown = fill_slate(ranking, self._rules, scorer, newest.encoder, rng)
        is_unknown = bool(profile.phrases) and not profile.interests.latent.any()
        return Preview(shown, len(newest.pool), newest.days, is_unknown)

    def _load_newest(self) -> _Newest | None:
        """Return the newest papers, None if there are none with vectors."""
        now, cached = self._clock.now(), self._cached
        if cached is not None and timedelta(0) <= now - cached.at < FRESH_FOR:
            return cached
        pair = load_active_models(self._database, self._model_store)
        with self._database.read() as conn:
            days = store.listing_days.newest_days(conn, DAYS)
            if pair is None or not days:
                return None
            pool = load_pool(conn, pair.encoder, days[0], (days[0] - days[-1]).days)
        pool = Pool.of(pool.select(slice(max(len(pool) - MOST_PAPERS, 0), None)))
        if not len(pool):
            return None
        listed = tuple(sorted({paper.listed_on for paper in pool.papers}))
        self._cached = _Newest(listed, pair.encoder, pool, now)
        return self._cached
