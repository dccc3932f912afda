"""What feedback adds to a fixed margin: how much more each feature is worth, by what is known.

    worth of a feature = what it is worth for everybody
                       + for whom few likes are known  · 1 / (1 + likes)
                       + for whom many are known       · log(1 + likes)
                       + for who wrote what they want

Many features say nearly the same, and a sum of them says it better than any. Trees that ask one
question at a time need very many of them for a sum, so they are left what a sum cannot say.

It is fitted as ListNet is (Cao et al. 2007, its top-one case): what was liked shall be likely among
all papers of its slate, whose chances are the softmax of their margins. So the few papers that come
near to what was liked count, and not the many that are far from it anyway. Worths are drawn to
zero, that is to the fixed margin, by a penalty that falls with the number of slates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from triage.domain.records import F32, F64, I32, I64
from triage.ranking.features import FEATURES

N_CONTEXTS = 4
MOST_ROWS = 200_000
# Fewer slates than these would be learned by heart.
FEWEST_SLATES = 150
# Of the squared worths, beside the loss of all slates.
PENALTY = 10.0
MOST_ITERATIONS = 150
MANY_LIKES_LOG1P = 5.0
# A feature that a log hardly knows must not decide alone.
FARTHEST = 4.0
LEAST_SPREAD = 1e-6

_PARTS = ("worth", "mean", "spread")
_LIKES, _INTERESTS = FEATURES.index("n_likes_log1p"), FEATURES.index("has_interests")
# The same for all papers of a slate: they order nothing.
_OF_THE_READER = [FEATURES.index(name) for name in ("n_likes_log1p", "n_phrases", "has_interests")]


@dataclass(frozen=True, slots=True)
class Formula:
    """What a fit learns.

    Attributes:
        worth: float64 (N_CONTEXTS, n_features).
        mean, spread: float64 (n_features,), of the rows that it was learned from; a feature that
            was the same in all of them has the spread 0 and adds nothing.
    """

    worth: F64
    mean: F64
    spread: F64

    def bounded(self, X: F32) -> F32:
        """Return rows of which no feature is farther from its mean than any can count."""
        far = np.where(self.spread > 0, FARTHEST * self.spread, np.inf)
        low, high = (self.mean - far).astype(np.float32), (self.mean + far).astype(np.float32)
        return np.asarray(np.clip(X, low, high), dtype=np.float32)

    def margin(self, X: F32) -> F64:
        """Return float64 (n,): what is added to the fixed margin of each row."""
        by_context = self._standard(X) @ self.worth.T
        return np.asarray((by_context * _contexts(X)).sum(axis=1), dtype=np.float64)

    def contributions(self, X: F32) -> F64:
        """Return float64 (n, n_features): each feature's summand, against a usual paper's."""
        return np.asarray(self._standard(X) * (_contexts(X) @ self.worth), dtype=np.float64)

    def facts(self) -> Mapping[str, object]:
        """Return JSON values that `from_facts` makes the same formula of."""
        return {name: getattr(self, name).tolist() for name in _PARTS}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Formula:
        """Return the formula of what `facts` returned.

        Raises:
            KeyError, TypeError, ValueError: it is not of that form.
        """
        parts = {name: np.array(facts[name], np.float64) for name in _PARTS}
        n = len(FEATURES)
        if [part.shape for part in parts.values()] != [(N_CONTEXTS, n), (n,), (n,)]:
            raise ValueError("a formula for other features")
        return cls(**parts)

    def _standard(self, X: F32) -> F64:
        spread, none = self.spread, np.zeros_like(self.spread)
        stretch = np.divide(1.0, spread, out=none, where=spread > 0)
        return np.clip((X - self.mean) * stretch, -FARTHEST, FARTHEST)


def fit_linear_scorer(
    X: F32,
    fixed: Callable[[F32], F64],
    relevance: I32,
    group_sizes: Sequence[int],
    weights: F32,
    seed: int = 0,
) -> Formula | None:
    """Learn what features are worth from logged slates; the same data and seed give the same.

    Args:
        X: float32 (n, n_features), rows of one query group next to each other.
        fixed: gives float64 (n,), the margin that the formula is added to, of bounded rows.
        relevance: int32 (n,); what is above the least of its slate was liked.
        group_sizes: how many rows each query group has, in order; they sum to n.
        weights: float32 (n,), above 0; those of what was liked count. The likes of one slate count
            together as the root of their number.

    Returns:
        None where fewer than FEWEST_SLATES slates hold both liked and other papers.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    rows, sizes = _telling(relevance, np.asarray(group_sizes, dtype=np.int64), seed)
    if len(sizes) < FEWEST_SLATES:
        return None
    mean, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    spread[spread < LEAST_SPREAD] = 0
    spread[_OF_THE_READER] = 0
    blank = Formula(np.zeros((N_CONTEXTS, X.shape[1])), mean, spread)
    likelihood = _Likelihood(
        blank._standard(X[rows]),
        _contexts(X[rows]),
        fixed(blank.bounded(X[rows])),
        relevance[rows],
        sizes,
        weights[rows],
    )
    # The number of threads decides how sums are split, and so the last bits.
    with threadpool_limits(1):
        found = minimize(
            likelihood.loss,
            blank.worth.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MOST_ITERATIONS},
        )
    return Formula(found.x.reshape(blank.worth.shape), mean, spread)


