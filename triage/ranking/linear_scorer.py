"""Fits a linear model on feature rows with ListNet, as a correction to a fixed margin.

Each standardized feature has four weights. The margin that is added to the fixed one is

    sum over features of  feature · (w0 + w1 / (1 + likes) + w2 · log(1 + likes) + w3 · has_text)

with log(1 + likes) scaled to [0, 1]. Many features are nearly equal, and a sum of them is better
than each one. Trees need very many splits for a sum, so they are fitted on top of this model.

The loss is ListNet's top-one cross entropy (Cao et al. 2007): the softmax of the margins within a
slate should give liked papers a high probability. So papers with scores near the liked ones
matter, and papers far below them do not. An L2 penalty, smaller with more slates, draws the weights
to those of a prior, by default zero, that is to the fixed margin.
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
# Fewer slates would be overfitted.
FEWEST_SLATES = 300
# The weight of the L2 penalty against the summed loss of all slates.
PENALTY = 10.0
MOST_ITERATIONS = 150
MANY_LIKES_LOG1P = 5.0
# Standardized features are clipped here: a rarely varied feature must not decide alone.
FARTHEST = 4.0
LEAST_SPREAD = 1e-6

_PARTS = ("worth", "mean", "spread")
_LIKES, _INTERESTS = FEATURES.index("n_likes_log1p"), FEATURES.index("has_interests")
# These are equal for all papers of a slate, so they cannot change the order.
_OF_THE_SUBSCRIBER = [
    FEATURES.index(name) for name in ("n_likes_log1p", "n_phrases", "has_interests")
]


@dataclass(frozen=True, slots=True)
class LinearModel:
    """The fitted linear model.

    Attributes:
        worth: float64 (N_CONTEXTS, n_features), the weights.
        mean, spread: float64 (n_features,), means and standard deviations of the training rows; a
            feature that was constant has spread 0 and adds nothing.
    """

    worth: F64
    mean: F64
    spread: F64

    def bounded(self, X: F32) -> F32:
        """Return X with each feature clipped to FARTHEST standard deviations from its mean."""
        far = np.where(self.spread > 0, FARTHEST * self.spread, np.inf)
        low, high = (self.mean - far).astype(np.float32), (self.mean + far).astype(np.float32)
        return np.asarray(np.clip(X, low, high), dtype=np.float32)

    def margin(self, X: F32) -> F64:
        """Return float64 (n,), to be added to the fixed margin."""
        by_context = self._standard(X) @ self.worth.T
        return np.asarray((by_context * _contexts(X)).sum(axis=1), dtype=np.float64)

    def contributions(self, X: F32) -> F64:
        """Return float64 (n, n_features): the part of the margin that each feature adds."""
        return np.asarray(self._standard(X) * (_contexts(X) @ self.worth), dtype=np.float64)

    def slopes(self) -> F64:
        """Return float64 (N_CONTEXTS, n_features): the weights of features, not standardized."""
        none = np.zeros_like(self.worth)
        return np.divide(self.worth, self.spread, out=none, where=self.spread > 0)

    def facts(self) -> Mapping[str, object]:
        """Return JSON values for `from_facts`."""
        return {name: getattr(self, name).tolist() for name in _PARTS}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> LinearModel:
        """Return the model that `facts` describes.

        Raises:
            KeyError, TypeError, ValueError: the values have another form.
        """
        parts = {name: np.array(facts[name], np.float64) for name in _PARTS}
        n = len(FEATURES)
        if [part.shape for part in parts.values()] != [(N_CONTEXTS, n), (n,), (n,)]:
            raise ValueError("the linear model was fitted for other features")
        return cls(**parts)

    def _standard(self, X: F32) -> F64:
        spread, none = self.spread, np.zeros_like(self.spread)
        scale = np.divide(1.0, spread, out=none, where=spread > 0)
        return np.clip((X - self.mean) * scale, -FARTHEST, FARTHEST)


@dataclass(frozen=True, slots=True)
class LinearPrior:
    """What is known of the weights before a fit.

    Attributes:
        worth: float64 (N_CONTEXTS, n_features), the weights of the features, not standardized.
        slopes: float64 (N_CONTEXTS, n_features), the weights in the margin that the model is added
            to, not standardized.
        signs: of each feature: 1 if no sum of its weight and its slope may be negative, -1 if none
            may be positive, 0 for no limit.
        penalty: the weight of the L2 penalty against the mean loss of a slate; None is PENALTY
            divided by the number of slates.
    """

    worth: F64
    slopes: F64
    signs: Sequence[int]
    penalty: float | None = None

    def bounds(self, spread: F64) -> list[tuple[float, float]]:
        """Return the least and the greatest value of each standardized weight."""
        signs, slopes = np.asarray(self.signs), self.slopes * spread
        least = np.where(signs > 0, -np.maximum(slopes, 0), -np.inf)
        most = np.where(signs < 0, np.maximum(-slopes, 0), np.inf)
        return list(zip(least.ravel().tolist(), most.ravel().tolist(), strict=True))


def fit_linear_scorer(
    X: F32,
    fixed: Callable[[F32], F64],
    relevance: I32,
    group_sizes: Sequence[int],
    weights: F32,
    seed: int = 0,
    prior: LinearPrior | None = None,
) -> LinearModel | None:
    """Fit the model on logged slates; None if fewer than FEWEST_SLATES have likes and other papers.

    The same data and seed give the same model.

    Args:
        X: float32 (n, n_features), the rows of each query group together.
        fixed: gives float64 (n,), the margin that the model is added to, for clipped rows.
        relevance: int32 (n,); a row above the minimum of its slate is liked.
        group_sizes: the number of rows of each query group; they sum to n.
        weights: float32 (n,), above 0; only those of liked rows count. The likes of one slate
            together weigh the square root of their number.
        prior: None draws the weights to zero.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    rows, sizes = _select_slates(relevance, np.asarray(group_sizes, dtype=np.int64), seed)
    if len(sizes) < FEWEST_SLATES:
        return None
    mean, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    spread[spread < LEAST_SPREAD] = 0
    spread[_OF_THE_SUBSCRIBER] = 0
    blank = LinearModel(np.zeros((N_CONTEXTS, X.shape[1])), mean, spread)
    start = blank.worth if prior is None else prior.worth * spread
    likelihood = _Likelihood(
        blank._standard(X[rows]),
        _contexts(X[rows]),
        fixed(blank.bounded(X[rows])),
        relevance[rows],
        sizes,
        weights[rows],
        start,
        PENALTY / len(sizes) if prior is None or prior.penalty is None else prior.penalty,
    )
    # The number of threads changes the order of sums, and so the last bits.
    with threadpool_limits(1):
        result = minimize(
            likelihood.loss,
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=None if prior is None else prior.bounds(spread),
            options={"maxiter": MOST_ITERATIONS},
        )
    return LinearModel(result.x.reshape(start.shape), mean, spread)


