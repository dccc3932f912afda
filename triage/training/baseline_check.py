"""How the peers' rankers would have ordered the slates that judge a newly trained one.

    a sample of later slates → what was liked before each → the peers' scores of its papers

Fitting the peers costs far more than they are worth to a nightly run, so a few slates of some
subscribers, before a part of the literature, must do. They are told on the model card: nobody can
promote a peer, but an operator should see when one would serve people better.
"""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from triage import store
from triage.domain.digest_calendar import digest_at
from triage.domain.records import F64, I64, LIKES, Paper, Subscriber
from triage.store.slates import TrainingLog
from triage.training.evaluation.baselines import NAMES, PastBaselines

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_SUBSCRIBERS = 12
MOST_SLATES_EACH = 2
MOST_PAPERS = 5_000
WINDOW_DAYS = 60


def sampled(log: TrainingLog, rng: np.random.Generator) -> I64:
    """Return the rows, in order, of some slates of some subscribers; none for an empty log."""
    who = np.unique(log.subscriber_ids)
    chosen = rng.choice(who, min(MOST_SUBSCRIBERS, len(who)), replace=False)
    slates: list[int] = []
    for subscriber_id in chosen:
        theirs = np.unique(log.slate_ids[log.subscriber_ids == subscriber_id])
        slates += rng.choice(theirs, min(MOST_SLATES_EACH, len(theirs)), replace=False).tolist()
    return np.flatnonzero(np.isin(log.slate_ids, slates))


def peer_scores(conn: Connection, log: TrainingLog) -> dict[str, F64]:
    """Return float64 (n,) for each peer: its scores of the log's rows, from what was known then.

    Args:
        log: at least one row.
    """
    starts = np.flatnonzero(np.diff(log.slate_ids, prepend=-1))
    days = [date.fromordinal(int(day)) for day in log.days[starts]]
    readers = [store.subscribers.by_id(conn, int(id)) for id in log.subscriber_ids[starts]]
    liked = [_liked(conn, who, on) for who, on in zip(readers, days, strict=True)]
    papers = _literature(conn, log, liked, min(days), max(days))
    peers = PastBaselines(papers, min(days))
    found = {name: np.zeros(len(log)) for name in NAMES}
    slates = [slice(*ends) for ends in pairwise([*starts.tolist(), len(log)])]
    for slate, who, likes, on in zip(slates, readers, liked, days, strict=True):
        for name, scores in found.items():
            if who is not None:
                ids = log.paper_ids[slate].tolist()
                scores[slate] = peers.scores(name, who, likes, on, ids)
    return found


def _liked(conn: Connection, subscriber: Subscriber | None, on: date) -> list[int]:
    """Return what a subscriber had liked before a day's digest, newest first."""
    if subscriber is None:
        return []
    votes = store.events.votes(conn, subscriber.id, digest_at(on, 0, subscriber.zone))
    return [vote.paper_id for vote in votes if vote.kind in LIKES]


def _literature(
    conn: Connection, log: TrainingLog, liked: list[list[int]], first: date, last: date
) -> list[Paper]:
    """Return what was shown and liked, and of the rest the newest, in order of listing."""
    wanted = {int(id) for id in log.paper_ids} | {id for ids in liked for id in ids}
    recent = store.papers.listed_between(conn, first - timedelta(days=WINDOW_DAYS), last)
    recent.sort(key=lambda paper: (paper.listed_on, paper.id))
    papers = {paper.id: paper for paper in recent[-MOST_PAPERS:]}
    papers |= store.papers.load(conn, sorted(wanted - papers.keys()))
    return sorted(papers.values(), key=lambda paper: (paper.listed_on, paper.id))
