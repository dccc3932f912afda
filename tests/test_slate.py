"""A slate keeps its promises for any scores, and is varied for real ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.records import Placement, Policy
from triage.slate import build_slate

sizes = st.integers(0, 30)
days = st.lists(st.floats(0, 1), max_size=80).map(np.array)


def vectors(n: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slate(
    scores: np.ndarray, *, size: int = 10, floor: float = 0.2, n: int = 1, seed: int = 0
) -> tuple[Placement, ...]:
    return build_slate(
        scores, vectors(len(scores)), size=size, floor=floor, n_exploration=n,
        rng=np.random.default_rng(seed),
    )  # fmt: skip


@given(days, sizes, st.floats(0, 1), st.integers(0, 5), st.integers(0, 9))
def test_every_slate_keeps_its_promises(
    scores: np.ndarray, size: int, floor: float, n: int, seed: int
) -> None:
    placements = slate(scores, size=size, floor=floor, n=n, seed=seed)
    assert [p.position for p in placements] == list(range(1, len(placements) + 1))
    assert len({p.row for p in placements}) == len(placements) <= size
    ranked = [p for p in placements if p.policy is Policy.RANKED]
    explored = [p for p in placements if p.policy is Policy.EXPLORATION]
    assert placements == (*ranked, *explored)
    assert all(p.score >= floor and p.propensity == 1 for p in ranked)
    assert all(0 < p.propensity <= 1 for p in explored)
    assert len(explored) <= size // 10
    assert bool(explored) <= bool(ranked)
    assert all(p.score == scores[p.row] for p in placements)
    assert placements == slate(scores, size=size, floor=floor, n=n, seed=seed)


def test_no_candidates_give_an_empty_slate() -> None:
    assert slate(np.zeros(0)) == ()


def test_a_poor_day_is_short_and_a_hopeless_one_empty() -> None:
    assert len(slate(np.array([0.9, 0.3, 0.02, 0.01]))) == 2
    assert slate(np.array([0.1, 0.06])) == ()


def test_the_best_paper_stands_on_top() -> None:
    assert slate(np.array([0.3, 0.9, 0.5]))[0].row == 1


def test_the_dice_change_the_exploration_slot_and_nothing_else() -> None:
    scores = np.linspace(1, 0, 60)
    slates = [slate(scores, seed=seed) for seed in range(20)]
    assert len({s[:-1] for s in slates}) == 1
    assert len({s[-1].row for s in slates}) > 3
    assert {s[-1].propensity for s in slates} == {1 / 20}


def test_near_duplicates_and_one_interest_do_not_fill_the_slate() -> None:
    dense = np.zeros((30, 2), dtype=np.float32)
    dense[:25, 0] = 1
    dense[25:, 1] = 1
    scores = np.concatenate([np.linspace(0.9, 0.8, 25), np.full(5, 0.7)])
    placements = build_slate(
        scores, dense, size=6, floor=0.1, n_exploration=0, rng=np.random.default_rng(0)
    )
    assert [p.row for p in placements][:2] == [0, 25]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_broken_score_is_an_error_and_not_a_ranking(bad: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        slate(np.array([0.5, bad]))


def test_scores_of_other_papers_are_refused() -> None:
    with pytest.raises(ValueError, match="vectors"):
        build_slate(
            np.array([0.5]), vectors(2), size=5, floor=0, n_exploration=0,
            rng=np.random.default_rng(0),
        )  # fmt: skip
