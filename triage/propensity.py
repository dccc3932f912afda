"""Chances: which paper an exploration slot may show, by which dice, and who looks how far down.

Every exploration slot is drawn uniformly from a declared pool, so each paper of the pool has the
same, known chance to stand there, and what people do with it can be weighed by one over that
chance (Horvitz & Thompson 1952; Bottou et al. 2013). Ranked positions are certain: chance 1.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from triage.records import F32, F64, I32, I64

Bools = NDArray[np.bool_]

POOL_SIZE = 20
# Of the score floor: what scores less, and less than half of the day's papers, is not worth
# anybody's attention, even to learn from.
PLAUSIBLE = 0.25

# Papers whose scores fall in one band are taken to be equally likely to be voted on when read.
MOST_BANDS = 40
SHOWN_PER_BAND = 100
N_STEPS = 500
# The doubt about a place's attention, in shown papers: until many more were shown there, 1 / place.
PRIOR_SHOWN = 100.0


def slate_rng(seed: int, subscriber_id: int, on: date) -> np.random.Generator:
    """Return dice that depend on nothing but the subscriber and date, so order does not matter."""
    return np.random.default_rng([seed, subscriber_id, on.toordinal()])


def exploration_pool(
    scores: F64, taken: Collection[int], floor: float, usual: Bools | None = None
) -> tuple[I64, F64]:
    """Declare what an exploration slot may show: the best-scored papers outside the usual picks.

    Plausible is what scores a quarter of the floor, or as much as half of the day's papers do.

    Args:
        scores: float64 (n,), finite.
        taken: rows that stand on the slate already.
        floor: the slate's score floor.
        usual: bool (n,), what belongs to an interest that the reader is known to have. When
            nothing plausible is outside, the pool is the best that the slate left out.

    Returns:
        int64 (m,) rows, best first, and float64 (m,) chances that sum to 1; m ≤ POOL_SIZE. Both
        are empty when nothing is left.
    """
    left = _plausible(scores, taken, floor)
    outside = left if usual is None else left[~usual[left]]
    rows = (outside if len(outside) else left)[:POOL_SIZE]
    return rows, np.full(len(rows), 1 / max(len(rows), 1))


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


@dataclass(frozen=True, slots=True)
class Attention:
    """How likely people look at a place, and vote on what they look at.

    Attributes:
        by_place: float64 (n_places,), of positions 1, 2, …; the first is 1, none is above the one
            before it. Places further down are taken to be like the last.
        willing: float64 (n,), for each row that it was fitted on, the chance that who looks at it
            votes on it.
    """

    by_place: F64
    willing: F64

    def looked_at(self, positions: I32) -> F64:
        """Return float64 (n,), in (0, 1]."""
        rows = np.minimum(positions, len(self.by_place)) - 1
        return np.asarray(self.by_place[rows], dtype=np.float64)


def attention(positions: I32, scores: F64, voted: Bools) -> Attention:
    """Estimate attention from a log by the position-based model (Chuklin et al. 2015, 3.3).

    A vote takes a look and a will: P(vote) = look(position) · will(paper). Good papers stand high,
    so votes alone cannot tell the two apart; papers of like scores at different places can. The
    will is one number a band of scores, and both are found by expectation maximisation on a table
    of positions and bands (Wang et al. 2018, without the regression). The look starts from, and in
    a small log stays near, one over the position.

    Args:
        positions: int32 (n,), 1-based.
        scores: float64 (n,), those of whatever ordered the slates.
        voted: bool (n,).

    Returns:
        Attention with `willing` float64 (n,); an empty log gives one place.
    """
    if not len(positions):
        return Attention(np.ones(1), np.zeros(0))
    n_bands = int(np.clip(len(positions) // SHOWN_PER_BAND, 1, MOST_BANDS))
    edges = np.quantile(scores, np.linspace(0, 1, n_bands + 1)[1:-1])
    band = np.searchsorted(edges, scores, side="right")
    shape = (int(positions.max()), n_bands)
    cell = np.ravel_multi_index((positions - 1, band), shape)
    shown = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    votes = np.bincount(cell, weights=voted, minlength=shape[0] * shape[1]).reshape(shape)
    prior = 1 / np.arange(1, shape[0] + 1)
    look, will = prior.copy(), np.full(n_bands, 0.5)
    for _ in range(N_STEPS):
        both = np.outer(look, will)
        rest = (shown - votes) / np.maximum(1 - both, 1e-9)
        looked = votes + rest * look[:, None] * (1 - will)
        wanted = votes + rest * (1 - look[:, None]) * will
        seen = (looked.sum(axis=1) + PRIOR_SHOWN * prior) / (shown.sum(axis=1) + PRIOR_SHOWN)
        look = np.minimum.accumulate(seen / seen[0])
        will = (wanted.sum(axis=0) + 1) / (shown.sum(axis=0) + 2)
    return Attention(look, will[band])
