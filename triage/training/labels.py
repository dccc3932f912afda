"""Labels and weights of shown papers, computed from the events.

    events → relevance (one table) and weight (corrects for position bias)

A vote at a low position weighs more, because few people look there. A paper without a vote weighs
less if it was probably not looked at. The total weight of one subscriber is limited.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from triage.domain.records import F32, F64, I32, I64, RELEVANCE, EventKind
from triage.training.position_bias import Attention

IGNORED = -1
"""The label of a paper that was shown and got no vote."""

HEAVIEST = 5.0
"""The highest weight of a vote; a vote at the top has 1. Larger weights would add much noise."""

SILENT = 0.5
"""The lowest weight of a paper without a vote: votes are compared with these papers."""

ENOUGH = 100.0
"""A subscriber's total weight up to this, about ten digests, is never reduced."""


def labels_of(
    subscriber_ids: I64, paper_ids: I64, votes: Iterable[tuple[int, int, EventKind]]
) -> I32:
    """Return the label of each shown paper, int32 (n,), IGNORED where there is no vote.

    Args:
        subscriber_ids, paper_ids: int64 (n,).
        votes: (subscriber id, paper id, kind), oldest first: the last one on a paper counts.
    """
    last = {(who, paper): RELEVANCE[kind] for who, paper, kind in votes}
    shown = zip(subscriber_ids.tolist(), paper_ids.tolist(), strict=True)
    return np.array([last.get(each, IGNORED) for each in shown], dtype=np.int32)


def row_weights(marks: I32, positions: I32, propensities: F32, attention: Attention) -> F32:
    """Return the weight of each shown paper, float32 (n,), above 0.

    A vote has the weight of `vote_weights`. A paper without a vote has a weight between SILENT and
    1, by the probability that it was looked at. By Bayes' rule in the position-based model that is
    e·(1 - v) / (1 - e·v): e is the probability that the position is looked at, v that a paper is
    voted on if it is.

    Args:
        marks: int32 (n,), see `labels_of`.
        positions: int32 (n,), 1-based.
        propensities: float32 (n,), of the logging policy, in (0, 1].
        attention: fitted on this log.
    """
    looked = attention.read_probability(positions)
    voted = marks != IGNORED
    willing = attention.vote_if_read
    left = looked * (1 - willing) / np.maximum(1 - looked * willing, 1e-6)
    silent = SILENT + (1 - SILENT) * left
    weights = np.where(voted, vote_weights(positions, propensities, attention), silent)
    return weights.astype(np.float32)


def vote_weights(positions: I32, propensities: F32, attention: Attention) -> F64:
    """Return inverse propensities of votes, float64 (n,), at most HEAVIEST.

    The propensity is that of the position being looked at, times that of the paper being there
    (Joachims et al. 2017).
    """
    read = attention.read_probability(positions) * np.maximum(propensities, 1e-6)
    return np.minimum(1 / read, HEAVIEST)


def cap_subscriber_weights(weights: F32, subscriber_ids: I64) -> F32:
    """Limit each subscriber's total weight to the median total, or to ENOUGH if that is more.

    So one subscriber who votes on everything cannot change the ranker for the others.

    Args:
        weights: float32 (n,), may be empty.
        subscriber_ids: int64 (n,).
    """
    if not len(weights):
        return weights
    _, who = np.unique(subscriber_ids, return_inverse=True)
    totals = np.bincount(who, weights=weights)
    share = np.minimum(1.0, max(float(np.median(totals)), ENOUGH) / totals)
    return (weights * share[who]).astype(np.float32)


def gains(marks: I32) -> F64:
    """Return float64 (n,): 2^relevance - 1, and 0 for no vote (Burges et al. 2005)."""
    return np.asarray(2.0 ** np.maximum(marks, 0) - 1, dtype=np.float64)
