"""Feature rows to scores by a fixed formula, from the first day on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from triage.domain.records import F32, F64
from triage.ranking.features import FEATURES

COLD_START = "cold-"
"""Versions of the cold-start scorer begin so, those of trained ones do not."""

# Cosines of whole papers in words are around 0.1 to 0.3, of short phrases half of that, and dense
# ones twice as much: the weights bring a good match by any evidence to a margin of 3 or more.
COLD_WEIGHTS: Mapping[str, float] = {
    "words_like_mean": 14.0,
    "words_like_max": 2.0,
    "words_like_top3": 3.0,
    "dense_like_mean": 1.0,
    "dense_like_max": 0.5,
    "dense_like_top3": 1.5,
    "words_dislike_max": -6.0,
    "dense_dislike_max": -1.5,
    "words_interest_max": 6.0,
    "dense_interest_max": 3.0,
    "sense_interest_max": 5.0,
    "interest_cover": 1.5,
    "cluster_meaning": 0.4,
    "category_chosen": 0.8,
    "category_affinity": 1.5,
    "followed_author": 3.0,
    "liked_author_overlap": 0.45,
    "include_keyword_hits": 1.2,
    "upvotes_log1p": 0.15,
    "age_days": -0.03,
}
# Nothing known: 0.27 for every paper. The more is known, the more a paper must bring.
COLD_BASE = -1.0
COLD_KNOWN = -1.8
COLD_LIKES = -0.7
# The centre of many likes is near to everything in their field: per log(1 + likes), up to 50.
COLD_MANY_LIKES = -0.6
MANY_LIKES_LOG1P = 4.0
_WEIGHTS: F64 = np.array([COLD_WEIGHTS.get(name, 0.0) for name in FEATURES])


class ColdStartScorer:
    """A fixed formula: what is near to likes, interests, wishes and people, and far from dislikes.

    The margin is linear in the features. Means bring out what a reader usually likes, best matches
    let one paper or phrase of a second interest stand for itself, and the base falls with what is
    known, so that a match has to be a match of something.
    """

    version = f"{COLD_START}2"
    encoder_version: str | None = None

    def margin(self, X: F32) -> F64:
        """Return float64 (n,), the logit of the score."""
        return np.asarray(self.contributions(X).sum(axis=1) + COLD_BASE, dtype=np.float64)

    def score(self, X: F32) -> F64:
        """Return float64 (n,) in [0, 1]; (0,) for no rows."""
        return sigmoid(self.margin(X))

    def contributions(self, X: F32) -> F64:
        """Return float64 (n, n_features): each feature's summand of the margin."""
        X = checked(X)
        parts = X.astype(np.float64) * _WEIGHTS
        likes, interests = FEATURES.index("n_likes_log1p"), FEATURES.index("has_interests")
        has_likes = X[:, likes] > 0
        many = np.minimum(X[:, likes], MANY_LIKES_LOG1P)
        parts[:, likes] += COLD_LIKES * has_likes + COLD_MANY_LIKES * many
        parts[:, interests] += COLD_KNOWN * (has_likes | (X[:, interests] > 0))
        return parts


def checked(X: F32) -> F32:
    if X.ndim != 2 or X.shape[1] != len(FEATURES):
        raise ValueError(f"feature rows of shape {X.shape} instead of (n, {len(FEATURES)})")
    return X


def sigmoid(margin: F64) -> F64:
    return np.asarray(1 / (1 + np.exp(-np.clip(margin, -500, 500))), dtype=np.float64)
