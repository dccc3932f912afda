"""Chooses and orders the papers of a digest, each with its propensity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triage.domain.records import F32, F64, I32, I64, Bools, Placement, Policy
from triage.ranking.exploration import asking_pools, draw, exploration_pool

# λ of maximal marginal relevance: the weight of the score against the similarity to the slate.
RELEVANCE_SHARE = 0.75
# Only the best papers, this many times the size of the slate, are compared for diversity.
REACH = 5
SLOTS_PER_EXPLORATION = 10
# In the slate of a new subscriber one in so many positions asks for a first vote.
SLOTS_PER_QUESTION = 3


@dataclass(frozen=True, slots=True)
class InterestShares:
    """The part of a slate that each interest of a subscriber gets.

    Attributes:
        nearest: int32 (n,), the interest of each candidate row, -1 for none.
        shares: float64 (k,), sum at most 1; candidates of an interest with share 0 are not shown.
    """

    nearest: I32
    shares: F64

    def find_paused(self) -> Bools:
        """Return bool (n,): which rows belong to a paused interest."""
        paused = np.append(self.shares == 0, False)
        return np.asarray(paused[self.nearest], dtype=np.bool_)


def build_slate(
    scores: F64,
    dense: F32,
    *,
    size: int,
    floor: float,
    n_exploration: int,
    rng: np.random.Generator,
    aims: InterestShares | None = None,
    asking: bool = False,
) -> tuple[Placement, ...]:
    """Choose and order the papers of one digest.

    Ranked positions come first. The best paper at or above the floor is on top; each next one has
    the largest maximal marginal relevance, λ·score - (1 - λ)·(largest cosine to the slate)
    (Carbonell & Goldstein 1998). Scores are divided by the day's best, so that λ means the same
    every day. Their propensity is 1. The last positions are exploration slots, at most one for each
    full ten of `size`. If no paper reaches the floor, the slate is empty.

    With several interests the slate is calibrated (Steck 2018): after the first position each
    interest gets at least its share of the ranked positions, rounded down, as far as its papers
    reach the floor. An interest that falls behind its share gets the next position, so that shares
    hold from the top of the slate on.

    With `asking`, one position in three is drawn from a group of papers far from those of the other
    such positions, to learn what a new subscriber likes. In replays this costs subscribers with an
    empty profile nothing. With an interests text it costs more than it gains.

    Args:
        scores: float64 (n,) in [0, 1].
        dense: float32 (n, d), rows of unit length or zero.
        size: the largest number of papers.
        floor: the lowest score of a ranked paper.
        rng: the only source of randomness; the same state gives the same slate.
        aims: the shares of interests; papers without interest compete by score alone.
        asking: whether to ask; this replaces exploration.

    Returns:
        Placements by position, 1 to n without gaps, no row twice.

    Raises:
        ValueError: a score is not finite, or scores and dense differ in length.
    """
    if scores.shape != (len(dense),):
        raise ValueError(f"{len(dense)} vectors but scores of shape {scores.shape}")
    if not np.all(np.isfinite(scores)):
        raise ValueError("a score is not a finite number; the scorer or a feature row is broken")
    if aims is None:
        aims = InterestShares(np.full(len(scores), -1, dtype=np.int32), np.zeros(0))
    n_drawn = max(0, min(n_exploration, size // SLOTS_PER_EXPLORATION))
    if asking:
        n_drawn = size // SLOTS_PER_QUESTION
    barred = aims.find_paused()
    rows = _diversify(scores, dense, size - n_drawn, floor, aims, ~barred)
    if not rows:
        return ()
    taken = {*rows, *np.flatnonzero(barred).tolist()}
    ranked = [(row, 1.0, Policy.RANKED) for row in rows]
    if asking:
        pools = asking_pools(scores, dense, taken, floor, n_drawn)
        drawn = [each for pool in pools for each in draw(pool, 1, rng)]
    else:
        pool = exploration_pool(scores, taken, floor, aims.nearest >= 0)
        drawn = list(draw(pool, n_drawn, rng))
    explored = [(row, chance, Policy.EXPLORATION) for row, chance in drawn]
    return tuple(
        Placement(row, position, float(scores[row]), chance, policy)
        for position, (row, chance, policy) in enumerate(ranked + explored, start=1)
    )


def _diversify(
    scores: F64, dense: F32, n: int, floor: float, aims: InterestShares, allowed: Bools
) -> list[int]:
    if n < 1:
        return []
    order: I64 = np.argsort(-scores, kind="stable").astype(np.int64)
    order = order[(scores[order] >= floor) & allowed[order]]
    quotas = _Quotas(aims.shares, aims.nearest[order], n)
    order = order[(np.arange(len(order)) < n * REACH) | quotas.in_reach()]
    if not len(order):
        return []
    nearest = aims.nearest[order]
    relevance = scores[order] / max(scores[order[0]], 1e-12)
    vectors = dense[order]
    similarity = np.zeros(len(order))
    free = np.ones(len(order), dtype=bool)
    chosen: list[int] = []
    for turn in range(min(n, len(order))):
        gain = RELEVANCE_SHARE * relevance - (1 - RELEVANCE_SHARE) * similarity
        best = int(np.argmax(np.where(free & quotas.allow(nearest, turn), gain, -np.inf)))
        chosen.append(int(order[best]))
        quotas.take(int(nearest[best]))
        free[best] = False
        similarity = np.maximum(similarity, vectors @ vectors[best])
    return chosen


class _Quotas:
    """Which interests may fill the next ranked position."""

    def __init__(self, shares: F64, nearest: I32, n: int) -> None:
        self._shares = shares if np.count_nonzero(shares) > 1 else np.zeros(len(shares))
        self._nearest = nearest
        self._n = n
        available = np.bincount(nearest[nearest >= 0], minlength=len(shares))
        self._wanted = np.minimum(self._by(n - 1), available)
        self._taken = np.zeros(len(shares), dtype=np.int64)

    def _by(self, positions: int) -> I64:
        return np.floor(self._shares * positions + 1e-9).astype(np.int64)

    def in_reach(self) -> Bools:
        """Return bool (n,): which rows are among the best of their interest, REACH per position."""
        reached = np.zeros(len(self._nearest), dtype=bool)
        for interest, wanted in enumerate(self._wanted):
            reached[np.flatnonzero(self._nearest == interest)[: wanted * REACH]] = True
        return reached

    def allow(self, nearest: I32, turn: int) -> Bools:
        """Return bool (n,): which rows may fill a position, counted from 0."""
        missing = np.maximum(self._wanted - self._taken, 0)
        late = np.minimum(self._by(turn), self._wanted) > self._taken
        due = late if late.any() else missing > 0
        if late.any() or missing.sum() >= self._n - turn:
            return np.asarray(np.append(due, False)[nearest], dtype=np.bool_)
        return np.ones(len(nearest), dtype=bool)

    def take(self, interest: int) -> None:
        if interest >= 0:
            self._taken[interest] += 1
