"""Fits a linear map by contrastive learning (InfoNCE: van den Oord et al. 2018).

Groups of papers belong together: the likes of one subscriber, or a title and its abstract. The mean
of the other papers of a group (a prototype: Snell et al. 2017) should have a higher cosine to each
paper of the group than to papers of other groups and to papers drawn at random. The map is linear
in the earlier vectors and in TF-IDF, so it also works for papers without any like (content in place
of collaborative data: Volkovs et al. 2017). It starts at the earlier space, and training stops
after few steps, because more would overfit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from triage.domain.records import CSR, F32, I64


@dataclass(frozen=True, slots=True)
class TrainingSchedule:
    """Each step draws `groups` groups, at most `of_each` papers of each, and `others` papers."""

    steps: int
    groups: int
    of_each: int
    others: int


LIKES = TrainingSchedule(60, 100, 40, 4_000)
TITLES = TrainingSchedule(100, 1_000, 2, 0)
# The weights of vectors start at a good value, those of words at zero.
TURN_RATE = 0.0003
WORD_RATE = 0.002
SHARPNESS_RATE = 0.01
SHARPNESS = 12.0
# Constants of Adam (Kingma & Ba 2015).
_FIRST, _SECOND, _LEAST = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class ContrastiveMap:
    """A map to a space in which papers that belong together have high cosines.

    Attributes:
        projection: float32 (s, d), for vectors.
        words: float32 (v, d), for TF-IDF.
    """

    projection: F32
    words: F32

    def transform(self, vectors: F32, words: CSR) -> F32:
        """Return float32 (n, d), rows of unit length; zero if the inputs are."""
        return _unit(vectors @ self.projection + words @ self.words)[0]


def fit_contrastive_map(
    vectors: F32,
    words: CSR,
    groups: Sequence[I64],
    start: F32,
    rng: np.random.Generator,
    schedule: TrainingSchedule,
) -> ContrastiveMap:
    """Fit the map with Adam; without usable groups it is `start` with zero weights for words.

    `vectors` is float32 (n, s), `words` float32 CSR (n, v), `start` float32 (s, d). `groups` are
    rows that belong together; groups of fewer than two are not used.
    """
    usable = [own for own in groups if len(own) >= 2]
    values = [start.copy(), np.zeros((words.shape[1], start.shape[1]), dtype=np.float32)]
    values.append(np.array(np.log(SHARPNESS), dtype=np.float32))
    if not usable:
        return ContrastiveMap(*values[:2])
    rates = (TURN_RATE, WORD_RATE, SHARPNESS_RATE)
    first = [np.zeros_like(value) for value in values]
    second = [np.zeros_like(value) for value in values]
    for step in range(schedule.steps):
        drawn = rng.choice(len(usable), min(schedule.groups, len(usable)), replace=False)
        own = [_at_most(usable[number], schedule.of_each, rng) for number in drawn]
        others = rng.choice(len(vectors), min(schedule.others, len(vectors)), replace=False)
        rows = np.concatenate([*own, others])
        gradients = _slopes(vectors[rows], words[rows], [len(each) for each in own], values)
        decay = 0.5 * (1 + np.cos(np.pi * step / schedule.steps))
        for value, slope, rate, *moments in zip(
            values, gradients, rates, first, second, strict=True
        ):
            _update(value, slope, decay * rate, step, *moments)
    return ContrastiveMap(*values[:2])


def _update(value: F32, slope: F32, rate: float, number: int, first: F32, second: F32) -> None:
    """Change a value and its two moments in place by one step of Adam."""
    size = np.empty_like(value)
    first += np.multiply(slope - first, 1 - _FIRST, out=size)
    second += np.multiply(slope**2 - second, 1 - _SECOND, out=size)
    np.sqrt(second, out=size)
    size += np.float32(_LEAST)
    np.divide(first, size, out=size)
    correction = (1 - _SECOND ** (number + 1)) ** 0.5 / (1 - _FIRST ** (number + 1))
    value -= np.multiply(size, rate * correction, out=size)


def _slopes(vectors: F32, words: CSR, sizes: Sequence[int], values: list[F32]) -> list[F32]:
    """Return the gradients of the loss by projection, word weights and log inverse temperature.

    Args:
        vectors, words: the rows of each group in turn, then those of other papers.
        sizes: the number of rows of each group; a group weighs the square root of it.
    """
    projection, by_word, log_sharpness = values
    n, group = sum(sizes), np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum(sizes, dtype=np.int64) - np.array(sizes, dtype=np.int64)
    placed, lengths = _unit(vectors @ projection + words @ by_word)
    own = placed[:n]
    rest, rest_lengths = _unit(np.add.reduceat(own, starts)[group] - own)
    sharpness = np.exp(log_sharpness)
    cosines = rest @ placed.T
    logits = sharpness * cosines
    # Other papers of the same group are not negatives.
    same = group[:, None] == group
    np.fill_diagonal(same, False)
    logits[:, :n][same] = -np.inf
    error = np.exp(logits - logits.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(n), np.arange(n)] -= 1
    weights = (1 / np.sqrt(np.array(sizes, dtype=np.float32)))[group]
    error *= (weights / weights.sum())[:, None]
    at_placed = sharpness * (error.T @ rest)
    at_rest = _before_unit(sharpness * (error @ placed), rest, rest_lengths)
    at_placed[:n] += np.add.reduceat(at_rest, starts)[group] - at_rest
    at_sum = _before_unit(at_placed, placed, lengths)
    by_sharpness = np.array(sharpness * float((error * cosines).sum()), dtype=np.float32)
    return [vectors.T @ at_sum, words.T @ at_sum, by_sharpness]


def main_directions(vectors: F32, d: int) -> F32:
    """Return float32 (s, d), the leading principal directions of uncentred rows, orthonormal."""
    products = vectors.T.astype(np.float64) @ vectors
    _, directions = np.linalg.eigh(products)
    main = directions[:, ::-1][:, :d]
    # The sign of an eigenvector is arbitrary: the largest entry is made positive.
    signs = np.sign(main[np.abs(main).argmax(axis=0), np.arange(main.shape[1])])
    return np.asarray(main * signs, dtype=np.float32)


def _at_most(rows: I64, n: int, rng: np.random.Generator) -> I64:
    return rows if len(rows) <= n else rng.choice(rows, n, replace=False)


def _unit(rows: F32) -> tuple[F32, F32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths = np.where(lengths > 1e-12, lengths, 1).astype(np.float32)
    return np.asarray(rows / lengths, dtype=np.float32), lengths


def _before_unit(slope: F32, unit: F32, lengths: F32) -> F32:
    """Return the gradient by rows from the gradient by the normalized rows."""
    return np.asarray((slope - unit * (slope * unit).sum(axis=1, keepdims=True)) / lengths)
