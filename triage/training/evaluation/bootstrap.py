"""A mean over subscribers, and where chance may leave it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triage.domain.records import F64, I64

FEWEST_SUBSCRIBERS = 5
"""With fewer subscribers than that, slates are drawn again instead of subscribers."""

N_DRAWS = 2_000
MOST_DRAWN = 1_000_000
ROUNDING = 1e-12
SEED = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over subscribers with the bounds that chance leaves it; NaN where nothing is known."""

    mean: float
    low: float
    high: float


def dice() -> np.random.Generator:
    """Return new dice that always fall alike: the same log gives the same figures."""
    return np.random.default_rng(SEED)


def interval(
    values: F64, subscriber_ids: I64, rng: np.random.Generator, level: float = 0.025
) -> Interval:
    """Return the mean over subscribers and where it may lie, by drawing them again (Efron 1979).

    Args:
        values: float64 (n_slates,), NaN where undefined: those do not count.
        subscriber_ids: int64 (n_slates,).
        level: the chance that is left outside on each side.
    """
    units = units_of(values, subscriber_ids)
    n, mean = len(units), float(units.mean()) if len(units) else float("nan")
    if n < 2:
        return Interval(mean, float("nan"), float("nan"))
    error = float(units.std(ddof=1) / np.sqrt(n))
    if error < ROUNDING:
        return Interval(mean, mean, mean)
    most = max(1, MOST_DRAWN // n)
    sizes = (min(most, N_DRAWS - done) for done in range(0, N_DRAWS, most))
    drawn = np.concatenate([_off_by(units[rng.integers(0, n, (size, n))], mean) for size in sizes])
    below, above = np.quantile(drawn, [level, 1 - level])
    return Interval(mean, mean - float(above) * error, mean - float(below) * error)


def units_of(values: F64, subscriber_ids: I64) -> F64:
    """Return what chance draws: float64 (n,), each subscriber's mean, or the values of few."""
    known = ~np.isnan(values)
    values = values[known]
    _, unit = np.unique(subscriber_ids[known], return_inverse=True)
    units = np.bincount(unit, weights=values) / np.bincount(unit)
    return units if len(units) >= FEWEST_SUBSCRIBERS else values


def _off_by(drawn: F64, mean: float) -> F64:
    """Return float64 (n_draws,): how many of its own standard errors each draw's mean is off.

    Few values understate their spread, and a draw of few values does so once more: counted in
    standard errors the two cancel (the bootstrap-t; Efron & Tibshirani 1993, 12.5).
    """
    error = drawn.std(axis=1, ddof=1) / np.sqrt(drawn.shape[1])
    # A draw of one value n times says nothing about spread.
    told = error > ROUNDING
    return np.asarray((drawn.mean(axis=1) - mean)[told] / error[told], dtype=np.float64)
