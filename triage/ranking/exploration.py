"""Draws the exploration papers of a slate at random, with known probabilities.

Each exploration slot is drawn uniformly from a declared pool, so every paper of the pool has the
same propensity. Feedback on it can then be weighted by one over the propensity (Horvitz & Thompson
1952; Bottou et al. 2013). Ranked positions are not random; their propensity is 1.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import numpy as np

from triage.domain.records import F32, F64, I64, Bools

POOL_SIZE = 20
# A share of the score floor. A paper below it, and below the median score of the day, is too bad to
# be shown, even for exploration.
PLAUSIBLE = 0.25


def slate_rng(seed: int, subscriber_id: int, on: date) -> np.random.Generator:
    """Return a generator that depends only on seed, subscriber and date, not on call order."""
    return np.random.default_rng([seed, subscriber_id, on.toordinal()])


def exploration_pool(
    scores: F64, taken: Collection[int], floor: float, usual: Bools | None = None
) -> I64:
    """Return int64 (m,), m ≤ POOL_SIZE: the best rows outside of the usual topics, best first.

    A row must score PLAUSIBLE times the floor, or at least the median of the day.

    Args:
        scores: float64 (n,), finite.
        taken: rows that are on the slate already.
        floor: the slate's score floor.
        usual: bool (n,), rows of the subscriber's known interests. If no other row is good enough,
            the pool is the best rows that are not on the slate.
    """
    candidates = _good_enough(scores, taken, floor)
    outside = candidates if usual is None else candidates[~usual[candidates]]
    return (outside if len(outside) else candidates)[:POOL_SIZE]


def asking_pools(
    scores: F64, dense: F32, taken: Collection[int], floor: float, n: int
) -> tuple[I64, ...]:
    """Return the pools of at most `n` slots that ask a new subscriber for votes; none is empty.

    Each good enough row is in one pool. The pools are far from each other: the centre of the next
    one is the paper farthest from all centres so far (Gonzalez 1985), so every answer is
    informative. `dense` is float32 (n_rows, d), rows of unit length or zero.
    """
    rows = _good_enough(scores, taken, floor)
    if not len(rows) or n < 1:
        return ()
    vectors = dense[rows]
    cosines = (vectors @ vectors[0])[:, None]
    while cosines.shape[1] < min(n, len(rows)):
        farthest = int(np.argmin(cosines.max(axis=1)))
        cosines = np.column_stack([cosines, vectors @ vectors[farthest]])
    nearest = cosines.argmax(axis=1)
    groups = (rows[nearest == group] for group in range(cosines.shape[1]))
    return tuple(group for group in groups if len(group))


def _good_enough(scores: F64, taken: Collection[int], floor: float) -> I64:
    """Return int64 (m,) rows, best first."""
    order: I64 = np.argsort(-scores, kind="stable").astype(np.int64)
    left = ~np.isin(order, np.fromiter(taken, dtype=np.int64, count=len(taken)))
    if len(order):
        left &= scores[order] >= min(floor * PLAUSIBLE, float(np.median(scores)))
    return order[left]


def draw(rows: I64, n: int, rng: np.random.Generator) -> tuple[tuple[int, float], ...]:
    """Draw at most `n` different rows; return each with its propensity.

    Rows are drawn uniformly without replacement: by symmetry each of the m rows has the probability
    1/m at each position.
    """
    if not len(rows):
        return ()
    chosen = rng.permutation(rows)[: max(n, 0)]
    return tuple((int(row), 1 / len(rows)) for row in chosen)
