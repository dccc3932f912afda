"""May a newly trained scorer serve? Only if later slates show it beyond chance.

All scorers order the same papers of the same slates, and each slate is compared with itself:

    gain of a slate = nDCG@10 of one scorer - nDCG@10 of the other
    gain of a subscriber = mean over their slates, so that a busy voter counts as one
    better = the whole one-sided interval of the mean over subscribers lies above 0

The slates were chosen and ordered by what served then, and that favours it twice: people vote on
what stands high, and what it left out cannot be voted on. So each vote is weighed by one over the
chance that it could be cast there: that of the place being looked at, and, in an exploration slot,
that of the paper being drawn (Joachims et al. 2017; Agarwal et al. 2019). The weights are clipped,
so a little of the favour stays, which makes promotion harder and never easier.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from triage.records import F64, I64

K = 10
LEVEL = 0.005
"""How often a scorer that is no better may look better: nightly trainings are many tries."""

FEWEST_SLATES = 8
FEWEST_SUBSCRIBERS = 5
"""With fewer subscribers than that, slates are drawn again instead of subscribers."""

N_DRAWS = 2_000
MOST_DRAWN = 1_000_000
ROUNDING = 1e-12


class Winner(StrEnum):
    """Who shall serve."""

    CHALLENGER = "challenger"
    SERVING = "serving"
    COLD = "cold"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Slates to judge by; the rows of a slate stand next to each other.

    Attributes:
        starts: int64 (n_slates,), the first row of each slate.
        worth: float64 (n_rows,), the weighed gain of each paper, 0 for no vote or a bad one.
        subscriber_ids: int64 (n_slates,).
    """

    starts: I64
    worth: F64
    subscriber_ids: I64


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over subscribers with the bounds that chance leaves it; NaN where nothing is known."""

    mean: float
    low: float
    high: float


def slate_ndcg(scores: F64, held_out: HeldOut) -> F64:
    """Return float64 (n_slates,): nDCG@10 of an order by falling scores; NaN where nothing is good.

    As `metrics.ndcg`, for many slates at once and with gains that are already weighed.

    Args:
        scores: float64 (n_rows,); ties keep the logged order.
    """
    best = _dcg(held_out.worth, held_out)
    found = _dcg(scores, held_out)
    values: F64 = np.divide(found, best, out=np.full(len(best), np.nan), where=best > 0)
    return values


def _dcg(scores: F64, held_out: HeldOut) -> F64:
    n = len(scores)
    if not n:
        return np.zeros(0)
    sizes = np.diff(held_out.starts, append=n)
    slate = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-scores, slate))
    rank = np.arange(n) - np.repeat(held_out.starts, sizes)
    discount = np.where(rank < K, 1 / np.log2(rank + 2), 0.0)
    return np.add.reduceat(held_out.worth[order] * discount, held_out.starts)


def interval(
    values: F64, subscriber_ids: I64, rng: np.random.Generator, level: float = 0.025
) -> Interval:
    """Return the mean over subscribers and where it may lie, by drawing them again (Efron 1979).

    Args:
        values: float64 (n_slates,), NaN where undefined: those do not count.
        subscriber_ids: int64 (n_slates,).
        level: the chance that is left outside on each side.
    """
    known = ~np.isnan(values)
    values, who = values[known], subscriber_ids[known]
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    _, unit = np.unique(who, return_inverse=True)
    units = np.bincount(unit, weights=values) / np.bincount(unit)
    if len(units) < FEWEST_SUBSCRIBERS:
        units = values
    n, mean = len(units), float(units.mean())
    if n < 2:
        return Interval(mean, float("nan"), float("nan"))
    error = float(units.std(ddof=1) / np.sqrt(n))
    if error < ROUNDING:
        return Interval(mean, mean, mean)
    drawn = np.concatenate(
        [
            _off_by(units[rng.integers(0, n, (part, n))], mean)
            for part in _parts(N_DRAWS, max(1, MOST_DRAWN // n))
        ]
    )
    below, above = np.quantile(drawn, [level, 1 - level])
    return Interval(mean, mean - float(above) * error, mean - float(below) * error)


def _off_by(drawn: F64, mean: float) -> F64:
    """Return float64 (n_draws,): how many of its own standard errors each draw's mean is off.

    Few values understate their spread, and a draw of few values does so once more: counted in
    standard errors the two cancel (the bootstrap-t; Efron & Tibshirani 1993, 12.5).
    """
    error = drawn.std(axis=1, ddof=1) / np.sqrt(drawn.shape[1])
    # A draw of one value n times says nothing about spread.
    told = error > ROUNDING
    return np.asarray((drawn.mean(axis=1) - mean)[told] / error[told], dtype=np.float64)


def _parts(n: int, most: int) -> list[int]:
    return [most] * (n // most) + [n % most] * (n % most > 0)


def decide(
    challenger: F64,
    serving: F64,
    cold: F64 | None,
    subscriber_ids: I64,
    rng: np.random.Generator,
) -> tuple[Winner, str]:
    """Say who shall serve from now on, and why in words.

    Args:
        challenger, serving, cold: float64 (n_slates,), see `slate_ndcg`, of the same slates.
        cold: None where the cold-start scorer is what serves.
        subscriber_ids: int64 (n_slates,).
    """
    n = int((~np.isnan(serving)).sum())
    if n < FEWEST_SLATES:
        return Winner.SERVING, (
            f"{n} later slates with liked papers are too few to judge by"
            f" ({FEWEST_SLATES} are needed); what serves stays"
        )
    gain = interval(challenger - serving, subscriber_ids, rng, LEVEL)
    figures = (
        f"nDCG@10 {_mean(challenger, subscriber_ids):.3f} against"
        f" {_mean(serving, subscriber_ids):.3f} on {n} later slates"
    )
    if cold is not None:
        lost = interval(cold - serving, subscriber_ids, rng, LEVEL)
        over_cold = _mean(challenger - cold, subscriber_ids)
        if gain.low > 0 and over_cold > 0:
            return Winner.CHALLENGER, f"better than what served: {figures}"
        if lost.low > 0:
            return Winner.COLD, (
                "what served is worse than the cold-start scorer, which takes over: nDCG@10"
                f" {_mean(serving, subscriber_ids):.3f} against"
                f" {_mean(cold, subscriber_ids):.3f} on {n} later slates"
            )
        if gain.low > 0:
            return Winner.SERVING, f"not better than the cold-start scorer: {figures}"
    elif gain.low > 0:
        return Winner.CHALLENGER, f"better than what served: {figures}"
    if gain.mean > 0:
        return Winner.SERVING, (f"perhaps better than what serves, but it may be chance: {figures}")
    return Winner.SERVING, f"not better than what serves: {figures}"


def _mean(values: F64, subscriber_ids: I64) -> float:
    known = ~np.isnan(values)
    _, unit = np.unique(subscriber_ids[known], return_inverse=True)
    units = np.bincount(unit, weights=values[known]) / np.bincount(unit)
    return float((units if len(units) >= FEWEST_SUBSCRIBERS else values[known]).mean())
