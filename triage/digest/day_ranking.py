"""Ranks all papers of some days for one subscriber, for the pages; nothing is stored."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from triage import store
from triage.domain.chances import words_of
from triage.domain.records import Placement, Policy, Subscriber
from triage.ranking.serving.active_models import ActiveModels, load_active_models
from triage.ranking.serving.calibrations import Calibrations
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import Ranking, explain, load_pool, load_profile, rank
from triage.ranking.serving.user_model_cache import UserModelCache
from triage.store import Database


@dataclass(frozen=True, slots=True)
class PaperReason:
    """How likely a paper is to be liked, in words or "", and why it has its rank."""

    chance: str
    reasons: tuple[str, ...]


class DayRanking:
    """The ranking of some days' papers for one subscriber.

    `ranks` has the 1-based rank of each paper by its id. Papers that the subscriber's preferences
    keep out of digests, and new ones without vectors, have none.
    """

    def __init__(self, ranking: Ranking, pair: ActiveModels) -> None:
        self._ranking = ranking
        self._pair = pair
        barred = ranking.aims().find_paused()
        order = [row for row in np.argsort(-ranking.scores, kind="stable") if not barred[row]]
        papers = ranking.candidates.papers
        self._rows = {papers[row].id: int(row) for row in order}
        self.ranks = {id: rank for rank, id in enumerate(self._rows, 1)}
        # A reader comes back to the page after each vote.
        self._explained: dict[int, PaperReason] = {}

    def explain(self, ids: Sequence[int]) -> dict[int, PaperReason]:
        """Return the reasons of these papers by their ids, of those that have a rank."""
        ranked = [id for id in ids if id in self._rows]
        new = [id for id in ranked if id not in self._explained]
        if new:
            self._explained |= self._explain(new)
        return {id: self._explained[id] for id in ranked}

    def _explain(self, ids: Sequence[int]) -> dict[int, PaperReason]:
        placements = [
            Placement(
                self._rows[id],
                self.ranks[id],
                float(self._ranking.chances[self._rows[id]]),
                1.0,
                Policy.RANKED,
            )
            for id in ids
        ]
        reasons = explain(self._ranking, placements, self._pair.scorer, self._pair.encoder)
        return {
            id: PaperReason(words_of(placement.score), tuple(reason.text for reason in several))
            for id, placement, several in zip(ids, placements, reasons, strict=True)
        }


class DayRankings:
    """Ranks the papers of days for subscribers."""

    def __init__(self, database: Database, model_store: ModelStore) -> None:
        self._database = database
        self._model_store = model_store
        self._lock = threading.Lock()
        self._user_models: tuple[str, UserModelCache] | None = None

    def of(self, subscriber: Subscriber, first: date, last: date) -> DayRanking | None:
        """Return the ranking of the papers listed from `first` to `last`; None without models."""
        pair = load_active_models(self._database, self._model_store)
        if pair is None:
            return None
        days = (last - first).days
        with self._lock, self._database.read() as conn:
            votes = store.events.votes(conn, subscriber.id)
            learner = self._models_of(pair).on(last)
            ranking = rank(
                load_profile(conn, pair.encoder, subscriber, votes, learner),
                load_pool(conn, pair.encoder, last, days),
                pair.scorer,
                seen=(),
                on=last,
                max_age_days=days,
                calibration=Calibrations(conn).of(conn, subscriber.id, votes, last),
            )
        return DayRanking(ranking, pair)

    def _models_of(self, pair: ActiveModels) -> UserModelCache:
        """Return the user models, whose background takes long to load; they are kept."""
        version = pair.encoder.version
        if self._user_models is None or self._user_models[0] != version:
            self._user_models = version, UserModelCache(pair.encoder)
        return self._user_models[1]
