"""Chances: which paper an exploration slot may show, by which dice, and who looks how far down.

Every exploration slot is drawn uniformly from a declared pool, so each paper of the pool has the
same, known chance to stand there, and what people do with it can be weighed by one over that
chance (Horvitz & Thompson 1952; Bottou et al. 2013). Ranked positions are certain: chance 1.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import numpy as np

from triage.domain.records import F32, F64, I64, Bools

POOL_SIZE = 20
# Of the score floor: what scores less, and less than half of the day's papers, is not worth
# anybody's attention, even to learn from.
PLAUSIBLE = 0.25


def slate_rng(seed: int, subscriber_id: int, on: date) -> np.random.Generator:
    """Return dice that depend on nothing but the subscriber and date, so order does not matter."""
    return np.random.default_rng([seed, subscriber_id, on.toordinal()])


def exploration_pool(
    scores: F64, taken: Collection[int], floor: float, usual: Bools | None = None
) -> I64:
    """Declare what an exploration slot may show: the best-scored papers outside the usual picks.

    Plausible is what scores a quarter of the floor, or as much as half of the day's papers do.

    Args:
        scores: float64 (n,), finite.
        taken: rows that stand on the slate already.
        floor: the slate's score floor.
        usual: bool (n,), what belongs to an interest that the reader is known to have. When
            nothing plausible is outside, the pool is the best that the slate left out.

    Returns:
        int64 (m,) rows, best first, m ≤ POOL_SIZE; none when nothing is left.
    """
    left = _plausible(scores, taken, floor)
    outside = left if usual is None else left[~usual[left]]
    return (outside if len(outside) else left)[:POOL_SIZE]


def asking_pools(
    scores: F64, dense: F32, taken: Collection[int], floor: float, n: int
) -> tuple[I64, ...]:
    """Declare what each of `n` slots may show that ask a reader of whom nothing is known.

    All that is plausible, parted into groups as far from each other as can be: each next group
    grows around the paper that is farthest from all centres so far (Gonzalez 1985), so whatever
    the answers are, they tell much.

    Args:
        scores, taken, floor: as for `exploration_pool`.
        dense: float32 (n_rows, d), rows of unit length or zero.

    Returns:
        At most `n` groups, none of them empty, no row in two of them.
    """
    rows = _plausible(scores, taken, floor)
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


def _plausible(scores: F64, taken: Collection[int], floor: float) -> I64:
    """Return int64 (m,) rows, best first."""
    order: I64 = np.argsort(-scores, kind="stable").astype(np.int64)
    left = ~np.isin(order, np.fromiter(taken, dtype=np.int64, count=len(taken)))
    if len(order):
        left &= scores[order] >= min(floor * PLAUSIBLE, float(np.median(scores)))
    return order[left]


def draw(rows: I64, n: int, rng: np.random.Generator) -> tuple[tuple[int, float], ...]:
    """Draw at most `n` different rows and say how likely each was to come at its turn.

    Uniform drawing without putting back: by symmetry each row of m has the chance 1/m at every
    turn, so that is the propensity whatever came before.
    """
    if not len(rows):
        return ()
    chosen = rng.permutation(rows)[: max(n, 0)]
    return tuple((int(row), 1 / len(rows)) for row in chosen)
