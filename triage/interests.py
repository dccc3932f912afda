"""What one reader's likes are about: few interests where they read on several things.

    likes ─ cluster ─→ labels        cosines of unrelated papers tell where one interest ends

Interests are found by average linkage (Sokal & Michener 1958): the two nearest groups of likes
join as long as they are nearer to each other than papers usually are. How near that is lies in the
day's papers and not in a constant, because every encoder has its own scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triage.records import F32, F64, I32

I64 = NDArray[np.int64]

MAX_INTERESTS = 8
# Linkage looks at all pairs. Older likes than these join the interest whose centre is nearest.
MAX_LINKED = 150
# What `apartness` gives for a month of arXiv papers on machine learning, for want of any papers.
USUAL_APARTNESS = 0.2
# A few hundred papers' cosines have the same mean and spread as all of them.
SAMPLE = 256
FEWEST_SAMPLE = 30


def apartness(dense: F32) -> float:
    """Return the cosine below which two papers have nothing particular to do with each other.

    One and a half times as far above the median cosine of two papers as the upper quartile lies,
    one standard deviation if cosines were normal, but deaf to how many topics the papers are on.
    Composites of two unrelated reading lists are parted well by it in every space that was tried,
    whether its unrelated papers have cosines around 0, 0.14 or 0.35.

    Args:
        dense: float32 (n, d), rows of unit length or zero, of any papers; fewer than 30 papers say
            too little and give a usual value.
    """
    rows = dense[np.linspace(0, len(dense) - 1, min(len(dense), SAMPLE)).astype(np.int64)]
    rows = rows[rows.any(axis=1)]
    if len(rows) < FEWEST_SAMPLE:
        return USUAL_APARTNESS
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    median, upper = np.quantile(cosines, (0.5, 0.75))
    return float(median + 1.5 * (upper - median))


def cluster(dense: F32, apart: float = USUAL_APARTNESS) -> I32:
    """Part likes into interests: at most MAX_INTERESTS, one where all are of one kind.

    A like that is near to no other is an interest by itself, a small one; only when there are too
    many do the nearest join all the same.

    Args:
        dense: float32 (n, d), rows of unit length or zero.
        apart: groups whose mean cosine is below it stay apart, as `apartness` gives it.

    Returns:
        int32 (n,): 0 for the largest interest and so on, of equal ones the earlier first; (0,) for
        no likes.
    """
    of = _linked(dense[:MAX_LINKED], apart)
    if len(dense) > len(of):
        centres = np.stack(
            [dense[: len(of)][of == each].mean(axis=0) for each in range(of.max() + 1)]
        )
        lengths = np.linalg.norm(centres, axis=1, keepdims=True)
        nearest = (dense[len(of) :] @ (centres / np.maximum(lengths, 1e-12)).T).argmax(axis=1)
        of = np.concatenate([of, nearest])
    return _largest_first(of)


def _linked(dense: F32, apart: float) -> I64:
    """Return int64 (n,): the group of each row, the groups being numbered without gaps."""
    of: I64 = np.arange(len(dense), dtype=np.int64)
    sums: F64 = np.asarray(dense @ dense.T, dtype=np.float64)
    sizes: F64 = np.ones(len(dense))
    while len(sums) > 1:
        # A join never brings groups nearer to each other than they were (the linkage is
        # reducible), so all pairs that are each other's nearest can join at once.
        means = sums / np.outer(sizes, sizes)
        np.fill_diagonal(means, -np.inf)
        nearest = means.argmax(axis=1)
        here = np.arange(len(sums))
        first = here[(nearest[nearest] == here) & (here < nearest)]
        near = means[first, nearest[first]]
        joined = first[near >= apart]
        if not len(joined):
            if len(sums) <= MAX_INTERESTS:
                break
            joined = first[[int(near.argmax())]]
        keep = np.delete(here, nearest[joined])
        target = here.copy()
        target[nearest[joined]] = joined
        target = np.searchsorted(keep, target).astype(np.int64)
        of = target[of]
        sums = _added_up(_added_up(sums, target).T, target)
        sums = (sums + sums.T) / 2
        sizes = np.asarray(np.bincount(target, sizes), dtype=np.float64)
    return of


def _added_up(rows: F64, target: I64) -> F64:
    """Return the rows with those of one target added up, in order of the targets."""
    order = np.argsort(target, kind="stable")
    starts = np.flatnonzero(np.diff(target[order], prepend=-1))
    return np.asarray(np.add.reduceat(rows[order], starts, axis=0), dtype=np.float64)


def _largest_first(of: I64) -> I32:
    _, first, names, sizes = np.unique(
        of, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes), dtype=np.int32)
    return rank[names]
