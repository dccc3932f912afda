"""Training data and tests from likes outside of digests, such as an imported library.

    imported likes + stored papers → History → query groups of past days, for training
                                             → later past days, for the promotion test

A library rarely says when a paper was liked. So a like gets the listing day of its paper, when a
digest would have offered it. Upvotes are not used, because only their newest count is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time

import numpy as np

from triage import store
from triage.domain.protocols import Encoder, Scorer
from triage.domain.records import F64, RELEVANCE, EventKind
from triage.ranking.features import split_phrases
from triage.ranking.serving.ranker import load_library
from triage.ranking.serving.user_model_cache import FARTHEST_EAST
from triage.store import Connection
from triage.training.dataset import Examples, History, LikeHistory
from triage.training.evaluation.metrics import HeldOut, slate_ndcg
from triage.training.past_days import Likes

MOST_PAPERS = 60_000
MOST_DAYS = 300
MOST_JUDGED = 100
# The total weight of all past days is at most that of this many shown papers, 2,000 digests.
HEAVIEST = 20_000.0
SEED = 0


def load_imported_likes(conn: Connection, encoder: Encoder, until: date) -> History:
    """Return the papers that were listed, and liked outside of digests, before a day."""
    before = datetime.combine(until, time(), UTC) - FARTHEST_EAST
    liked = store.events.liked(conn, before, elsewhere=True)
    newest = store.papers.newest_before(conn, until, MOST_PAPERS) if liked else []
    papers = [replace(paper, upvotes=None) for paper in newest]
    library = load_library(conn, encoder, papers)
    rows = {paper.id: row for row, paper in enumerate(library.papers)}
    subscribers = {each.id: each for each in store.subscribers.everyone(conn)}
    readers = []
    for subscriber_id, ids in sorted(liked.items()):
        own = sorted(rows[id] for id in ids if id in rows)
        # Likes of a subscriber whose row cannot be read are left out.
        if own and subscriber_id in subscribers:
            days = [library.papers[row].listed_on.toordinal() for row in own]
            likes = Likes(np.array(own, dtype=np.int64), np.array(days, dtype=np.int64))
            subscriber = subscribers[subscriber_id]
            wanted = split_phrases(subscriber.interests)
            readers.append(LikeHistory(subscriber, wanted, encoder.encode(wanted), likes))
    return History(library, readers, encoder.since)


def like_days(history: History) -> list[int]:
    """Return the ordinal days, ascending, with a like, from `history.since` on."""
    days = {int(day) for each in history.readers for day in each.likes.days}
    return sorted(day for day in days if day >= history.since.toordinal())


def make_examples(history: History, until: date, scorer: Scorer) -> Examples:
    """Make query groups of past days before a day; empty without likes."""
    first = history.papers.papers[0].listed_on if len(history.papers) else until
    return as_votes(history.examples(first, until, MOST_DAYS, scorer, np.random.default_rng(SEED)))


def as_votes(made: Examples) -> Examples:
    """Return past days for training beside digests: a like is worth an upvote.

    Their total weight is at most HEAVIEST, so many votes on digests count more.
    """
    total = float(made.weights.sum())
    return replace(
        made,
        relevance=made.relevance * np.int32(RELEVANCE[EventKind.VOTE_UP]),
        weights=(made.weights * min(1.0, HEAVIEST / max(total, 1e-9))).astype(np.float32),
    )


def rank_past_days(
    history: History, first: date, until: date, scorers: Mapping[str, Scorer]
) -> tuple[dict[str, F64], HeldOut]:
    """Rank the same past days by each scorer.

    Returns:
        Each scorer's nDCG@10 of every past day, as `slate_ndcg`, and the days.
    """
    days = history.days(first, until, MOST_JUDGED, np.random.default_rng(SEED))
    scores: dict[str, list[F64]] = {name: [np.zeros(0)] for name in scorers}
    for X in history.feature_matrices(days):
        for name, scorer in scorers.items():
            scores[name].append(scorer.score(X))
    sizes = np.array([len(day.relevance) for day in days], dtype=np.int64)
    held_out = HeldOut(
        starts=np.cumsum(sizes) - sizes,
        worth=np.concatenate([np.zeros(0), *(day.relevance.astype(np.float64) for day in days)]),
        subscriber_ids=np.array(
            [history.readers[day.subscriber].subscriber.id for day in days], dtype=np.int64
        ),
    )
    values = {name: slate_ndcg(np.concatenate(each), held_out) for name, each in scores.items()}
    return values, held_out
