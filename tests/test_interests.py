"""A reader's likes fall into as many interests as they have, and the same likes into the same."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import topics
from triage.interests import (
    MAX_INTERESTS,
    MAX_LINKED,
    USUAL_APARTNESS,
    apartness,
    cluster,
)


def around(*centres: int, n: int = 10, d: int = 8, spread: float = 0.1) -> np.ndarray:
    """Return n rows near each of the axes `centres`, one axis after the other."""
    rows = np.repeat(np.eye(d)[list(centres)], n, axis=0)
    rows = rows + np.random.default_rng(0).normal(size=rows.shape) * spread
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def likes(*names: str, n: int = 8) -> np.ndarray:
    rows = [row for name in names for row in topics.rows_of(name)[:n]]
    return topics.library(*rows).encodings.dense


def apart() -> float:
    return apartness(topics.everything().encodings.dense)


# -- how many --------------------------------------------------------------------------------------


def test_one_interest_is_not_split() -> None:
    assert set(cluster(likes("decoding"), apart())) == {0}


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_two_unrelated_interests_are_parted_however_few_likes_there_are(n: int) -> None:
    assert cluster(likes("decoding", "proteins", n=n), apart()).tolist() == [0] * n + [1] * n


def test_the_largest_interest_comes_first_and_of_equal_ones_the_earlier() -> None:
    dense = np.vstack([around(0, n=2), around(1, n=5), around(2, n=2)])
    assert cluster(dense).tolist() == [1, 1, 0, 0, 0, 0, 0, 2, 2]


def test_a_stray_like_is_a_small_interest_of_its_own() -> None:
    labels = cluster(np.vstack([around(5, n=1), around(0, n=20)]))
    assert labels.tolist() == [1] + [0] * 20


def test_there_are_never_too_many_interests() -> None:
    assert len(set(cluster(np.eye(40, dtype=np.float32)))) == MAX_INTERESTS


def test_nothing_and_papers_without_known_words_are_no_trouble() -> None:
    assert cluster(np.zeros((0, 4), np.float32)).tolist() == []
    assert cluster(np.zeros((3, 4), np.float32)).tolist() == [0, 1, 2]
    assert cluster(np.ones((5, 1), np.float32)).tolist() == [0] * 5


def test_older_likes_join_the_interest_that_they_are_near_to() -> None:
    dense = np.vstack([around(0, 1, n=MAX_LINKED // 2), around(1, n=30)])
    assert cluster(dense).tolist() == [1] * (MAX_LINKED // 2) + [0] * (MAX_LINKED // 2 + 30)


@given(st.integers(0, 60), st.integers(1, 12), st.integers(0, 9), st.floats(-0.2, 0.9))
def test_labels_are_gapless_by_size_and_repeatable(n: int, d: int, seed: int, at: float) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    dense = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    labels = cluster(dense, at)
    sizes = np.bincount(labels, minlength=1)
    assert labels.shape == (n,)
    assert labels.dtype == np.int32
    assert n == 0 or sizes.min() > 0
    assert all(a >= b for a, b in pairwise(sizes))
    assert np.array_equal(labels, cluster(dense.copy(), at))


# -- how near is near ------------------------------------------------------------------------------


def test_how_near_is_near_follows_the_encoders_scale() -> None:
    dense = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)
    shifted = dense + 1
    for rows in (dense, shifted):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert apartness(dense) == pytest.approx(1 / np.sqrt(32), abs=0.02)
    assert apartness(shifted) > 0.5


def test_few_papers_say_nothing_about_the_scale() -> None:
    assert apartness(np.eye(20, dtype=np.float32)) == USUAL_APARTNESS
    assert apartness(np.zeros((100, 4), np.float32)) == USUAL_APARTNESS
