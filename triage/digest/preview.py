"""What somebody who is not subscribed yet would get: ranked as a digest is, and nothing written."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np

from triage import store
from triage.domain.protocols import Clock, Encoder, ModelStore
from triage.domain.records import EncodedPapers, EventKind, Impression, Subscriber, Vote
from triage.ranking.serving.active_models import load_active_models
from triage.ranking.serving.ranker import DigestRules, choose, load_pool, load_profile, rank
from triage.store import Database

SIZE = 5
DAYS = 3
# A page waits for it: what was listed last says enough.
MOST_PAPERS = 1_500
FRESH_FOR = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Today:
    """The newest papers, as they were at an instant."""

    on: date
    encoder: Encoder
    pool: EncodedPapers
    at: datetime


class Previews:
    """Ranks the newest papers for words alone, with the cold-start scorer.

    The papers are kept for a while; nothing is fitted and nothing encoded but the words.
    """

    def __init__(
        self, database: Database, workshop: ModelStore, clock: Clock, rules: DigestRules
    ) -> None:
        self._database = database
        self._workshop = workshop
        self._clock = clock
        self._rules = replace(rules, size=min(SIZE, rules.size), exploration_slots=0)
        self._guard = threading.Lock()
        self._kept: _Today | None = None

    def of(
        self, subscriber: Subscriber, likes: Sequence[int] = ()
    ) -> tuple[Impression, ...] | None:
        """Return the papers that a subscriber, stored nowhere, would get; few or none may be close.

        None where there is nothing to choose from yet.

        Args:
            likes: ids of papers that they like; these are not shown.
        """
        with self._guard:
            today = self._today()
        if today is None or not len(today.pool):
            return None
        scorer = self._workshop.cold_scorer()
        with self._database.read() as conn:
            votes = [Vote(id, EventKind.VOTE_UP, today.at) for id in likes]
            profile = load_profile(conn, today.encoder, subscriber, votes)
        ranking = rank(
            profile,
            today.pool,
            scorer,
            seen=likes,
            on=today.on,
            max_age_days=self._rules.max_age_days,
        )
        return choose(ranking, self._rules, scorer, today.encoder, np.random.default_rng(0))

    def _today(self) -> _Today | None:
        now, kept = self._clock.now(), self._kept
        if kept is not None and timedelta(0) <= now - kept.at < FRESH_FOR:
            return kept
        pair = load_active_models(self._database, self._workshop)
        with self._database.read() as conn:
            on = store.listing_days.newest(conn)
            if pair is None or on is None:
                return None
            pool = load_pool(conn, pair.encoder, on, DAYS - 1)
        newest = pool.select(slice(max(len(pool) - MOST_PAPERS, 0), None))
        self._kept = _Today(on, pair.encoder, newest, now)
        return self._kept
