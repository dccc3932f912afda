"""Decides whether a plain ranker of each reader gets a share of an installation's ranker.

    past slates → nDCG@10 of the scorer to start from and of the plain rankers → blend

A scorer that was trained elsewhere can be worse for an installation than a plain ranker. Where past
slates show this beyond noise, training starts from a blend with that ranker.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from triage.domain.records import F32, I32, I64
from triage.ranking.blend import PLAIN, Blend, Start
from triage.ranking.features import FEATURES
from triage.ranking.lambdamart import initial_margin
from triage.training.evaluation.bootstrap import bootstrap_units, fixed_rng, interval
from triage.training.evaluation.metrics import HeldOut, slate_ndcg
from triage.training.labels import gains

# The rest orders papers for readers without likes, of whom a plain ranker knows nothing.
SHARES = (0.25, 0.5, 0.75, 0.95)
LEVEL = 0.001
FEWEST_SLATES = 8


def choose_start(
    start: Start,
    X: F32,
    relevance: I32,
    group_sizes: Sequence[int],
    subscriber_ids: I64,
) -> Start:
    """Return `start`, or its best blend with a plain ranker that is better beyond noise.

    Args:
        X, relevance, group_sizes: past slates, see `LambdaMartScorer.fit`.
        subscriber_ids: int64 (n_slates,).
    """
    # Equal scores keep the order of rows. That of a digest is the order in which it was read, and a
    # plain ranker that knows nothing must not look good by it.
    X, relevance, subscriber_ids = X[::-1], relevance[::-1], subscriber_ids[::-1]
    sizes = np.asarray(group_sizes, dtype=np.int64)[::-1]
    starts = np.cumsum(sizes) - sizes
    # Without weights for position, which would make it easier to be better than what ordered these.
    held_out = HeldOut(starts, gains(relevance), subscriber_ids)
    margin = initial_margin(start, None, X)
    before = slate_ndcg(margin, held_out)
    if np.isfinite(before).sum() < FEWEST_SLATES:
        return start

    def better(name: str) -> bool:
        plain = slate_ndcg(X[:, FEATURES.index(name)].astype(np.float64), held_out)
        return interval(plain - before, subscriber_ids, fixed_rng(), LEVEL).low > 0

    def quality(blend: Blend) -> float:
        values = slate_ndcg(blend.mix(margin, X), held_out)
        return float(bootstrap_units(values, subscriber_ids).mean())

    blends = [Blend(start, *each) for each in product(filter(better, PLAIN), SHARES)]
    return max(blends, key=quality) if blends else start
