"""The promotion test: is a new scorer significantly better on later slates than the active one?

All scorers order the same papers of the same slates:

    gain of a slate = nDCG@10 of one scorer - nDCG@10 of the other
    gain of a subscriber = mean over their slates, so each subscriber counts once
    better = the one-sided confidence interval of the mean over subscribers is above 0

The scorer that was active then chose and ordered the slates. This favours it twice: papers at the
top get more votes, and papers that were not shown get none. So each vote is weighed by its inverse
propensity: of the position being looked at, and, in an exploration slot, of the paper being drawn
(Joachims et al. 2017; Agarwal et al. 2019). The weights are clipped, so a part of the bias stays;
it makes promotion harder, never easier.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from triage.domain.records import F64, I64
from triage.training.evaluation.bootstrap import bootstrap_units, interval

LEVEL = 0.005
"""The rate of false promotions; it is low because training runs every night."""

FEWEST_SLATES = 8


class Winner(StrEnum):
    """The scorer that is used from now on."""

    CHALLENGER = "challenger"
    SERVING = "serving"
    PRETRAINED = "pretrained"


def decide(
    challenger: F64,
    serving: F64,
    pretrained: F64 | None,
    subscriber_ids: I64,
    rng: np.random.Generator,
) -> tuple[Winner, str]:
    """Return the scorer to use from now on, and the reason in words.

    Args:
        challenger, serving, pretrained: float64 (n_slates,), see `slate_ndcg`, of the same slates.
        pretrained: None if the pretrained ranker is the active one.
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
    if gain.low > 0 and (pretrained is None or _mean(challenger - pretrained, subscriber_ids) > 0):
        return Winner.CHALLENGER, f"better than what served: {figures}"
    if (
        pretrained is not None
        and interval(pretrained - serving, subscriber_ids, rng, LEVEL).low > 0
    ):
        return Winner.PRETRAINED, (
            "what served is worse than the pretrained ranker, which takes over: nDCG@10"
            f" {_mean(serving, subscriber_ids):.3f} against"
            f" {_mean(pretrained, subscriber_ids):.3f} on {n} later slates"
        )
    if gain.low > 0:
        return Winner.SERVING, f"not better than the pretrained ranker: {figures}"
    if gain.mean > 0:
        return Winner.SERVING, (f"perhaps better than what serves, but it may be chance: {figures}")
    return Winner.SERVING, f"not better than what serves: {figures}"


def _mean(values: F64, subscriber_ids: I64) -> float:
    return float(bootstrap_units(values, subscriber_ids).mean())
