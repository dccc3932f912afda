"""The nearest vectors are found, as good as exactly, though they are held small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from triage.domain.records import F32
from triage.papers.vector_index import Nearest


def some_vectors(n: int, d: int = 272, seed: int = 0) -> F32:
    """Return float32 (n, d) of unit length, in a few clusters, as papers are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, d))
    rows = centres[rng.integers(20, size=n)] + rng.standard_normal((n, d))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def ids(n: int, first: int = 1) -> NDArray[np.int64]:
    return np.arange(first, first + n, dtype=np.int64)


def exactly(vectors: F32, vector: F32, n: int) -> list[int]:
    return [int(row) + 1 for row in np.argsort(-(vectors @ vector))[:n]]


@pytest.fixture(scope="module")
def vectors() -> F32:
    return some_vectors(20_000)


@pytest.fixture(scope="module")
def nearest(vectors: F32) -> Nearest:
    made = Nearest()
    made.add(ids(12_000), vectors[:12_000])
    made.add(ids(8_000, 12_001), vectors[12_000:])
    return made


def test_a_vector_is_nearest_to_itself(nearest: Nearest, vectors: F32) -> None:
    for row in (0, 7, 11_999, 12_000, 19_999):
        assert nearest.find(vectors[row], 1) == [row + 1]


def test_nearly_all_of_the_nearest_are_found(nearest: Nearest, vectors: F32) -> None:
    """Of 20,000 vectors not half are put into order by more than their signs."""
    shares = []
    for wanted in vectors[::1000] + 0.5 * vectors[1::1000]:
        found = nearest.find(wanted, 100)
        shares.append(len({*found} & {*exactly(vectors, wanted, 100)}) / 100)
    assert np.mean(shares) > 0.95


def test_only_those_among_the_given_are_found(nearest: Nearest, vectors: F32) -> None:
    few = np.array([3, 500, 12_500, 19_000, 30_000])
    found = nearest.find(vectors[499], 10, few)
    assert found[0] == 500
    assert {*found} <= {3, 500, 12_500, 19_000}
    assert nearest.find(vectors[499], 10, np.array([], dtype=np.int64)) == []


def test_what_comes_later_is_found_too(vectors: F32) -> None:
    growing = Nearest()
    assert growing.newest == 0
    assert growing.find(vectors[0], 5) == []
    growing.add(ids(5), vectors[:5])
    growing.add(ids(0), vectors[:0])
    growing.add(ids(3, 9), vectors[8:11])
    assert (len(growing), growing.newest) == (8, 11)
    assert growing.find(vectors[9], 1) == [10]


def test_vectors_come_back_as_they_were_but_for_rounding(nearest: Nearest, vectors: F32) -> None:
    back = nearest.vectors(np.array([12_001, 4, 777_777]))
    assert np.abs(back - vectors[[3, 12_000]]).max() < 0.002
    assert nearest.vectors(np.array([777_777])).shape[0] == 0


def test_nothing_is_near_a_vector_of_zeros(vectors: F32) -> None:
    sparse = Nearest()
    sparse.add(ids(3), np.vstack([vectors[:2], np.zeros((1, 272), dtype=np.float32)]))
    assert sparse.find(np.zeros(272, dtype=np.float32), 3) == []
    assert 3 not in sparse.find(vectors[0], 3)


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 200), st.integers(0, 5), st.integers(1, 50))
def test_few_vectors_are_ordered_as_by_cosine(n: int, d: int, seed: int, limit: int) -> None:
    some = some_vectors(n, d, seed)
    made = Nearest()
    made.add(ids(n), some)
    cosines = some @ some[0]
    found = np.array(made.find(some[0], limit)) - 1
    assert len(found) <= limit
    assert (np.diff(cosines[found]) < 0.02).all()
    assert len(found) >= min(limit, int((cosines > 0.02).sum()))
