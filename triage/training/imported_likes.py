"""Likes that no digest asked for, an imported library say: what they teach, and whom they favour.

    imported likes + stored papers → History → query groups of past days, to learn from
                                             → later past days, to judge by

A library says what was liked and rarely when, so a like counts as one of the day on which its paper
was listed: a digest would have offered it then. Upvotes are left out, because only their newest
count is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

import numpy as np

from triage import store
from triage.domain.protocols import Encoder, Scorer
from triage.domain.records import F64, I64, RELEVANCE, EncodedPapers, EventKind, Subscriber
from triage.ranking.features import phrases
from triage.ranking.serving.ranker import load_library
from triage.ranking.serving.user_model_cache import FARTHEST_EAST
from triage.training.dataset import Examples, History, Reader
from triage.training.evaluation.metrics import HeldOut, slate_ndcg
from triage.training.past_days import Likes

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_PAPERS = 60_000
MOST_DAYS = 300
MOST_JUDGED = 100
# All past days together weigh at most as much as so many shown papers: two thousand digests.
HEAVIEST = 20_000.0
SEED = 0


def imported(conn: Connection, encoder: Encoder, until: date) -> History:
    """Return what was listed, and liked outside of digests, before a day.

    Args:
        until: papers of that day or later do not exist yet, nor do votes.
    """
    papers = [
        replace(paper, upvotes=None)
        for paper in store.papers.newest_before(conn, until, MOST_PAPERS)
    ]
    before = datetime.combine(until, time(), UTC) - FARTHEST_EAST
    liked = store.events.liked(conn, before, elsewhere=True)
    if not liked:
        papers = []
    library = load_library(conn, encoder, papers)
    rows = {paper.id: row for row, paper in enumerate(library.papers)}
    people = {each.id: each for each in store.subscribers.everyone(conn)}
    readers = []
    for who, ids in sorted(liked.items()):
        own = sorted(rows[id] for id in ids if id in rows)
        if own:
            readers.append(_reader(people[who], np.array(own, dtype=np.int64), library, encoder))
    return History(library, readers, encoder.since)


def like_days(history: History) -> list[int]:
    """Return the days, as ordinals, of which anybody liked a paper and that can teach or judge."""
    days = np.concatenate(
        [np.zeros(0, dtype=np.int64), *(each.likes.days for each in history.readers)]
    )
    return [int(day) for day in np.unique(days[days >= history.since.toordinal()])]


def taught_by(history: History, until: date, scorer: Scorer) -> Examples:
    """Make query groups of past days before a day, none where there are no likes to learn from.

    They weigh together no more than HEAVIEST: with many votes on digests, those rule.
    """
    first = history.papers.papers[0].listed_on if len(history.papers) else until
    made = history.examples(first, until, MOST_DAYS, scorer, np.random.default_rng(SEED))
    total = float(made.weights.sum())
    return replace(
        made,
        relevance=made.relevance * np.int32(RELEVANCE[EventKind.VOTE_UP]),
        weights=(made.weights * min(1.0, HEAVIEST / max(total, 1e-9))).astype(np.float32),
    )


def judged(
    history: History, first: date, until: date, scorers: Mapping[str, Scorer]
) -> tuple[dict[str, F64], HeldOut]:
    """Let scorers rank past days: all of them the same papers, knowing the same.

    Returns:
        Each scorer's nDCG@10 of every past day, as `gate.slate_ndcg`, and the days.
    """
    days = history.days(first, until, MOST_JUDGED, np.random.default_rng(SEED))
    scores: dict[str, list[F64]] = {name: [np.zeros(0)] for name in scorers}
    for X in history.described(days):
        for name, scorer in scorers.items():
            scores[name].append(scorer.score(X))
    sizes = np.array([len(day.relevance) for day in days], dtype=np.int64)
    held_out = HeldOut(
        starts=np.cumsum(sizes) - sizes,
        worth=np.concatenate([np.zeros(0), *(day.relevance.astype(np.float64) for day in days)]),
        subscriber_ids=np.array(
            [history.readers[day.reader].subscriber.id for day in days], dtype=np.int64
        ),
    )
    values = {name: slate_ndcg(np.concatenate(each), held_out) for name, each in scores.items()}
    return values, held_out


def _reader(subscriber: Subscriber, own: I64, papers: EncodedPapers, encoder: Encoder) -> Reader:
    wanted = phrases(subscriber.interests)
    days = [papers.papers[row].listed_on.toordinal() for row in own]
    return Reader(
        subscriber, wanted, encoder.encode(wanted), Likes(own, np.array(days, dtype=np.int64))
    )