class _Likelihood:
    """The penalized negative log likelihood of the likes, as a function of the weights."""

    def __init__(
        self,
        rows: F64,
        contexts: F64,
        fixed: F64,
        relevance: I32,
        sizes: I64,
        weights: F32,
        prior: F64,
        penalty: float,
    ) -> None:
        self._prior = prior.ravel()
        self._rows = rows
        self._contexts = contexts
        self._fixed = fixed
        self._penalty = penalty
        self._starts = np.cumsum(sizes) - sizes
        self._slate = np.repeat(np.arange(len(sizes)), sizes)
        liked = relevance > np.minimum.reduceat(relevance, self._starts)[self._slate]
        n_liked = np.add.reduceat(liked, self._starts, dtype=np.float64)
        shares = np.where(liked, weights / np.sqrt(n_liked[self._slate]), 0.0)
        self._shares = shares / shares.sum()
        self._shares_of_slates = np.add.reduceat(self._shares, self._starts)

    def loss(self, worth: F64) -> tuple[float, F64]:
        """Return the mean loss with its penalty, and the gradient."""
        by_context = worth.reshape(N_CONTEXTS, -1)
        margin = self._fixed + ((self._rows @ by_context.T) * self._contexts).sum(axis=1)
        margin -= np.maximum.reduceat(margin, self._starts)[self._slate]
        odds = np.exp(margin)
        totals = np.add.reduceat(odds, self._starts)
        loss = self._shares_of_slates @ np.log(totals) - self._shares @ margin
        error = odds * (self._shares_of_slates / totals)[self._slate] - self._shares
        gradient = (self._contexts * error[:, np.newaxis]).T @ self._rows
        penalty, apart = self._penalty, worth - self._prior
        return float(loss + penalty / 2 * apart @ apart), gradient.ravel() + penalty * apart


def _select_slates(relevance: I32, sizes: I64, seed: int) -> tuple[I64, I64]:
    """Return the rows and sizes of slates with liked and other papers: a sample of MOST_ROWS."""
    starts, sizes = (np.cumsum(sizes) - sizes)[sizes > 0], sizes[sizes > 0]
    if not len(sizes):
        return np.zeros(0, dtype=np.int64), sizes
    has_both = np.maximum.reduceat(relevance, starts) > np.minimum.reduceat(relevance, starts)
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(has_both))
    chosen = np.sort(chosen[np.cumsum(sizes[chosen]) <= MOST_ROWS])
    rows = [np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *(rows[i] for i in chosen)]), sizes[chosen]


def _contexts(X: F32) -> F64:
    likes = X[:, _LIKES].astype(np.float64)
    many = np.minimum(likes, MANY_LIKES_LOG1P) / MANY_LIKES_LOG1P
    return np.stack(
        [np.ones(len(X)), np.exp(-np.maximum(likes, 0)), many, X[:, _INTERESTS]], axis=1
    )
