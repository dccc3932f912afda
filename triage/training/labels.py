"""What people did with the papers of a slate, as numbers that a ranker can learn from.

    events → relevance (one table) and weight (how much a row tells about the paper alone)

A vote far down counts more, because few look there; a paper without a vote counts the less the
likelier it was never looked at; and no subscriber counts more than a few others.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from triage.domain.records import F32, F64, I32, I64, RELEVANCE, EventKind
from triage.training.position_bias import Attention

IGNORED = -1
"""Stands for relevance where a paper was shown and not voted on."""

HEAVIEST = 5.0
"""A vote counts at most as much as so many at the top: at rare places chance would rule."""

SILENT = 0.5
"""A paper without a vote counts at least so much: votes are set against what got none."""

ENOUGH = 100.0
"""About ten digests: up to that weight nobody is cut, however little the others say."""


def labels_of(
    subscriber_ids: I64, paper_ids: I64, votes: Iterable[tuple[int, int, EventKind]]
) -> I32:
    """Return int32 (n,): the relevance that each shown paper was given, IGNORED where none.

    Args:
        subscriber_ids: int64 (n,), to whom.
        paper_ids: int64 (n,), what was shown.
        votes: (subscriber id, paper id, kind), oldest first: the last one on a paper counts.
    """
    last = {(who, paper): RELEVANCE[kind] for who, paper, kind in votes}
    shown = zip(subscriber_ids.tolist(), paper_ids.tolist(), strict=True)
    return np.array([last.get(each, IGNORED) for each in shown], dtype=np.int32)


def row_weights(marks: I32, positions: I32, propensities: F32, attention: Attention) -> F32:
    """Return float32 (n,), above 0: how much each shown paper shall count.

    A vote is weighed by one over the chance that the place was looked at and that the paper stood
    there (inverse propensities, Joachims et al. 2017), at most HEAVIEST. A paper without a vote is
    weighed between SILENT and 1 by the chance that it was looked at and left: by Bayes' rule in the
    position-based model that is e·(1 - v) / (1 - e·v), with e the place's chance to be looked at
    and v the chance that who looks at such a paper votes.

    Args:
        marks: int32 (n,), see `marks_of`.
        positions: int32 (n,), 1-based.
        propensities: float32 (n,), of the logging policy, in (0, 1].
        attention: fitted on this log or an earlier one.
    """
    looked = attention.looked_at(positions)
    voted = marks != IGNORED
    willing = attention.willing
    left = looked * (1 - willing) / np.maximum(1 - looked * willing, 1e-6)
    silent = SILENT + (1 - SILENT) * left
    weights = np.where(voted, vote_weights(positions, propensities, attention), silent)
    return weights.astype(np.float32)


def vote_weights(positions: I32, propensities: F32, attention: Attention) -> F64:
    """Return float64 (n,): one over the chance that a vote could be cast there, clipped."""
    chances = attention.looked_at(positions) * np.maximum(propensities, 1e-6)
    return np.minimum(1 / chances, HEAVIEST)


def fair_shares(weights: F32, subscriber_ids: I64) -> F32:
    """Scale weights so that no subscriber weighs more than the median one, or than ENOUGH.

    Whoever votes on everything, out of zeal or spite, then cannot bend the ranker for the others.

    Args:
        weights: float32 (n,).
        subscriber_ids: int64 (n,).

    Returns:
        float32 (n,); empty for none.
    """
    if not len(weights):
        return weights
    _, who = np.unique(subscriber_ids, return_inverse=True)
    totals = np.bincount(who, weights=weights)
    share = np.minimum(1.0, max(float(np.median(totals)), ENOUGH) / totals)
    return (weights * share[who]).astype(np.float32)


def gains(marks: I32) -> F64:
    """Return float64 (n,): 2^relevance - 1, and 0 for what nobody voted on (Burges et al. 2005)."""
    return np.asarray(2.0 ** np.maximum(marks, 0) - 1, dtype=np.float64)
