"""Means over subscribers with bootstrap confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triage.domain.records import F64, I64

FEWEST_SUBSCRIBERS = 5
"""With fewer subscribers, the bootstrap draws slates instead of subscribers."""

N_DRAWS = 2_000
MOST_DRAWN = 1_000_000
ROUNDING = 1e-12
SEED = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over subscribers with its confidence interval; NaN where undefined."""

    mean: float
    low: float
    high: float


def fixed_rng() -> np.random.Generator:
    """Return a new generator with a fixed seed: the same log gives the same figures."""
    return np.random.default_rng(SEED)


def interval(
    values: F64, subscriber_ids: I64, rng: np.random.Generator, level: float = 0.025
) -> Interval:
    """Return the mean over subscribers with a bootstrap confidence interval (Efron 1979).

    Args:
        values: float64 (n_slates,); NaN values are left out.
        subscriber_ids: int64 (n_slates,).
        level: the probability outside of the interval on each side.
    """
    units = bootstrap_units(values, subscriber_ids)
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


def bootstrap_units(values: F64, subscriber_ids: I64) -> F64:
    """Return each subscriber's mean, or all values if subscribers are few: float64 (n,)."""
    known = ~np.isnan(values)
    values = values[known]
    _, unit = np.unique(subscriber_ids[known], return_inverse=True)
    units = np.bincount(unit, weights=values) / np.bincount(unit)
    return units if len(units) >= FEWEST_SUBSCRIBERS else values


def _off_by(drawn: F64, mean: float) -> F64:
    """Return the error of each draw's mean in its own standard errors, float64 (n_draws,).

    This is the bootstrap-t (Efron & Tibshirani 1993, 12.5): a plain bootstrap of few values gives
    intervals that are too narrow.
    """
    error = drawn.std(axis=1, ddof=1) / np.sqrt(drawn.shape[1])
    # A draw of n equal values has no spread.
    valid = error > ROUNDING
    return np.asarray((drawn.mean(axis=1) - mean)[valid] / error[valid], dtype=np.float64)