class _Likelihood:
    """How unlikely the likes are, by what features are worth."""

    def __init__(
        self, rows: F64, contexts: F64, fixed: F64, relevance: I32, sizes: I64, weights: F32
    ) -> None:
        self._rows = rows
        self._contexts = contexts
        self._fixed = fixed
        self._penalty = PENALTY / len(sizes)
        self._starts = np.cumsum(sizes) - sizes
        self._slate = np.repeat(np.arange(len(sizes)), sizes)
        liked = relevance > np.minimum.reduceat(relevance, self._starts)[self._slate]
        n_liked = np.add.reduceat(liked, self._starts, dtype=np.float64)
        shares = np.where(liked, weights / np.sqrt(n_liked[self._slate]), 0.0)
        self._shares = shares / shares.sum()
        self._shares_of_slates = np.add.reduceat(self._shares, self._starts)

    def loss(self, worth: F64) -> tuple[float, F64]:
        """Return the mean loss of all likes with its penalty, and its slope."""
        by_context = worth.reshape(N_CONTEXTS, -1)
        margin = self._fixed + ((self._rows @ by_context.T) * self._contexts).sum(axis=1)
        margin -= np.maximum.reduceat(margin, self._starts)[self._slate]
        odds = np.exp(margin)
        totals = np.add.reduceat(odds, self._starts)
        loss = self._shares_of_slates @ np.log(totals) - self._shares @ margin
        pull = odds * (self._shares_of_slates / totals)[self._slate] - self._shares
        slope = (self._contexts * pull[:, np.newaxis]).T @ self._rows
        penalty = self._penalty
        return float(loss + penalty / 2 * worth @ worth), slope.ravel() + penalty * worth


def _telling(relevance: I32, sizes: I64, seed: int) -> tuple[I64, I64]:
    """Return the rows of slates that hold both liked and other papers, and the slates' sizes.

    Of very many slates some are drawn.
    """
    starts, sizes = (np.cumsum(sizes) - sizes)[sizes > 0], sizes[sizes > 0]
    if not len(sizes):
        return np.zeros(0, dtype=np.int64), sizes
    tells = np.maximum.reduceat(relevance, starts) > np.minimum.reduceat(relevance, starts)
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(tells))
    chosen = np.sort(chosen[np.cumsum(sizes[chosen]) <= MOST_ROWS])
    rows = [np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *(rows[i] for i in chosen)]), sizes[chosen]


def _contexts(X: F32) -> F64:
    likes = X[:, _LIKES].astype(np.float64)
    many = np.minimum(likes, MANY_LIKES_LOG1P) / MANY_LIKES_LOG1P
    return np.stack([np.ones(len(X)), np.exp(-likes), many, X[:, _INTERESTS]], axis=1)
