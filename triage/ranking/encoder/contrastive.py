"""What tells where papers belong: what belongs together is made near.

    likes of many readers, titles with abstracts ─┐
    vectors and words of papers ──────────────────┴→ a map of both to a space of its own

Each like of a reader is to be found, among what others like and papers at large, by the mean of the
reader's other likes (InfoNCE: van den Oord et al. 2018; the mean: Snell et al. 2017); an abstract
is to be found, among other papers' titles and abstracts, by its title, and the other way round. The
map is linear in the vectors that were there before and in words, so it serves papers that nobody
has liked yet (content stands in for the crowd: Volkovs et al. 2017). It begins at the old space and
few steps are taken: with more, it knows what it was told by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from triage.domain.records import F32, I64

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True)
class TrainingSchedule:
    """How many steps are taken, each with so many groups, of each at most so many, and others."""

    steps: int
    groups: int
    of_each: int
    others: int


LIKES = TrainingSchedule(60, 100, 40, 4_000)
TITLES = TrainingSchedule(100, 1_000, 2, 0)
# Vectors are right already, words begin at nothing.
TURN_RATE = 0.0003
WORD_RATE = 0.002
SHARPNESS_RATE = 0.01
SHARPNESS = 12.0
# Adam's (Kingma & Ba 2015).
_FIRST, _SECOND, _LEAST = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class ContrastiveMap:
    """A map to a space in which what one reader likes is near.

    Attributes:
        projection: float32 (s, d), of vectors.
        words: float32 (v, d), of words.
    """

    projection: F32
    words: F32

    def transform(self, vectors: F32, words: csr_matrix) -> F32:
        """Return float32 (n, d), rows of unit length; all zero for a paper without either."""
        return _unit(vectors @ self.projection + words @ self.words)[0]


def fit_contrastive_map(
    vectors: F32,
    words: csr_matrix,
    groups: Sequence[I64],
    start: F32,
    rng: np.random.Generator,
    course: TrainingSchedule,
) -> ContrastiveMap:
    """Learn from what belongs together.

    Args:
        vectors: float32 (n, s).
        words: float32 CSR (n, v).
        groups: rows that belong together; fewer than two tell nothing.
        start: float32 (s, d), the turn to begin with.

    Returns:
        The turn to begin with, and no words, where there is nothing to learn from.
    """
    telling = [own for own in groups if len(own) >= 2]
    values = [start.copy(), np.zeros((words.shape[1], start.shape[1]), dtype=np.float32)]
    values.append(np.array(np.log(SHARPNESS), dtype=np.float32))
    if not telling:
        return ContrastiveMap(*values[:2])
    rates = (TURN_RATE, WORD_RATE, SHARPNESS_RATE)
    first = [np.zeros_like(value) for value in values]
    second = [np.zeros_like(value) for value in values]
    for step in range(course.steps):
        some = rng.choice(len(telling), min(course.groups, len(telling)), replace=False)
        own = [_at_most(telling[number], course.of_each, rng) for number in some]
        others = rng.choice(len(vectors), min(course.others, len(vectors)), replace=False)
        rows = np.concatenate([*own, others])
        slopes = _slopes(vectors[rows], words[rows], [len(each) for each in own], values)
        cooling = 0.5 * (1 + np.cos(np.pi * step / course.steps))
        for value, slope, rate, *moments in zip(values, slopes, rates, first, second, strict=True):
            _step(value, slope, cooling * rate, step, *moments)
    return ContrastiveMap(*values[:2])


def _step(value: F32, slope: F32, rate: float, number: int, first: F32, second: F32) -> None:
    """Change a value and its moments by a step down the slope, all of them in place."""
    size = np.empty_like(value)
    first += np.multiply(slope - first, 1 - _FIRST, out=size)
    second += np.multiply(slope**2 - second, 1 - _SECOND, out=size)
    np.sqrt(second, out=size)
    size += np.float32(_LEAST)
    np.divide(first, size, out=size)
    straightened = (1 - _SECOND ** (number + 1)) ** 0.5 / (1 - _FIRST ** (number + 1))
    value -= np.multiply(size, rate * straightened, out=size)


def _slopes(vectors: F32, words: csr_matrix, sizes: Sequence[int], values: list[F32]) -> list[F32]:
    """Return the slopes of the loss by turn, words and the logarithm of the sharpness.

    Args:
        vectors, words: of each reader's likes in turn, and of papers at large after them.
        sizes: how many likes each reader has; a reader weighs the root of it.
    """
    turn, by_word, log_sharpness = values
    n, reader = sum(sizes), np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum(sizes, dtype=np.int64) - np.array(sizes, dtype=np.int64)
    placed, lengths = _unit(vectors @ turn + words @ by_word)
    own = placed[:n]
    rest, rest_lengths = _unit(np.add.reduceat(own, starts)[reader] - own)
    sharpness = np.exp(log_sharpness)
    cosines = rest @ placed.T
    logits = sharpness * cosines
    # What else the reader likes is no wrong answer.
    same = reader[:, None] == reader
    np.fill_diagonal(same, False)
    logits[:, :n][same] = -np.inf
    pull = np.exp(logits - logits.max(axis=1, keepdims=True))
    pull /= pull.sum(axis=1, keepdims=True)
    pull[np.arange(n), np.arange(n)] -= 1
    weights = (1 / np.sqrt(np.array(sizes, dtype=np.float32)))[reader]
    pull *= (weights / weights.sum())[:, None]
    at_placed = sharpness * (pull.T @ rest)
    at_rest = _before_unit(sharpness * (pull @ placed), rest, rest_lengths)
    at_placed[:n] += np.add.reduceat(at_rest, starts)[reader] - at_rest
    at_sum = _before_unit(at_placed, placed, lengths)
    by_sharpness = np.array(sharpness * float((pull * cosines).sum()), dtype=np.float32)
    return [vectors.T @ at_sum, words.T @ at_sum, by_sharpness]


def main_directions(vectors: F32, d: int) -> F32:
    """Return float32 (s, d), the directions along which rows spread most, orthonormal."""
    products = vectors.T.astype(np.float64) @ vectors
    _, directions = np.linalg.eigh(products)
    main = directions[:, ::-1][:, :d]
    # A direction has no sign of its own.
    signs = np.sign(main[np.abs(main).argmax(axis=0), np.arange(main.shape[1])])
    return np.asarray(main * signs, dtype=np.float32)


def _at_most(rows: I64, n: int, rng: np.random.Generator) -> I64:
    return rows if len(rows) <= n else rng.choice(rows, n, replace=False)


def _unit(rows: F32) -> tuple[F32, F32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths = np.where(lengths > 1e-12, lengths, 1).astype(np.float32)
    return np.asarray(rows / lengths, dtype=np.float32), lengths


def _before_unit(slope: F32, unit: F32, lengths: F32) -> F32:
    """Return the slope by rows, from that by the same rows made of unit length."""
    return np.asarray((slope - unit * (slope * unit).sum(axis=1, keepdims=True)) / lengths)
