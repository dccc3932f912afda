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

from enum import StrEnum

import numpy as np

from triage.domain.records import F64, I64
from triage.training.evaluation.bootstrap import interval, units_of

LEVEL = 0.005
"""How often a scorer that is no better may look better: nightly trainings are many tries."""

FEWEST_SLATES = 8


class Winner(StrEnum):
    """Who shall serve."""

    CHALLENGER = "challenger"
    SERVING = "serving"
    COLD = "cold"


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
    if gain.low > 0 and (cold is None or _mean(challenger - cold, subscriber_ids) > 0):
        return Winner.CHALLENGER, f"better than what served: {figures}"
    if cold is not None and interval(cold - serving, subscriber_ids, rng, LEVEL).low > 0:
        return Winner.COLD, (
            "what served is worse than the cold-start scorer, which takes over: nDCG@10"
            f" {_mean(serving, subscriber_ids):.3f} against"
            f" {_mean(cold, subscriber_ids):.3f} on {n} later slates"
        )
    if gain.low > 0:
        return Winner.SERVING, f"not better than the cold-start scorer: {figures}"
    if gain.mean > 0:
        return Winner.SERVING, (f"perhaps better than what serves, but it may be chance: {figures}")
    return Winner.SERVING, f"not better than what serves: {figures}"


def _mean(values: F64, subscriber_ids: I64) -> float:
    return float(units_of(values, subscriber_ids).mean())
