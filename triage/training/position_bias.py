"""Estimates the position bias of slates: the position-based model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triage.domain.records import F64, I32, Bools

# Papers with scores in one band are assumed to get a vote equally often when they are read.
MOST_BANDS = 40
SHOWN_PER_BAND = 100
N_STEPS = 500
# Weight of the prior 1 / position, in shown papers.
PRIOR_SHOWN = 100.0


@dataclass(frozen=True, slots=True)
class Attention:
    """Probabilities that a position is looked at, and that a paper gets a vote if it is.

    Attributes:
        by_place: float64 (n_positions,), for positions 1, 2, …; the first is 1 and they never
            increase. Later positions are like the last.
        vote_if_read: float64 (n,), the probability of a vote if looked at, for each row of the fit.
    """

    by_place: F64
    vote_if_read: F64

    def read_probability(self, positions: I32) -> F64:
        """Return the probability that each position is looked at, float64 (n,), in (0, 1]."""
        rows = np.minimum(positions, len(self.by_place)) - 1
        return np.asarray(self.by_place[rows], dtype=np.float64)


def fit_attention(positions: I32, scores: F64, voted: Bools) -> Attention:
    """Fit the position-based model to a log (Chuklin et al. 2015, 3.3).

    P(vote) = look(position) · will(paper). Good papers are at the top, so votes alone cannot
    separate the two; papers with similar scores at different positions can. `will` is one number
    for each band of scores. Both are fitted by expectation maximisation on a table of positions
    and bands (Wang et al. 2018, without the regression). `look` starts at 1 / position, and stays
    near it in a small log.

    Args:
        positions: int32 (n,), 1-based.
        scores: float64 (n,), of the scorer that ordered the slates.
        voted: bool (n,).

    Returns:
        Attention with `willing` float64 (n,); an empty log gives one position.
    """
    if not len(positions):
        return Attention(np.ones(1), np.zeros(0))
    n_bands = int(np.clip(len(positions) // SHOWN_PER_BAND, 1, MOST_BANDS))
    edges = np.quantile(scores, np.linspace(0, 1, n_bands + 1)[1:-1])
    band = np.searchsorted(edges, scores, side="right")
    shape = (int(positions.max()), n_bands)
    cell = np.ravel_multi_index((positions - 1, band), shape)
    shown = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    votes = np.bincount(cell, weights=voted, minlength=shape[0] * shape[1]).reshape(shape)
    prior = 1 / np.arange(1, shape[0] + 1)
    look, will = prior.copy(), np.full(n_bands, 0.5)
    for _ in range(N_STEPS):
        both = np.outer(look, will)
        rest = (shown - votes) / np.maximum(1 - both, 1e-9)
        looked = votes + rest * look[:, None] * (1 - will)
        wanted = votes + rest * (1 - look[:, None]) * will
        seen = (looked.sum(axis=1) + PRIOR_SHOWN * prior) / (shown.sum(axis=1) + PRIOR_SHOWN)
        look = np.minimum.accumulate(seen / seen[0])
        will = (wanted.sum(axis=0) + 1) / (shown.sum(axis=0) + 2)
    return Attention(look, will[band])
