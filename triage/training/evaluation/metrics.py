"""Ranking metrics. An undefined value is NaN and must not be averaged as 0."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from triage.domain.records import F32, F64, I64

K = 10


def ndcg(relevance: ArrayLike, k: int) -> float:
    """Return the normalised discounted cumulative gain at `k`, exactly as LightGBM does.

    Gain 2^rel - 1 (Burges et al. 2005), discount 1 / log2(rank + 1), the ideal list cut at k too
    (Järvelin & Kekäläinen 2002).

    Args:
        relevance: integers ≥ 0 of all rows of the query group, best first.
        k: number of positions, at least 1.

    Returns:
        A value in [0, 1]; NaN if nothing is relevant (LightGBM returns 1).
    """
    ranked = _relevance(relevance, k)
    best = _dcg(np.sort(ranked)[::-1][:k])
    return _dcg(ranked[:k]) / best if best > 0 else float("nan")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Test slates; the rows of a slate are adjacent.

    Attributes:
        starts: int64 (n_slates,), the first row of each slate.
        worth: float64 (n_rows,), the weighted gain of each paper, 0 for no vote or a downvote.
        subscriber_ids: int64 (n_slates,).
    """

    starts: I64
    worth: F64
    subscriber_ids: I64


def slate_ndcg(scores: F64, held_out: HeldOut) -> F64:
    """Return nDCG@10 of each slate by descending scores, float64 (n_slates,); NaN without gains.

    As `ndcg`, for many slates at once and with weighted gains.

    Args:
        scores: float64 (n_rows,); ties keep the logged order.
    """
    best = _weighted_dcg(held_out.worth, held_out)
    dcg = _weighted_dcg(scores, held_out)
    values: F64 = np.divide(dcg, best, out=np.full(len(best), np.nan), where=best > 0)
    return values


def _weighted_dcg(scores: F64, held_out: HeldOut) -> F64:
    n = len(scores)
    if not n:
        return np.zeros(0)
    sizes = np.diff(held_out.starts, append=n)
    slate = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-scores, slate))
    rank = np.arange(n) - np.repeat(held_out.starts, sizes)
    discount = np.where(rank < K, 1 / np.log2(rank + 2), 0.0)
    return np.add.reduceat(held_out.worth[order] * discount, held_out.starts)


def recall(relevance: ArrayLike, k: int) -> float:
    """Return hits in the first `k` / min(k, relevant), in [0, 1]; NaN if nothing is relevant."""
    hits = _relevance(relevance, k) > 0
    possible = min(k, int(hits.sum()))
    return float(hits[:k].sum() / possible) if possible else float("nan")


def reciprocal_rank(relevance: ArrayLike) -> float:
    """Return 1 / rank of the first relevant row (Voorhees 1999); NaN if nothing is relevant."""
    hits = np.flatnonzero(_relevance(relevance, 1) > 0)
    return float(1 / (hits[0] + 1)) if len(hits) else float("nan")


def intra_list_diversity(dense: F32) -> float:
    """Return the mean cosine distance between all pairs of a list (Ziegler et al. 2005).

    Args:
        dense: float32 (n, d), rows of unit length or zero.

    Returns:
        A value in [0, 2], higher is more varied; NaN for fewer than two rows.
    """
    n = len(dense)
    if n < 2:
        return float("nan")
    cosines = np.asarray(dense, dtype=np.float64) @ np.asarray(dense, dtype=np.float64).T
    return float(1 - (cosines.sum() - np.trace(cosines)) / (n * (n - 1)))


def coverage(shown: Iterable[Collection[int]], papers: Collection[int]) -> float:
    """Return the share of a day's papers that reach anybody (catalogue coverage, Ge et al. 2010).

    Args:
        shown: the ids on each subscriber's list; ids outside of `papers` do not count.
        papers: the ids that could have been shown.

    Returns:
        A value in [0, 1]; NaN without papers.
    """
    candidates = set(papers)
    reached = candidates.intersection(set[int]().union(*shown))
    return len(reached) / len(candidates) if candidates else float("nan")


@dataclass(frozen=True, slots=True)
class Bin:
    """The papers with chances from low to high: their mean chance and the share of liked ones."""

    low: float
    high: float
    n: int
    mean_chance: float
    share_liked: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well chances predict likes.

    Attributes:
        error: expected calibration error, the mean over all papers of |mean chance - share liked|
            of a paper's bin (Naeini et al. 2015); NaN for no papers.
        brier: the mean squared error of a chance (Brier 1950), lower is better; NaN for no papers.
    """

    bins: tuple[Bin, ...]
    error: float
    brier: float


def calibration(chances: ArrayLike, liked: ArrayLike, n_bins: int = 10) -> Calibration:
    """Compare chances with likes, in bins of equal mass: nearly the same number of papers each.

    Args:
        chances: float (n,) in [0, 1].
        liked: bool (n,).
        n_bins: fewer if there are fewer papers.

    Raises:
        ValueError: the lengths differ, or a chance is outside [0, 1].
    """
    predicted, hits = np.asarray(chances, dtype=np.float64), np.asarray(liked, dtype=np.float64)
    if predicted.shape != hits.shape or predicted.ndim != 1:
        raise ValueError(f"{predicted.shape} chances but {hits.shape} likes: they must be equal")
    if not np.all((predicted >= 0) & (predicted <= 1)):
        raise ValueError("a chance is outside [0, 1], so it is no probability")
    bins = []
    for rows in np.array_split(np.argsort(predicted, kind="stable"), n_bins):
        if len(rows):
            own = predicted[rows]
            means = float(own.mean()), float(hits[rows].mean())
            bins.append(Bin(float(own[0]), float(own[-1]), len(rows), *means))
    n = len(predicted)
    total = sum(each.n * abs(each.mean_chance - each.share_liked) for each in bins)
    brier = float(((predicted - hits) ** 2).mean()) if n else float("nan")
    return Calibration(tuple(bins), total / n if n else float("nan"), brier)


def _relevance(values: ArrayLike, k: int) -> F64:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    relevance = np.asarray(values, dtype=np.float64)
    if relevance.ndim != 1 or not np.all(relevance >= 0):
        raise ValueError("relevance must be one-dimensional with values of 0 or more")
    return relevance


def _dcg(relevance: F64) -> float:
    ranks = np.arange(1, len(relevance) + 1)
    return float(((2**relevance - 1) / np.log2(ranks + 1)).sum())
