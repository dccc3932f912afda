"""Which directions of a space tell fields apart: those in which papers of one author agree.

    authors ─→ groups of papers by one name ─→ agreement ─┐
    a sample of all papers ─────────────────→ spread ─────┴→ metric

An author writes about few things, so two papers of one author are, more often than not, of one
interest. How far they agree along a direction, against how far papers spread along it, says what
the direction is worth to tell interests apart (the two papers' canonical correlations: Hotelling
1936; as linear discriminants, with authors as classes: Fisher 1936). Nobody's feedback is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triage.domain.author_names import author_keys
from triage.domain.records import F32, F64, I64

# Who shares a name with many, or signs with many, tells little of what a paper is about.
MOST_PAPERS = 12
MOST_AUTHORS = 15
# Fewer groups than this are not enough for half a thousand directions; more than the other would
# only be read longer: each is some papers for the sentence encoder.
FEWEST_GROUPS = 2_000
MOST_GROUPS = 20_000
# A direction in which papers hardly spread is noise: as much is added to all, in mean spreads.
RIDGE = 1.0
WHITENING_RIDGE = 0.3
POWER = 0.35
# Authors are not all that papers can be near by: no direction is lost.
LEAST_AGREEMENT = 0.03


def same_author(authors: Sequence[Sequence[str]]) -> list[I64]:
    """Return the rows of authors' papers, at least two each; none where such authors are few.

    Args:
        authors: the names on each paper; no papers give no groups.
    """
    rows: dict[str, list[int]] = {}
    for row, names in enumerate(authors):
        if len(names) <= MOST_AUTHORS:
            # A set of strings comes in another order in every process.
            for key in sorted(author_keys(tuple(names))):
                rows.setdefault(key, []).append(row)
    groups = [
        np.array(own, dtype=np.int64) for own in rows.values() if 2 <= len(own) <= MOST_PAPERS
    ]
    if len(groups) < FEWEST_GROUPS:
        return []
    every = np.linspace(0, len(groups) - 1, min(len(groups), MOST_GROUPS)).astype(np.int64)
    return [groups[number] for number in every]


def fit_author_metric(rows: F32, sample: I64, groups: Sequence[I64]) -> F32:
    """Return float32 (d, d): what rows are multiplied with before cosines are taken.

    The form is symmetric: it does not depend on signs or on the order of equal directions.

    Args:
        rows: float32 (n, d), the mean removed.
        sample: of rows that tell how all of them spread.
        groups: rows by one author each, at least two; with none of them the rows are whitened
            (ZCA: Kessy et al. 2018), so that what most papers share counts no more than the rest.
    """
    apart = rows[sample].astype(np.float64)
    spread = apart.T @ apart / len(sample)
    least = (np.trace(spread) / len(spread) + 1e-6) * np.eye(len(spread))
    if not groups:
        values, directions = _eigen(spread + WHITENING_RIDGE * least)
        return _symmetric(directions, values**-0.5)
    values, directions = _eigen(spread + RIDGE * least)
    whitening = (directions * values**-0.5) @ directions.T
    agreement, directions = _eigen(whitening @ _agreement(rows, groups) @ whitening)
    directions = whitening @ directions
    worth = np.maximum(agreement, LEAST_AGREEMENT) ** (2 * POWER)
    values, directions = _eigen((directions * worth) @ directions.T)
    return _symmetric(directions, np.sqrt(np.maximum(values, 0)))


def _agreement(rows: F32, groups: Sequence[I64]) -> F64:
    """Return float64 (d, d): the mean product of two papers of one author, each paper once."""
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


def _symmetric(directions: F64, stretch: F64) -> F32:
    return np.asarray((directions * stretch) @ directions.T, dtype=np.float32)
