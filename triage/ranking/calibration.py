"""Turns the scores of a day into chances: how likely this subscriber is to vote for a paper.

    scores of a day → prior chances → corrected by the votes of the installation and the subscriber

A score only orders papers. How likely a vote is depends on the other papers of the day, too: who
reads one digest a day votes for few papers of it. So the prior is a beta calibration (Kull et al.
2017) of a paper's share of a day, e^margin / sum of e^margin, with the margin as a third term. It
was fitted on the readers of the pretrained ranker. What else was tried (the number of likes or
candidates, whether there is a text) made no difference beyond noise.

The corrections are a slope and an offset of the log-odds: one pair for the installation, drawn to
none, and one for each subscriber, drawn to that of the installation. All steps are monotone in the
score, so the order of the papers stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from triage.domain.records import F32, F64, I64, Bools
from triage.ranking.cold_start import sigmoid

N_USUAL = 400
"""A day with fewer candidates counts as filled up with usual papers: to be the only paper of a day
is no merit."""

BEST_OF_DAY = 10
"""The prior is fitted on so many papers of a day, those of a digest."""

# Standard deviations of the normal priors of a correction's log-odds at CENTRE and of its slope.
OFFSET_SPREAD, SLOPE_SPREAD = 0.5, 0.3
CENTRE = -2.0
"""The log-odds of a usual paper of a digest."""
LOWEST_SLOPE = 0.2
MOST_STEPS = 50


def logit(chances: F64) -> F64:
    bounded = np.clip(chances, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(bounded / (1 - bounded)))


@dataclass(frozen=True, slots=True)
class Prior:
    """The log-odds of a vote before any votes of the installation.

    Attributes:
        share, rest, margin: weights of log(share), -log(1 - share) and the margin, each 0 or more.
        offset: added to their sum.
        usual: the log of the mean e^margin of papers that were not liked.
    """

    share: float = 0.5
    rest: float = 0.5
    margin: float = 0.2
    offset: float = -1.2
    usual: float = -1.2

    def log_odds(self, scores: F64, listed: I64 | None = None, weights: F32 | None = None) -> F64:
        """Return float64 (n,) for the scores of all candidates of a digest, see `chances`."""
        terms = _terms(logit(scores), self.usual, listed, weights)
        return self.offset + terms @ [self.share, self.rest, self.margin]

    @classmethod
    def fit(cls, days: Iterable[tuple[F64, Bools, float]]) -> Prior:
        """Fit on past days: scores of all candidates, which were liked, and the weight of the day.

        Raises:
            ValueError: nothing was liked, or all was.
        """
        from scipy.optimize import minimize

        known = [(logit(scores), liked, weight) for scores, liked, weight in days]
        usual = float(np.median([_log_mean(margin[~liked]) for margin, liked, _ in known]))
        parts = []
        for margin, liked, weight in known:
            best = np.argsort(-margin, kind="stable")[:BEST_OF_DAY]
            parts.append((_terms(margin, usual)[best], liked[best], np.full(len(best), weight)))
        terms, hits, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
        if hits.all() or not hits.any():
            raise ValueError("a calibration needs papers that were liked and others")
        weights = weights / weights.mean()
        X = np.column_stack([terms, np.ones(len(terms))])

        def loss(w: F64) -> tuple[float, F64]:
            z = X @ w
            value = float(weights @ (np.logaddexp(0, z) - hits * z)) + 1e-3 * float(w @ w)
            return value, X.T @ (weights * (sigmoid(z) - hits)) + 2e-3 * w

        bounds = [(0.01, None), (0, None), (0, None), (None, None)]
        found = minimize(loss, [1.0, 1.0, 0.0, 0.0], jac=True, bounds=bounds, method="L-BFGS-B")
        # Fewer digits: the last bits differ between processors.
        return cls(*(round(float(w), 4) for w in (*found.x, usual)))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def _terms(margin: F64, usual: float, listed: I64 | None = None, weights: F32 | None = None) -> F64:
    """Return float64 (n, 3), see `Prior`: log(share), -log(1 - share) and the margin."""
    if not len(margin):
        return np.zeros((0, 3))
    days = np.zeros(len(margin)) if listed is None else listed
    _, day = np.unique(days, return_inverse=True)
    highest = max(float(margin.max()), usual)
    # Relative to the highest one, so that nothing overflows.
    each = np.ones(len(margin)) if weights is None else weights
    sums = np.bincount(day, weights=each * np.exp(margin - highest))
    missing = np.maximum(N_USUAL - np.bincount(day, weights=each), 0)
    log_share = margin - highest - np.log((sums + missing * np.exp(usual - highest)).max())
    return np.column_stack([log_share, -np.log1p(-np.minimum(np.exp(log_share), 1 - 1e-9)), margin])


def _log_mean(values: F64) -> float:
    highest = float(values.max(initial=-50.0))
    return highest + float(np.log(max(np.exp(values - highest).sum() / max(len(values), 1), 1e-30)))


@dataclass(frozen=True, slots=True)
class Correction:
    """Log-odds become slope · (log-odds - CENTRE) + CENTRE + offset."""

    slope: float = 1.0
    offset: float = 0.0

    def apply(self, log_odds: F64) -> F64:
        return self.slope * (log_odds - CENTRE) + CENTRE + self.offset

    def refine(self, log_odds: F64, liked: Bools) -> Correction:
        """Return the correction that fits shown papers best and is near this one.

        Without papers it is this one. Few papers change it little.

        Args:
            log_odds: float64 (n,), of the prior, finite.
            liked: bool (n,).
        """
        if not len(liked):
            return self
        start = np.array([self.slope, self.offset])
        precision = np.array([SLOPE_SPREAD, OFFSET_SPREAD]) ** -2.0
        X = np.column_stack([log_odds - CENTRE, np.ones(len(log_odds))])

        def loss(w: F64) -> float:
            z = X @ w + CENTRE
            return float((np.logaddexp(0, z) - liked * z).sum() + precision @ (w - start) ** 2 / 2)

        # Newton's method; each step is halved until the loss falls, and ends at the bound.
        w = start
        for _ in range(MOST_STEPS):
            p = sigmoid(X @ w + CENTRE)
            gradient = X.T @ (p - liked) + precision * (w - start)
            curvature = (X.T * (p * (1 - p))) @ X + np.diag(precision)
            step = -np.linalg.solve(curvature, gradient)
            if w[0] <= LOWEST_SLOPE and step[0] < 0:
                step = np.array([0.0, -gradient[1] / curvature[1, 1]])
            if np.abs(step).max() < 1e-9:
                break
            now = loss(w)
            for halving in range(30):
                new = w + step / 2**halving
                new[0] = max(new[0], LOWEST_SLOPE)
                if loss(new) <= now:
                    break
            w = new
        return Correction(float(w[0]), float(w[1]))


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns the scores of one subscriber's day into chances."""

    prior: Prior
    correction: Correction = Correction()

    def chances(
        self, scores: F64, listed: I64 | None = None, weights: F32 | None = None
    ) -> tuple[F64, F64]:
        """Return the chances of all candidates of a digest, and those of the prior, in (0, 1).

        Args:
            scores: float64 (n,) in [0, 1].
            listed: int64 (n,), the listing days, by default one. A digest of several days has
                about as many good papers as these days. So shares are of the day with most.
            weights: float32 (n,), for how many candidates each one stands; by default for one.
        """
        log_odds = self.prior.log_odds(scores, listed, weights)
        return _within(self.correction.apply(log_odds)), _within(log_odds)


def _within(log_odds: F64) -> F64:
    # A chance of exactly 0 or 1 is a promise that nobody can make.
    return sigmoid(np.clip(log_odds, -14, 14))
