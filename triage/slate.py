"""From scores to an ordered, varied slate whose every chance is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triage.propensity import draw, exploration_pool
from triage.records import F32, F64, Placement, Policy

# How much a score counts against likeness to what is on the slate already (λ of the paper below).
RELEVANCE_SHARE = 0.75
# Variety is looked for among this many times the slate's size, best first.
REACH = 5
SLOTS_PER_EXPLORATION = 10


def build_slate(
    scores: F64,
    dense: F32,
    *,
    size: int,
    floor: float,
    n_exploration: int,
    rng: np.random.Generator,
) -> tuple[Placement, ...]:
    """Choose and order the papers of one digest.

    Ranked positions come first: papers at or above the floor, the best one on top, each next one by
    maximal marginal relevance, λ·score - (1 - λ)·(largest cosine to those already chosen)
    (Carbonell & Goldstein 1998), with scores divided by the day's best so that λ means the same
    every day. Nothing about them is random: propensity 1. The last positions are exploration
    slots: at most one for every full ten of `size`, so a slate of fewer than ten has none, and a
    day on which nothing reaches the floor has no slate at all.

    Args:
        scores: float64 (n,) in [0, 1].
        dense: float32 (n, d), rows of unit length or zero.
        size: the most papers to show.
        floor: the least score of a ranked paper; fewer papers is better than bad ones.
        n_exploration: how many exploration slots are wanted.
        rng: the only source of chance; the same state gives the same slate.

    Returns:
        Placements in order of position, 1 to n without gaps, no row twice.

    Raises:
        ValueError: a score is not finite, or scores and dense differ in length.
    """
    if scores.shape != (len(dense),):
        raise ValueError(f"{len(dense)} vectors but scores of shape {scores.shape}")
    if not np.all(np.isfinite(scores)):
        raise ValueError("a score is not a finite number; the scorer or a feature row is broken")
    n_exploration = max(0, min(n_exploration, size // SLOTS_PER_EXPLORATION))
    rows = _varied(scores, dense, size - n_exploration, floor)
    if not rows:
        return ()
    pool, _ = exploration_pool(scores, rows, floor)
    ranked = [(row, 1.0, Policy.RANKED) for row in rows]
    explored = [(row, chance, Policy.EXPLORATION) for row, chance in draw(pool, n_exploration, rng)]
    return tuple(
        Placement(row, position, float(scores[row]), chance, policy)
        for position, (row, chance, policy) in enumerate(ranked + explored, start=1)
    )


def _varied(scores: F64, dense: F32, n: int, floor: float) -> list[int]:
    if n < 1:
        return []
    order: NDArray[np.int64] = np.argsort(-scores, kind="stable").astype(np.int64)
    order = order[scores[order] >= floor][: n * REACH]
    if not len(order):
        return []
    relevance = scores[order] / max(scores[order[0]], 1e-12)
    vectors = dense[order]
    likeness = np.zeros(len(order))
    free = np.ones(len(order), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(n, len(order))):
        worth = RELEVANCE_SHARE * relevance - (1 - RELEVANCE_SHARE) * likeness
        best = int(np.argmax(np.where(free, worth, -np.inf)))
        chosen.append(int(order[best]))
        free[best] = False
        likeness = np.maximum(likeness, vectors @ vectors[best])
    return chosen
