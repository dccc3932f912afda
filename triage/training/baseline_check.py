"""Scores a sample of the test slates with the baselines, for the model card.

    a sample of later slates → likes before each → the baselines' scores of its papers

Baselines are slow to fit, so only a few slates of some subscribers are used, with a part of the
papers as negatives. A baseline cannot be promoted, but the model card shows when one is better.
Each fit has its own random generator, see `PastBaselines`.
"""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import numpy as np

from triage import store
from triage.domain.digest_calendar import digest_at
from triage.domain.records import F64, I64, LIKES, Paper, Subscriber
from triage.store import Connection
from triage.store.training_log import TrainingLog
from triage.training.evaluation.baselines import NAMES, PastBaselines

MOST_SUBSCRIBERS = 12
MOST_SLATES_EACH = 2
MOST_PAPERS = 5_000
WINDOW_DAYS = 60


def sample_rows(log: TrainingLog, rng: np.random.Generator) -> I64:
    """Return the rows, in order, of some slates of some subscribers; none for an empty log."""
    subscriber_ids = np.unique(log.subscriber_ids)
    n_subscribers = min(MOST_SUBSCRIBERS, len(subscriber_ids))
    slates: list[int] = []
    for subscriber_id in rng.choice(subscriber_ids, n_subscribers, replace=False):
        own = np.unique(log.slate_ids[log.subscriber_ids == subscriber_id])
        slates += rng.choice(own, min(MOST_SLATES_EACH, len(own)), replace=False).tolist()
    return np.flatnonzero(np.isin(log.slate_ids, slates))


def baseline_scores(conn: Connection, log: TrainingLog) -> dict[str, F64]:
    """Return each baseline's scores of the log's rows, float64 (n,), from what was known then.

    Args:
        log: at least one row, days in order.
    """
    starts = np.flatnonzero(np.diff(log.slate_ids, prepend=-1))
    days = [date.fromordinal(int(day)) for day in log.days[starts]]
    readable = {each.id: each for each in store.subscribers.everyone(conn)}
    subscribers = [readable.get(int(id)) for id in log.subscriber_ids[starts]]
    liked = [_liked(conn, each, on) for each, on in zip(subscribers, days, strict=True)]
    papers = _load_papers(conn, log, liked, min(days), max(days))
    baselines = PastBaselines(papers, min(days))
    scores = {name: np.zeros(len(log)) for name in NAMES}
    slates = [slice(*ends) for ends in pairwise([*starts.tolist(), len(log)])]
    for slate, subscriber, likes, on in zip(slates, subscribers, liked, days, strict=True):
        if subscriber is not None:
            ids = log.paper_ids[slate].tolist()
            for name in NAMES:
                scores[name][slate] = baselines.scores(name, subscriber, likes, on, ids)
    return scores


def _liked(conn: Connection, subscriber: Subscriber | None, on: date) -> list[int]:
    """Return the ids of the papers that a subscriber had liked before a day, newest first."""
    if subscriber is None:
        return []
    votes = store.events.votes(conn, subscriber.id, digest_at(on, 0, subscriber.zone))
    return [vote.paper_id for vote in votes if vote.kind in LIKES]


def _load_papers(
    conn: Connection, log: TrainingLog, liked: list[list[int]], first: date, last: date
) -> list[Paper]:
    """Return the shown and liked papers, and the newest others, in listing order."""
    wanted = {int(id) for id in log.paper_ids} | {id for ids in liked for id in ids}
    recent = store.papers.listed_between(conn, first - timedelta(days=WINDOW_DAYS), last)
    recent.sort(key=lambda paper: (paper.listed_on, paper.id))
    papers = {paper.id: paper for paper in recent[-MOST_PAPERS:]}
    papers |= store.papers.load(conn, sorted(wanted - papers.keys()))
    return sorted(papers.values(), key=lambda paper: (paper.listed_on, paper.id))
