"""What belongs together is made near, for papers of which nothing is told as well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from triage.domain.records import F32
from triage.ranking.encoder import contrastive
from triage.ranking.encoder.contrastive import (
    LIKES,
    TITLES,
    ContrastiveMap,
    TrainingSchedule,
    fit_contrastive_map,
    main_directions,
)

N_PAPERS, N_WORDS, N_VECTOR = 240, 12, 6


def corpus(seed: int = 0) -> tuple[F32, csr_matrix]:
    """Return papers of one word each, in turn, and vectors that say nothing of words."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(N_PAPERS, N_VECTOR)).astype(np.float32)
    words = np.eye(N_WORDS, dtype=np.float32)[np.arange(N_PAPERS) % N_WORDS]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), csr_matrix(words)


def likes_of_pairs(n: int = 60) -> list[NDArray[np.int64]]:
    """Return readers who like papers with word 0 and 1, or 2 and 3, and so on; not the last 60."""
    rng = np.random.default_rng(1)
    rows = np.arange(N_PAPERS - 60)
    pair = rows % N_WORDS // 2
    return [
        np.sort(rng.choice(rows[pair == number % (N_WORDS // 2)], 6, replace=False))
        for number in range(n)
    ]


def taught(
    groups: list[NDArray[np.int64]], seed: int = 0, course: TrainingSchedule = LIKES
) -> ContrastiveMap:
    vectors, words = corpus()
    start = main_directions(vectors, N_VECTOR)
    return fit_contrastive_map(vectors, words, groups, start, np.random.default_rng(seed), course)


@pytest.fixture(autouse=True)
def enough_steps_for_a_small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrastive, "WORD_RATE", 0.05)


def test_words_that_are_liked_together_are_near_in_papers_that_nobody_has_liked() -> None:
    vectors, words = corpus()
    fresh = slice(N_PAPERS - 60, None)
    placed = taught(likes_of_pairs()).transform(vectors[fresh], words[fresh])
    cosines = placed @ placed.T
    pair = np.arange(60) % N_WORDS // 2
    together = pair[:, None] == pair
    assert cosines[together].mean() > cosines[~together].mean() + 0.5


def test_pairs_alone_tell_as_much() -> None:
    vectors, words = corpus()
    # Papers whose words differ by one, of the pair 0 and 1, or 2 and 3, and so on.
    pairs = [np.array([row, row + 1]) for row in range(0, N_PAPERS - 60, 2)]
    fresh = slice(N_PAPERS - 60, None)
    placed = taught(pairs, course=TITLES).transform(vectors[fresh], words[fresh])
    cosines = placed @ placed.T
    pair = np.arange(60) % N_WORDS // 2
    together = pair[:, None] == pair
    assert cosines[together].mean() > cosines[~together].mean() + 0.5


def test_the_space_begins_as_it_was() -> None:
    vectors, words = corpus()
    found = taught(likes_of_pairs(), course=replace(LIKES, steps=0))
    assert not found.words.any()
    placed = found.transform(vectors, words)
    assert placed @ placed.T == pytest.approx(vectors @ vectors.T, abs=1e-5)


@pytest.mark.parametrize("likes", [[], [np.array([3])], [np.array([], dtype=np.int64)] * 9])
def test_who_likes_no_two_papers_teaches_nothing(likes: list[NDArray[np.int64]]) -> None:
    found = taught(likes)
    assert not found.words.any()
    assert found.projection.T @ found.projection == pytest.approx(np.eye(N_VECTOR), abs=1e-5)


def test_the_main_directions_are_those_of_the_most_spread() -> None:
    vectors = corpus()[0] * np.array([5, 4, 3, 0.1, 0.1, 0.1], dtype=np.float32)
    found = main_directions(vectors, 3)
    assert found.shape == (N_VECTOR, 3)
    assert np.abs(found[3:]).max() < 0.1
    assert found.T @ found == pytest.approx(np.eye(3), abs=1e-5)


def test_the_same_likes_and_seed_give_the_same_map_to_the_bit() -> None:
    first, again, other = (taught(likes_of_pairs(), seed) for seed in (0, 0, 1))
    assert np.array_equal(first.projection, again.projection)
    assert np.array_equal(first.words, again.words)
    assert not np.array_equal(first.words, other.words)


def test_of_a_reader_with_very_many_likes_some_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    slopes = contrastive._slopes

    def watched(vectors: F32, words: csr_matrix, sizes: list[int], values: list[F32]) -> list[F32]:
        seen.extend(sizes)
        return slopes(vectors, words, sizes, values)

    monkeypatch.setattr(contrastive, "_slopes", watched)
    taught([np.arange(100), np.arange(2)])
    assert set(seen) == {2, LIKES.of_each}


def test_a_paper_without_anything_lies_nowhere() -> None:
    found = taught(likes_of_pairs())
    nothing = found.transform(np.zeros((1, N_VECTOR), dtype=np.float32), csr_matrix((1, N_WORDS)))
    assert not nothing.any()


def test_slopes_are_those_of_the_loss() -> None:
    vectors, words = corpus()
    vectors = vectors.astype(np.float64)
    rng = np.random.default_rng(2)
    sizes = [3, 2, 4]
    rows = rng.choice(N_PAPERS, 30, replace=False)
    values = [rng.normal(size=(N_VECTOR, 4)), rng.normal(size=(N_WORDS, 4)), np.array(0.7)]
    found = contrastive._slopes(vectors[rows], words[rows].astype(np.float64), sizes, values)
    for number, slope in enumerate(found):
        for cell in np.ndindex(slope.shape):
            up, down = ([value.copy() for value in values] for _ in range(2))
            up[number][cell] += 1e-5
            down[number][cell] -= 1e-5
            rise = _loss(vectors[rows], words[rows], sizes, up)
            rise -= _loss(vectors[rows], words[rows], sizes, down)
            assert slope[cell] == pytest.approx(rise / 2e-5, abs=1e-5)


def _loss(
    vectors: NDArray[np.float64], words: csr_matrix, sizes: list[int], values: list[F32]
) -> float:
    """The loss as its papers write it, one like after the other."""
    turn, by_word, log_sharpness = values
    placed = vectors @ turn + words.toarray() @ by_word
    placed /= np.linalg.norm(placed, axis=1, keepdims=True)
    reader = np.repeat(np.arange(len(sizes)), sizes)
    total, weight = 0.0, 0.0
    for like, own in enumerate(reader):
        others = [at for at in np.flatnonzero(reader == own) if at != like]
        wrong = [at for at in range(len(placed)) if at not in (*others, like)]
        mean = placed[others].sum(axis=0)
        logits = np.exp(log_sharpness) * placed @ (mean / np.linalg.norm(mean))
        share = np.exp(logits[like]) / (np.exp(logits[like]) + np.exp(logits[wrong]).sum())
        total -= np.log(share) / sizes[own] ** 0.5
        weight += 1 / sizes[own] ** 0.5
    return float(total / weight)
