"""A slate keeps its promises for any scores, and is varied for real ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.records import Placement, Policy
from triage.ranking.slate import InterestShares, build_slate

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


# -- several interests -----------------------------------------------------------------------------


def aimed(
    scores: np.ndarray,
    aims: InterestShares,
    *,
    size: int = 10,
    floor: float = 0.2,
    n: int = 0,
    seed: int = 0,
) -> tuple[Placement, ...]:
    return build_slate(
        scores, vectors(len(scores)), size=size, floor=floor, n_exploration=n, aims=aims,
        rng=np.random.default_rng(seed),
    )  # fmt: skip


@st.composite
def aims_and_scores(draw: st.DrawFn) -> tuple[np.ndarray, InterestShares]:
    n = draw(st.integers(0, 60))
    scores = np.array(draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    sizes = np.array(draw(st.lists(st.integers(0, 9), max_size=5)), dtype=float)
    belongs = st.integers(-1, len(sizes) - 1)
    nearest = draw(st.lists(belongs, min_size=n, max_size=n))
    return scores, InterestShares(np.array(nearest, dtype=np.int32), sizes / max(sizes.sum(), 1))


@given(aims_and_scores(), sizes, st.floats(0, 1), st.integers(0, 2), st.integers(0, 3))
def test_each_interest_has_its_share_as_far_as_its_papers_are_good(
    drawn: tuple[np.ndarray, InterestShares], size: int, floor: float, n: int, seed: int
) -> None:
    scores, aims = drawn
    placements = aimed(scores, aims, size=size, floor=floor, n=n, seed=seed)
    rows = [p.row for p in placements]
    ranked = [p.row for p in placements if p.policy is Policy.RANKED]
    places = size - max(0, min(n, size // 10))
    good = (scores >= floor) & ~aims.find_paused()
    assert [p.position for p in placements] == list(range(1, len(rows) + 1))
    assert len(set(rows)) == len(rows) <= size
    assert len(ranked) == min(places, int(good.sum()))
    assert all(scores[row] >= floor for row in ranked)
    assert not aims.find_paused()[rows].any()
    if np.count_nonzero(aims.shares) > 1 and places:
        for interest, share in enumerate(aims.shares):
            there = int((good & (aims.nearest == interest)).sum())
            shown = int((aims.nearest[ranked] == interest).sum())
            assert shown >= min(there, int(share * (places - 1) + 1e-9))


@given(days, sizes, st.integers(0, 9))
def test_one_interest_changes_nothing(scores: np.ndarray, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    nearest = rng.integers(-1, 1, size=len(scores)).astype(np.int32)
    one = aimed(scores, InterestShares(nearest, np.array([1.0])), size=size)
    assert one == slate(scores, size=size, n=0)


def two_interests(n: int = 30) -> tuple[np.ndarray, InterestShares]:
    """Return a day on which all papers of interest 0 score more than all of interest 1."""
    scores = np.concatenate([np.linspace(0.9, 0.8, n), np.linspace(0.5, 0.4, n)])
    return scores, InterestShares(np.repeat(np.arange(2, dtype=np.int32), n), np.array([0.6, 0.4]))


def test_the_weaker_interest_is_served_from_the_top_on() -> None:
    scores, aims = two_interests()
    whose = aims.nearest[[p.row for p in aimed(scores, aims, size=11)]]
    assert whose[0] == 0
    assert (whose == 1).sum() == 4
    assert all((whose[: t + 1] == 1).sum() >= int(0.4 * t + 1e-9) for t in range(11))


def test_without_aims_the_stronger_interest_takes_all() -> None:
    scores, _ = two_interests()
    assert all(p.row < 30 for p in slate(scores, n=0))


def test_an_interest_without_a_good_paper_gives_its_places_to_the_other() -> None:
    scores, aims = two_interests()
    rows = [p.row for p in aimed(scores, aims, floor=0.6)]
    assert len(rows) == 10
    assert set(aims.nearest[rows]) == {0}


def test_a_resting_interest_is_shown_nowhere() -> None:
    scores, aims = two_interests()
    for seed in range(10):
        rested = aimed(scores, InterestShares(aims.nearest, np.array([0.0, 1.0])), n=1, seed=seed)
        assert set(aims.nearest[[p.row for p in rested]]) == {1}


def test_exploration_goes_where_no_interest_is() -> None:
    scores = np.linspace(1, 0, 60)
    nearest = np.where(np.arange(60) % 2, -1, 0).astype(np.int32)
    seen = set()
    for seed in range(200):
        *_, last = aimed(scores, InterestShares(nearest, np.array([1.0])), n=1, seed=seed)
        assert last.policy is Policy.EXPLORATION
        assert nearest[last.row] == -1
        seen.add((last.row, last.propensity))
    assert {chance for _, chance in seen} == {1 / 20}
    assert len({row for row, _ in seen}) == 20


# -- asking ----------------------------------------------------------------------------------------


def asked(
    scores: np.ndarray, *, size: int = 10, floor: float = 0.2, seed: int = 0
) -> tuple[Placement, ...]:
    return build_slate(
        scores, vectors(len(scores)), size=size, floor=floor, n_exploration=1, asking=True,
        rng=np.random.default_rng(seed),
    )  # fmt: skip


@given(days, sizes, st.floats(0, 1), st.integers(0, 9))
def test_at_most_a_third_of_a_first_slate_asks(
    scores: np.ndarray, size: int, floor: float, seed: int
) -> None:
    placements = asked(scores, size=size, floor=floor, seed=seed)
    assert [p.position for p in placements] == list(range(1, len(placements) + 1))
    assert len({p.row for p in placements}) == len(placements) <= size
    questions = [p for p in placements if p.policy is Policy.EXPLORATION]
    assert placements[len(placements) - len(questions) :] == tuple(questions)
    assert len(questions) <= size // 3
    assert all(0 < p.propensity <= 1 for p in questions)
    assert bool(questions) <= (len(questions) < len(placements))


def test_a_question_comes_as_often_as_its_propensity_says() -> None:
    scores, n = np.linspace(1, 0.5, 30), 4_000
    counted: dict[tuple[int, int], int] = {}
    chances: dict[tuple[int, int], float] = {}
    for seed in range(n):
        for each in asked(scores, seed=seed)[7:]:
            key = (each.position, each.row)
            counted[key] = counted.get(key, 0) + 1
            chances[key] = each.propensity
    for position in (8, 9, 10):
        here = [key for key in counted if key[0] == position]
        assert sum(chances[key] for key in here) == pytest.approx(1)
        expected = np.array([n * chances[key] for key in here])
        chi2 = float(((np.array([counted[key] for key in here]) - expected) ** 2 / expected).sum())
        # The seeds are fixed: this is 3.5 standard deviations above the mean of the distribution.
        assert chi2 < len(here) - 1 + 3.5 * np.sqrt(2 * len(here))


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
