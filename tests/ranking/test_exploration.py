"""The chances of exploration are declared, sum to one, and are the ones that the dice have."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import DAY
from triage.ranking.exploration import POOL_SIZE, asking_pools, draw, exploration_pool, slate_rng

scores = st.lists(st.floats(0, 1), max_size=60).map(np.array)


@given(scores, st.sets(st.integers(0, 59), max_size=10), st.floats(0, 1))
def test_a_pool_is_small_and_plausible_and_nobody_is_taken_twice(
    values: np.ndarray, taken: set[int], floor: float
) -> None:
    rows = exploration_pool(values, taken, floor)
    assert len(rows) == len(set(rows.tolist())) <= POOL_SIZE
    assert not taken & set(rows.tolist())
    if len(values):
        assert all(values[row] >= min(floor / 4, np.median(values)) for row in rows)


def test_the_pool_is_the_best_of_the_rest() -> None:
    rows = exploration_pool(np.array([0.9, 0.2, 0.8, 0.01, 0.3]), {0}, floor=0.2)
    assert rows.tolist() == [2, 4, 1]


def test_the_pool_is_outside_the_usual_picks() -> None:
    values = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    usual = np.array([True, True, False, True, False])
    assert exploration_pool(values, {0}, 0.2, usual).tolist() == [2, 4]
    assert exploration_pool(values, {2, 4}, 0.2, usual).tolist() == [0, 1, 3]


def test_on_a_day_of_poor_scores_the_better_half_is_plausible() -> None:
    values = np.array([0.9, 0.03, 0.02, 0.01, 0.001])
    assert exploration_pool(values, {0}, 0.2).tolist() == [1, 2]


@given(scores, st.sets(st.integers(0, 59), max_size=10), st.integers(0, 6), st.integers(0, 9))
def test_questions_part_all_that_is_plausible(
    values: np.ndarray, taken: set[int], n: int, seed: int
) -> None:
    dense = np.random.default_rng(seed).normal(size=(len(values), 3)).astype(np.float32)
    pools = asking_pools(values, dense, taken, 0.2, n)
    rows = [row for pool in pools for row in pool.tolist()]
    assert len(pools) <= n
    assert all(len(pool) for pool in pools)
    assert len(set(rows)) == len(rows)
    assert not taken & set(rows)
    if n and len(values):
        least = min(0.05, float(np.median(values)))
        assert set(rows) == {i for i, v in enumerate(values) if v >= least} - taken


def test_questions_are_far_from_each_other() -> None:
    dense = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0)
    pools = asking_pools(np.linspace(1, 0.5, 30), dense, {0}, 0.2, 3)
    assert sorted(sorted(pool.tolist()) for pool in pools) == [
        list(range(1, 10)), list(range(10, 20)), list(range(20, 30)),
    ]  # fmt: skip


def test_papers_come_as_often_as_their_propensity_says_at_every_turn() -> None:
    rows, rng, n = np.arange(10, 15), np.random.default_rng(1), 20_000
    first, second = Counter[int](), Counter[int]()
    for _ in range(n):
        (a, chance), (b, later) = draw(rows, 2, rng)
        assert a != b
        assert chance == later == 0.2
        first[a] += 1
        second[b] += 1
    for counted in (first, second):
        assert all(abs(counted[int(row)] / n - 0.2) < 0.02 for row in rows)


def test_an_empty_pool_draws_nothing() -> None:
    assert draw(np.zeros(0, dtype=np.int64), 1, np.random.default_rng(0)) == ()


def test_dice_depend_on_subscriber_and_date_alone() -> None:
    def roll(subscriber: int, days: int) -> float:
        return float(slate_rng(1, subscriber, DAY + timedelta(days)).random())

    assert roll(1, 0) == roll(1, 0)
    assert len({roll(1, 0), roll(2, 0), roll(1, 1), float(slate_rng(2, 1, DAY).random())}) == 4
