"""Blends one plain ranker of a reader into the scorer that training starts from.

    margin = (1 - share) · margin of that scorer + share · SPREAD · z-score of one feature

The z-score among a day's candidates is one of the plain rankers: the reader's logistic regression,
or the weighted mean of the similarities to their likes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from triage.domain.records import F32, F64
from triage.ranking.cold_start import sigmoid
from triage.ranking.features import FEATURES

PLAIN = ("taste_likes_z", "words_like_mean_z", "dense_like_mean_z")
"""A reader's logistic regression, and the weighted means of similarities to their likes."""

SPREAD = 1.5
"""About the standard deviation of the pretrained ranker's margins among a day's candidates."""


class Start(Protocol):
    """A scorer that another one starts from; it works with any encoder."""

    version: str

    def margin(self, X: F32) -> F64:
        """Return float64 (n,), the logit of the score."""

    def contributions(self, X: F32) -> F64:
        """Return float64 (n, n_features): the part of the margin that each feature adds."""

    def slopes(self) -> F64:
        """Return float64 (N_CONTEXTS, n_features): the weights of the linear parts."""


class Blend:
    """A scorer of which `share`, from 0 to 1, is replaced by a plain ranker.

    Args:
        feature: the plain ranker, a z-score in FEATURES.
    """

    encoder_version: str | None = None

    def __init__(self, start: Start, feature: str, share: float) -> None:
        self.version = f"{start.version}+{share:g}·{feature}"
        self.feature, self.share = feature, share
        self._start, self._column = start, FEATURES.index(feature)

    def margin(self, X: F32) -> F64:
        """Return float64 (n,), the logit of the score."""
        return self.mix(self._start.margin(X), X)

    def score(self, X: F32) -> F64:
        """Return float64 (n,) in [0, 1]; (0,) for no rows."""
        return sigmoid(self.margin(X))

    def mix(self, margin: F64, X: F32) -> F64:
        """Return the margin of the blend, float64 (n,), from that of the scorer."""
        plain = X[:, self._column].astype(np.float64)
        return (1 - self.share) * margin + self.share * SPREAD * plain

    def contributions(self, X: F32) -> F64:
        """Return float64 (n, n_features): the part of the margin that each feature adds."""
        parts = (1 - self.share) * self._start.contributions(X)
        parts[:, self._column] += self.share * SPREAD * X[:, self._column]
        return parts

    def slopes(self) -> F64:
        """Return float64 (N_CONTEXTS, n_features): the weights of the linear parts."""
        weights = (1 - self.share) * self._start.slopes()
        weights[0, self._column] += self.share * SPREAD
        return weights

    def facts(self) -> dict[str, object]:
        """Return the arguments beside the scorer, as JSON values."""
        return {"feature": self.feature, "share": self.share}
