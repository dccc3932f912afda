"""Query groups from likes and listing days: the papers of a past day, and which were liked.

    likes + papers in listing order ─ past_days ─→ PastDay ─ dataset ─→ feature rows + relevance

So imported likes train a ranker, too. A past day uses the likes before it, all or a random few, so
that one model is good for subscribers with no, few and many likes. Nothing listed or liked on the
day or later is used, except the candidates and their labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from triage.domain.records import F32, F64, I32, I64

# Some days list few papers, others many; a past "day" is extended until it has this many.
ENOUGH_CANDIDATES = 400
FEWEST_CANDIDATES = 100
LONGEST_DAYS = 21
MOST_CANDIDATES = 600
KNOWN_LIKES = (0, 1, 3, 10)
HARD_ROWS = 40
TOP_ROWS = 10
EASY_ROWS = 40


@dataclass(frozen=True, slots=True)
class Likes:
    """One subscriber's likes, oldest first: int64 (n,) rows of papers and days as ordinals."""

    rows: I64
    days: I64


@dataclass(frozen=True, slots=True)
class PastDay:
    """The candidates of one subscriber on a past day.

    Attributes:
        subscriber: index of the subscriber.
        day: ordinal of its first day.
        known: int64 (k,) rows of the earlier likes that are used, newest first.
        candidates: int64 (n,) rows of papers.
        relevance: int32 (n,), 1 for a liked paper.
    """

    subscriber: int
    day: int
    known: I64
    candidates: I64
    relevance: I32


def past_days(
    likes: Sequence[Likes],
    listed: I64,
    first: int,
    until: int,
    n: int,
    rng: np.random.Generator,
    longest: int = LONGEST_DAYS,
) -> list[PastDay]:
    """Choose past days for training, each with all earlier likes and again with a random few.

    Args:
        likes: of each subscriber.
        listed: int64 (m,), ascending, the ordinal day on which each paper was listed.
        first: no day is earlier.
        until: nothing of this day or later is used.
        n: maximum number of days, drawn at random from all subscribers and days.
        longest: the most listing days that are joined into one past day.

    Returns:
        Past days, oldest first; empty if no day with enough papers has a like.
    """
    windows = [_windows(own, listed, first, until, longest) for own in likes]
    starts = [
        (day, reader, number)
        for reader, spans in enumerate(windows)
        for number, (day, _) in enumerate(spans)
    ]
    if len(starts) > n:
        starts = [starts[i] for i in rng.choice(len(starts), n, replace=False)]
    days: list[PastDay] = []
    for day, reader, number in sorted(starts):
        own = likes[reader]
        before = own.rows[own.days < day][::-1]
        for known in _all_and_few(before, rng):
            days.append(_past_day(reader, known, own, listed, windows[reader][number], rng))
    return days


def _windows(
    own: Likes, listed: I64, first: int, until: int, longest: int
) -> list[tuple[int, int]]:
    """Return spans (first day, end), each beginning with a like, that have enough papers."""
    spans = []
    at = first
    while (begin := int(np.searchsorted(own.days, at))) < len(own.days):
        day = int(own.days[begin])
        if day >= until:
            break
        end = max(_end_of(listed, day, min(day + longest, until)), day + 1)
        lo, hi = np.searchsorted(listed, [day, end])
        now = own.rows[(own.days >= day) & (own.days < end)]
        if hi - lo >= FEWEST_CANDIDATES and ((now >= lo) & (now < hi)).any():
            spans.append((day, end))
        at = end
    return spans


def _end_of(listed: I64, day: int, last: int) -> int:
    begin = int(np.searchsorted(listed, day))
    if begin + ENOUGH_CANDIDATES > len(listed):
        return last
    return min(int(listed[begin + ENOUGH_CANDIDATES - 1]) + 1, last)


def _all_and_few(before: I64, rng: np.random.Generator) -> Iterator[I64]:
    yield before
    fewer = [k for k in KNOWN_LIKES if k < len(before)]
    if fewer:
        yield before[np.sort(rng.choice(len(before), int(rng.choice(fewer)), replace=False))]


def _past_day(
    reader: int,
    known: I64,
    own: Likes,
    listed: I64,
    span: tuple[int, int],
    rng: np.random.Generator,
) -> PastDay:
    begin, end = span
    lo, hi = np.searchsorted(listed, [begin, end])
    now = own.rows[(own.days >= begin) & (own.days < end)]
    now = now[(now >= lo) & (now < hi)]
    others = np.setdiff1d(np.arange(lo, hi), own.rows[own.days < end])
    others = rng.permutation(others)[: max(MOST_CANDIDATES - len(now), 0)]
    candidates = np.sort(np.concatenate([now, others]))
    return PastDay(reader, begin, known, candidates, np.isin(candidates, now).astype(np.int32))


def select_training_rows(
    relevance: I32, scores: F64, rng: np.random.Generator, others: Iterable[F32] = ()
) -> I64:
    """Return the rows to train on, int64 (m,), ascending: likes, hard and random negatives.

    Args:
        relevance: int32 (n,).
        scores: float64 (n,); negatives with high scores are the hard ones.
        others: scores of other rankers; TOP_ROWS of each are hard negatives, too.
    """
    liked = np.flatnonzero(relevance)
    rest = np.flatnonzero(relevance == 0)
    easy = rng.permutation(rest)[:EASY_ROWS]
    hard = [rest[np.argsort(-scores[rest], kind="stable")[:HARD_ROWS]]]
    hard += [rest[np.argsort(-each[rest], kind="stable")[:TOP_ROWS]] for each in others]
    return np.unique(np.concatenate([liked, easy, *hard]))


def subscriber_weights(readers: Sequence[int], sizes: Sequence[int]) -> F32:
    """Return row weights, float32 (n,): 1 / sqrt(number of days of the row's subscriber)."""
    counts = np.bincount(np.asarray(readers, dtype=np.int64)) if len(readers) else np.zeros(0)
    each = [1 / counts[reader] ** 0.5 for reader in readers]
    return np.repeat(np.array(each, dtype=np.float32), sizes)
