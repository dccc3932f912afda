"""Preview the papers that a new subscriber would get; nothing is stored."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np

from triage import store
from triage.domain.protocols import Clock, Encoder
from triage.domain.records import EncodedPapers, EventKind, Impression, Subscriber, Vote
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
class _Newest:
    """The newest papers at an instant."""

    on: date
    encoder: Encoder
    pool: EncodedPapers
    at: datetime


class Previews:
    """Ranks the newest papers with the pretrained ranker.

    The papers are cached for FRESH_FOR; no model is fitted, and only the interests are encoded.
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

    def of(
        self, subscriber: Subscriber, likes: Sequence[int] = ()
    ) -> tuple[Impression, ...] | None:
        """Return the papers that a subscriber who is not stored would get; may be empty.

        None if there are no models or no papers yet.

        Args:
            likes: ids of papers that they like; these are not shown.
        """
        with self._lock:
            newest = self._load_newest()
        if newest is None or not len(newest.pool):
            return None
        scorer = self._model_store.pretrained_scorer()
        with self._database.read() as conn:
            votes = [Vote(id, EventKind.VOTE_UP, newest.at) for id in likes]
            profile = load_profile(conn, newest.encoder, subscriber, votes)
        ranking = rank(
            profile,
            newest.pool,
            scorer,
            seen=likes,
            on=newest.on,
            max_age_days=self._rules.max_age_days,
        )
        return fill_slate(ranking, self._rules, scorer, newest.encoder, np.random.default_rng(0))

    def _load_newest(self) -> _Newest | None:
        now, cached = self._clock.now(), self._cached
        if cached is not None and timedelta(0) <= now - cached.at < FRESH_FOR:
            return cached
        pair = load_active_models(self._database, self._model_store)
        with self._database.read() as conn:
            on = store.listing_days.newest(conn)
            if pair is None or on is None:
                return None
            pool = load_pool(conn, pair.encoder, on, DAYS - 1)
        pool = pool.select(slice(max(len(pool) - MOST_PAPERS, 0), None))
        self._cached = _Newest(on, pair.encoder, pool, now)
        return self._cached
