"""Known chances: which paper an exploration slot may show, how likely, and by which dice.

Every exploration slot is drawn uniformly from a declared pool, so each paper of the pool has the
same, known chance to stand there, and what people do with it can be weighed by one over that
chance (Horvitz & Thompson 1952; Bottou et al. 2013). Ranked positions are certain: chance 1.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import numpy as np
from numpy.typing import NDArray

from triage.records import F64

I64 = NDArray[np.int64]

POOL_SIZE = 20
# Of the score floor: what scores less is not worth anybody's attention, even to learn from.
PLAUSIBLE = 0.25


def slate_rng(seed: int, subscriber_id: int, on: date) -> np.random.Generator:
    """Return dice that depend on nothing but the subscriber and date, so order does not matter."""
    return np.random.default_rng([seed, subscriber_id, on.toordinal()])


def exploration_pool(scores: F64, taken: Collection[int], floor: float) -> tuple[I64, F64]:
    """Declare what an exploration slot may show: the best-scored papers that the slate left out.

    Args:
        scores: float64 (n,), finite.
        taken: rows that stand on the slate already.
        floor: the slate's score floor; a quarter of it is enough here.

    Returns:
        int64 (m,) rows, best first, and float64 (m,) chances that sum to 1; m ≤ POOL_SIZE. Both
        are empty when nothing is left.
    """
    order = np.argsort(-scores, kind="stable")
    left = ~np.isin(order, np.fromiter(taken, dtype=np.int64, count=len(taken)))
    rows = order[left & (scores[order] >= floor * PLAUSIBLE)][:POOL_SIZE].astype(np.int64)
    return rows, np.full(len(rows), 1 / max(len(rows), 1))


def draw(rows: I64, n: int, rng: np.random.Generator) -> tuple[tuple[int, float], ...]:
    """Draw at most `n` different rows and say how likely each was to come at its turn.

    Uniform drawing without putting back: by symmetry each row of m has the chance 1/m at every
    turn, so that is the propensity whatever came before.
    """
    if not len(rows):
        return ()
    chosen = rng.permutation(rows)[: max(n, 0)]
    return tuple((int(row), 1 / len(rows)) for row in chosen)
