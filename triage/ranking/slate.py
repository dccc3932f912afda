"""From scores to an ordered, varied slate whose every chance is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triage.domain.records import F32, F64, I32, I64, Bools, Placement, Policy
from triage.ranking.exploration import asking_pools, draw, exploration_pool

# How much a score counts against likeness to what is on the slate already (λ of the paper below).
RELEVANCE_SHARE = 0.75
# Variety is looked for among this many times the slate's size, best first.
REACH = 5
SLOTS_PER_EXPLORATION = 10
# Of the slate of a reader of whom nothing is known, one in so many positions asks.
SLOTS_PER_QUESTION = 3


@dataclass(frozen=True, slots=True)
class Aims:
    """What a slate shall hold of each of a reader's interests.

    Attributes:
        nearest: int32 (n,), the interest that each row belongs to, -1 for none.
        shares: float64 (k,), summing to at most 1; rows of an interest with share 0 are not shown.
    """

    nearest: I32
    shares: F64

    def barred(self) -> Bools:
        """Return bool (n,): which rows belong to an interest that rests."""
        resting = np.append(self.shares == 0, False)
        return np.asarray(resting[self.nearest], dtype=np.bool_)


def build_slate(
    scores: F64,
    dense: F32,
    *,
    size: int,
    floor: float,
    n_exploration: int,
    rng: np.random.Generator,
    aims: Aims | None = None,
    asking: bool = False,
) -> tuple[Placement, ...]:
    """Choose and order the papers of one digest.

    Ranked positions come first: papers at or above the floor, the best one on top, each next one by
    maximal marginal relevance, λ·score - (1 - λ)·(largest cosine to those already chosen)
    (Carbonell & Goldstein 1998), with scores divided by the day's best so that λ means the same
    every day. Nothing about them is random: propensity 1. The last positions are exploration
    slots: at most one for every full ten of `size`, so a slate of fewer than ten has none, and a
    day on which nothing reaches the floor has no slate at all.

    Where a reader has several interests, the slate is calibrated to them (Steck 2018): after the
    first position, which is free, each has at least its share of the ranked ones, rounded down, as
    far as its papers reach the floor; what it cannot fill goes to the others. An interest that
    falls behind its share is served next, so shares hold from the top of the slate on.

    The first digests of a reader of whom nothing is known ask: one position in three is drawn from
    a group of papers of its own, far from those of the others. On replayed reading lists that
    costs such readers nothing; for those who wrote a sentence it costs more than it teaches, so
    they are not asked.

    Args:
        scores: float64 (n,) in [0, 1].
        dense: float32 (n, d), rows of unit length or zero.
        size: the most papers to show.
        floor: the least score of a ranked paper; fewer papers is better than bad ones.
        n_exploration: how many exploration slots are wanted.
        rng: the only source of chance; the same state gives the same slate.
        aims: the reader's interests; papers of none of them compete by score alone.
        asking: whether the slate asks, which then takes the place of exploration.

    Returns:
        Placements in order of position, 1 to n without gaps, no row twice.

    Raises:
        ValueError: a score is not finite, or scores and dense differ in length.
    """
    if scores.shape != (len(dense),):
        raise ValueError(f"{len(dense)} vectors but scores of shape {scores.shape}")
    if not np.all(np.isfinite(scores)):
        raise ValueError("a score is not a finite number; the scorer or a feature row is broken")
    if aims is None:
        aims = Aims(np.full(len(scores), -1, dtype=np.int32), np.zeros(0))
    n_drawn = max(0, min(n_exploration, size // SLOTS_PER_EXPLORATION))
    if asking:
        n_drawn = size // SLOTS_PER_QUESTION
    barred = aims.barred()
    rows = _varied(scores, dense, size - n_drawn, floor, aims, ~barred)
    if not rows:
        return ()
    out = {*rows, *np.flatnonzero(barred).tolist()}
    ranked = [(row, 1.0, Policy.RANKED) for row in rows]
    if asking:
        pools = asking_pools(scores, dense, out, floor, n_drawn)
        drawn = [each for pool in pools for each in draw(pool, 1, rng)]
    else:
        pool = exploration_pool(scores, out, floor, aims.nearest >= 0)
        drawn = list(draw(pool, n_drawn, rng))
    explored = [(row, chance, Policy.EXPLORATION) for row, chance in drawn]
    return tuple(
        Placement(row, position, float(scores[row]), chance, policy)
        for position, (row, chance, policy) in enumerate(ranked + explored, start=1)
    )


def _varied(scores: F64, dense: F32, n: int, floor: float, aims: Aims, allowed: Bools) -> list[int]:
    if n < 1:
        return []
    order: I64 = np.argsort(-scores, kind="stable").astype(np.int64)
    order = order[(scores[order] >= floor) & allowed[order]]
    quotas = _Quotas(aims.shares, aims.nearest[order], n)
    order = order[(np.arange(len(order)) < n * REACH) | quotas.in_reach()]
    if not len(order):
        return []
    whose = aims.nearest[order]
    relevance = scores[order] / max(scores[order[0]], 1e-12)
    vectors = dense[order]
    likeness = np.zeros(len(order))
    free = np.ones(len(order), dtype=bool)
    chosen: list[int] = []
    for turn in range(min(n, len(order))):
        worth = RELEVANCE_SHARE * relevance - (1 - RELEVANCE_SHARE) * likeness
        best = int(np.argmax(np.where(free & quotas.may_come(whose, turn), worth, -np.inf)))
        chosen.append(int(order[best]))
        quotas.take(int(whose[best]))
        free[best] = False
        likeness = np.maximum(likeness, vectors @ vectors[best])
    return chosen


class _Quotas:
    """Which interests are due at each turn of filling a slate."""

    def __init__(self, shares: F64, whose: I32, n: int) -> None:
        """Set out to fill n positions from rows of `whose` interests, best first."""
        self._shares = shares if np.count_nonzero(shares) > 1 else np.zeros(len(shares))
        self._whose = whose
        self._n = n
        there = np.bincount(whose[whose >= 0], minlength=len(shares))
        self._wanted = np.minimum(self._by(n - 1), there)
        self._taken = np.zeros(len(shares), dtype=np.int64)

    def _by(self, positions: int) -> I64:
        return np.floor(self._shares * positions + 1e-9).astype(np.int64)

    def in_reach(self) -> Bools:
        """Return which rows are among the best of their interest, as many as variety looks at."""
        reached = np.zeros(len(self._whose), dtype=bool)
        for interest, wanted in enumerate(self._wanted):
            reached[np.flatnonzero(self._whose == interest)[: wanted * REACH]] = True
        return reached

    def may_come(self, whose: I32, turn: int) -> Bools:
        """Return which rows may stand at a turn, counted from 0: all, or those of who is due."""
        owed = np.maximum(self._wanted - self._taken, 0)
        late = np.minimum(self._by(turn), self._wanted) > self._taken
        due = late if late.any() else owed > 0
        if late.any() or owed.sum() >= self._n - turn:
            return np.asarray(np.append(due, False)[whose], dtype=np.bool_)
        return np.ones(len(whose), dtype=bool)

    def take(self, interest: int) -> None:
        if interest >= 0:
            self._taken[interest] += 1
