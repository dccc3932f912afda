"""A linear margin learned from feedback: what each feature is worth, by how much is known.

    worth of a feature = what it is worth for everybody
                       + for whom few likes are known  · 1 / (1 + likes)
                       + for whom many are known       · log(1 + likes)
                       + for who wrote what they want

Many features say nearly the same, and a sum of them says it better than any. Trees that ask one
question at a time need very many of them for a sum, so they are left what a sum cannot say.

It is fitted as RankSVM is (Joachims 2002) with the logistic loss: a liked paper and another of the
same slate differ by some row, and its margin shall be positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triage.features import FEATURES
from triage.records import F32, F64, I32

N_CONTEXTS = 4
PAIRS_OF_A_LIKE = 20
MOST_PAIRS_OF_A_SLATE = 60
MOST_PAIRS = 100_000
# The inverse of the penalty, beside the mean loss of all pairs.
STRENGTH = 250.0
MOST_ITERATIONS = 300
MANY_LIKES_LOG1P = 5.0
# A feature that a log hardly knows must not decide alone.
FARTHEST = 4.0
LEAST_SPREAD = 1e-6

_LIKES, _INTERESTS = FEATURES.index("n_likes_log1p"), FEATURES.index("has_interests")
# The same for all papers of a slate: they order nothing.
_OF_THE_READER = [FEATURES.index(name) for name in ("n_likes_log1p", "n_phrases", "has_interests")]


@dataclass(frozen=True, slots=True)
class Formula:
    """What a fit learns.

    Attributes:
        worth: float64 (N_CONTEXTS, n_features).
        mean, spread: float64 (n_features,), of the rows that it was learned from; a feature that
            was the same in all of them has the spread 0 and is worth nothing.
    """

    worth: F64
    mean: F64
    spread: F64

    @property
    def unseen(self) -> NDArray[np.bool_]:
        """Return bool (n_features,): what the log says nothing about."""
        unseen: NDArray[np.bool_] = self.spread == 0
        unseen[_OF_THE_READER] = False
        return unseen

    def margin(self, X: F32) -> F64:
        """Return float64 (n,): larger is better within one slate."""
        return np.asarray(self.contributions(X).sum(axis=1), dtype=np.float64)

    def contributions(self, X: F32) -> F64:
        """Return float64 (n, n_features): each feature's summand, against a usual paper's."""
        return np.asarray(self._standard(X) * (_contexts(X) @ self.worth), dtype=np.float64)

    def facts(self) -> Mapping[str, object]:
        """Return JSON values that `from_facts` makes the same formula of."""
        return {
            "worth": self.worth.tolist(),
            "mean": self.mean.tolist(),
            "spread": self.spread.tolist(),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Formula:
        """Return the formula of what `facts` returned.

        Raises:
            KeyError, TypeError, ValueError: it is not of that form.
        """
        parts = {name: np.array(facts[name], np.float64) for name in ("worth", "mean", "spread")}
        n = len(FEATURES)
        if [part.shape for part in parts.values()] != [(N_CONTEXTS, n), (n,), (n,)]:
            raise ValueError("a formula for other features")
        return cls(**parts)

    def _standard(self, X: F32) -> F64:
        known = self.spread > 0
        apart = (X - self.mean) / np.where(known, self.spread, 1.0)
        return np.where(known, np.clip(apart, -FARTHEST, FARTHEST), 0.0)


def fitted(
    X: F32, relevance: I32, group_sizes: Sequence[int], weights: F32, seed: int = 0
) -> Formula:
    """Learn what features are worth from logged slates; the same data and seed give the same.

    Args:
        X: float32 (n, n_features), rows of one query group next to each other.
        relevance: int32 (n,).
        group_sizes: how many rows each query group has, in order; they sum to n.
        weights: float32 (n,), above 0; a pair weighs as its liked paper.

    Returns:
        A formula that is worth nothing where no slate holds both liked and other papers.
    """
    mean, spread = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    if len(X):
        mean, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    spread[spread < LEAST_SPREAD] = 0
    spread[_OF_THE_READER] = 0
    blank = Formula(np.zeros((N_CONTEXTS, X.shape[1])), mean, spread)
    rng = np.random.default_rng(seed)
    better, worse = _pairs(relevance, np.asarray(group_sizes, dtype=np.int64), rng)
    if not len(better):
        return blank
    apart = blank._standard(X[better]) - blank._standard(X[worse])
    contexts = _contexts(X[better])
    rows = np.hstack([apart * contexts[:, [k]] for k in range(N_CONTEXTS)]).astype(np.float32)
    worth = _fit(rows, weights[better].astype(np.float64), rng)
    return Formula(worth.reshape(N_CONTEXTS, X.shape[1]), mean, spread)


def _contexts(X: F32) -> F64:
    likes = X[:, _LIKES].astype(np.float64)
    many = np.minimum(likes, MANY_LIKES_LOG1P) / MANY_LIKES_LOG1P
    return np.stack([np.ones(len(X)), np.exp(-likes), many, X[:, _INTERESTS]], axis=1)


def _pairs(
    relevance: I32, sizes: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of liked papers and of others of the same slates."""
    starts = np.cumsum(sizes) - sizes
    better, worse = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for at, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        marks = relevance[at : at + size]
        least = marks.min() if size else 0
        liked, others = np.flatnonzero(marks > least), np.flatnonzero(marks == least)
        if len(liked):
            n = min(PAIRS_OF_A_LIKE * len(liked), MOST_PAIRS_OF_A_SLATE)
            better.append(at + rng.choice(liked, n))
            worse.append(at + rng.choice(others, n))
    above, below = np.concatenate(better), np.concatenate(worse)
    if len(above) <= MOST_PAIRS:
        return above, below
    some = rng.choice(len(above), MOST_PAIRS, replace=False)
    return above[some], below[some]


def _fit(rows: F32, weights: F64, rng: np.random.Generator) -> F64:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    # Either way round it is the same pair, and two classes are what the library wants.
    signs = rng.permutation(np.resize([1, -1], len(rows)))
    model = LogisticRegression(
        C=STRENGTH / float(weights.sum()), fit_intercept=False, max_iter=MOST_ITERATIONS
    )
    # The number of threads decides how sums are split, and so the last bits.
    with threadpool_limits(1):
        model.fit(rows * signs[:, np.newaxis].astype(np.float32), signs, sample_weight=weights)
    return np.asarray(model.coef_[0], dtype=np.float64)
