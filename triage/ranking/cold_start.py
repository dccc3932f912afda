"""Computes scores from feature rows with a fixed formula that needs no training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from triage.domain.records import F32, F64
from triage.ranking.features import FEATURES
from triage.ranking.linear_scorer import N_CONTEXTS

COLD_START = "cold-"
"""The version of a cold-start scorer begins with this; the version of a trained scorer does not."""

# Cosines of two papers' TF-IDF vectors are around 0.1 to 0.3, those with a short phrase half of
# that, and those of latent vectors twice as much. The weights bring a good match of any kind to a
# margin of 3 or more.
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
# With an empty profile every paper scores 0.27. A fuller profile asks for a better match.
COLD_BASE = -1.0
COLD_KNOWN = -1.8
COLD_LIKES = -0.7
# The mean of many likes is similar to all papers of their field: per log(1 + likes), up to 50.
COLD_MANY_LIKES = -0.6
MANY_LIKES_LOG1P = 4.0
_WEIGHTS: F64 = np.array([COLD_WEIGHTS.get(name, 0.0) for name in FEATURES])
_WISHES = {
    "words_dislike_max", "dense_dislike_max", "category_chosen", "followed_author",
    "include_keyword_hits", "upvotes_log1p", "age_days",
}  # fmt: skip
_IS_WISH = np.array([name in _WISHES for name in FEATURES])


class ColdStartScorer:
    """A fixed linear formula over the features; `score` is its logistic function.

    Positive weights: similarity to likes and interests, chosen categories, followed authors.
    Negative weights: similarity to dislikes, and age. Means over all likes show the usual topic;
    maxima let one like or phrase of a second topic count. The constant falls with the number of
    likes and phrases, because a fuller profile is similar to more papers by chance.

    Args:
        share: what all weights are multiplied by, but for those of wishes that a subscriber has
            expressed, and of upvotes and age: reading lists teach nothing about these.
    """

    encoder_version: str | None = None

    def __init__(self, share: float = 1.0) -> None:
        self.version = f"{COLD_START}2" if share == 1 else f"{COLD_START}2-{share:g}"
        self._share = share
        self._weights = _WEIGHTS * np.where(_IS_WISH, 1.0, share)

    def margin(self, X: F32) -> F64:
        """Return float64 (n,), the logit of the score."""
        base = self._share * COLD_BASE
        return np.asarray(self.contributions(X).sum(axis=1) + base, dtype=np.float64)

    def score(self, X: F32) -> F64:
        """Return float64 (n,) in [0, 1]; (0,) for no rows."""
        return sigmoid(self.margin(X))

    def contributions(self, X: F32) -> F64:
        """Return float64 (n, n_features): the part of the margin that each feature adds."""
        X = check_feature_rows(X)
        parts = X.astype(np.float64) * self._weights
        likes, interests = FEATURES.index("n_likes_log1p"), FEATURES.index("has_interests")
        has_likes = X[:, likes] > 0
        many = np.minimum(X[:, likes], MANY_LIKES_LOG1P)
        known = has_likes | (X[:, interests] > 0)
        parts[:, likes] += self._share * (COLD_LIKES * has_likes + COLD_MANY_LIKES * many)
        parts[:, interests] += self._share * COLD_KNOWN * known
        return parts

    def slopes(self) -> F64:
        """Return float64 (N_CONTEXTS, n_features): the weights of the features."""
        weights = np.zeros((N_CONTEXTS, len(FEATURES)))
        weights[0] = self._weights
        return weights


def check_feature_rows(X: F32) -> F32:
    if X.ndim != 2 or X.shape[1] != len(FEATURES):
        raise ValueError(f"feature rows of shape {X.shape} instead of (n, {len(FEATURES)})")
    return X


def sigmoid(margin: F64) -> F64:
    return np.asarray(1 / (1 + np.exp(-np.clip(margin, -500, 500))), dtype=np.float64)
