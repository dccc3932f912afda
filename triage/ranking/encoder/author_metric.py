"""Fits a linear map under which papers of the same author have high cosines.

An author writes about few topics, so two papers of one author usually share a topic. For each
direction of the space, the covariance between two papers of one author is compared with the
variance over all papers (canonical correlations: Hotelling 1936; equal to linear discriminants with
authors as classes: Fisher 1936). Directions with high agreement get more weight. No feedback is
needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triage.domain.author_names import author_keys
from triage.domain.records import F32, F64, I64

# A name on very many papers may be several people; papers with very many authors have many topics.
MOST_PAPERS = 12
MOST_AUTHORS = 15
# Fewer groups are not enough to fit about 500 directions. More than MOST_GROUPS only take more
# time: the sentence vectors of all their papers are needed.
FEWEST_GROUPS = 2_000
MOST_GROUPS = 20_000
# A direction with little variance is noise, so this share of the mean variance is added to all.
RIDGE = 1.0
# Without authors nothing tells noise from topics, so small directions are raised less.
WHITENING_RIDGE = 3.0
POWER = 0.35
# Papers can be similar for other reasons than authors, so no direction gets the weight 0.
LEAST_AGREEMENT = 0.03


def same_author(authors: Sequence[Sequence[str]]) -> list[I64]:
    """Return for each author the rows of their papers, at least two; none if groups are too few."""
    rows: dict[str, list[int]] = {}
    for row, names in enumerate(authors):
        if len(names) <= MOST_AUTHORS:
            # Sorted, because the order of a set of strings differs from process to process.
            for key in sorted(author_keys(tuple(names))):
                rows.setdefault(key, []).append(row)
    groups = [
        np.array(own, dtype=np.int64) for own in rows.values() if 2 <= len(own) <= MOST_PAPERS
    ]
    if len(groups) < FEWEST_GROUPS:
        return []
    chosen = np.linspace(0, len(groups) - 1, min(len(groups), MOST_GROUPS)).astype(np.int64)
    return [groups[number] for number in chosen]


def fit_author_metric(rows: F32, sample: I64, groups: Sequence[I64]) -> F32:
    """Return float32 (d, d), a symmetric map; rows are multiplied with it before cosines.

    Symmetric, so that it does not depend on the signs or the order of eigenvectors.

    Args:
        rows: float32 (n, d), centred.
        sample: row numbers from which the variance is estimated.
        groups: the row numbers of each author, at least two; without groups the map whitens the
            rows (ZCA: Kessy et al. 2018), so that common directions do not dominate.
    """
    sampled = rows[sample].astype(np.float64)
    covariance = sampled.T @ sampled / len(sample)
    ridge = (np.trace(covariance) / len(covariance) + 1e-6) * np.eye(len(covariance))
    if not groups:
        values, directions = _eigen(covariance + WHITENING_RIDGE * ridge)
        return _symmetric(directions, values**-0.5)
    values, directions = _eigen(covariance + RIDGE * ridge)
    whitening = (directions * values**-0.5) @ directions.T
    agreement, directions = _eigen(whitening @ _agreement(rows, groups) @ whitening)
    directions = whitening @ directions
    weights = np.maximum(agreement, LEAST_AGREEMENT) ** (2 * POWER)
    values, directions = _eigen((directions * weights) @ directions.T)
    return _symmetric(directions, np.sqrt(np.maximum(values, 0)))


def _agreement(rows: F32, groups: Sequence[I64]) -> F64:
    """Return float64 (d, d): the mean product of two papers of one author, by paper."""
    members = np.concatenate(groups)
    lengths = np.array([len(group) for group in groups])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    own = rows[members].astype(np.float64)
    sums = np.add.reduceat(own, starts, axis=0) / np.sqrt(lengths - 1)[:, None]
    own /= np.sqrt(np.repeat(lengths - 1, lengths))[:, None]
    return np.asarray((sums.T @ sums - own.T @ own) / len(members), dtype=np.float64)


def _eigen(matrix: F64) -> tuple[F64, F64]:
    values, directions = np.linalg.eigh((matrix + matrix.T) / 2)
    return values, directions


def _symmetric(directions: F64, scale: F64) -> F32:
    return np.asarray((directions * scale) @ directions.T, dtype=np.float32)
