"""The figures agree with their definitions and with LightGBM's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.training.evaluation.metrics import (
    calibration,
    coverage,
    intra_list_diversity,
    ndcg,
    recall,
    reciprocal_rank,
)

relevances = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def test_ndcg_of_a_worked_example() -> None:
    # gains 3, 0, 1 at discounts 1, 1/log2(3), 1/2; ideal 3, 1, 0
    assert ndcg([2, 0, 1], 3) == pytest.approx(3.5 / (3 + 1 / math.log2(3)))


def test_ndcg_is_lightgbms_own() -> None:
    import lightgbm

    rng = np.random.default_rng(3)
    sizes = [7, 25, 12, 40]
    X = rng.normal(size=(sum(sizes), 4))
    relevance = rng.integers(0, 4, sum(sizes))
    data = lightgbm.Dataset(X, relevance, group=sizes)
    params = {
        "objective": "lambdarank", "metric": "ndcg", "eval_at": [1, 5, 10], "num_threads": 1,
        "label_gain": [0, 1, 3, 7], "min_data_in_leaf": 2, "verbosity": -1,
    }  # fmt: skip
    record: dict[str, dict[str, list[float]]] = {}
    booster = lightgbm.train(
        params, data, 5, valid_sets=[data], callbacks=[lightgbm.record_evaluation(record)]
    )
    scores = np.asarray(booster.predict(X, raw_score=True))
    ends = np.cumsum(sizes)[:-1]
    for k in (1, 5, 10):
        ours = [
            ndcg(group[np.argsort(-score, kind="stable")], k)
            for group, score in zip(np.split(relevance, ends), np.split(scores, ends), strict=True)
        ]
        assert np.mean(ours) == pytest.approx(record["training"][f"ndcg@{k}"][-1], abs=1e-9)


@given(relevances, st.integers(1, 50))
def test_ndcg_and_recall_are_shares_that_the_ideal_order_fills(values: list[int], k: int) -> None:
    for figure in (ndcg, recall):
        assert math.isnan(figure(values, k)) == (max(values) == 0)
        if max(values):
            assert 0 <= figure(values, k) <= 1
            assert figure(sorted(values, reverse=True), k) == pytest.approx(1)


def test_recall_counts_what_k_positions_can_hold() -> None:
    assert recall([0, 1, 1, 1], 2) == 0.5
    assert recall([1, 1, 1, 1], 2) == 1.0


def test_reciprocal_rank_is_of_the_first_relevant_row() -> None:
    assert reciprocal_rank([0, 0, 2, 3]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("values", [[], [0], [0, 0, 0]])
def test_what_is_undefined_is_nan_and_not_zero(values: list[int]) -> None:
    assert math.isnan(ndcg(values, 10))
    assert math.isnan(recall(values, 10))
    assert math.isnan(reciprocal_rank(values))


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    rows = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    assert intra_list_diversity(rows) == pytest.approx(2 / 3)
    assert intra_list_diversity(rows[[0, 2]]) == pytest.approx(0)
    assert math.isnan(intra_list_diversity(rows[:1]))


@pytest.mark.parametrize(("values", "k"), [([1], 0), ([-1, 0], 3), ([float("nan")], 3)])
def test_nonsense_is_refused(values: list[float], k: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        ndcg(values, k)


def test_coverage_is_the_share_of_papers_that_reach_anybody() -> None:
    assert coverage([(1, 2), (2, 3), ()], range(1, 7)) == 0.5
    assert coverage([(1, 99)], [1, 2]) == 0.5
    assert coverage([], [1, 2]) == 0
    assert math.isnan(coverage([(1,)], []))


def test_calibration_of_a_worked_example() -> None:
    # Three papers at 0.2 to 0.3, of which one was liked, and three at 0.6 to 1 that all were.
    told = calibration([0.2, 0.3, 0.25, 0.6, 0.8, 1.0], [1, 0, 0, 1, 1, 1], 2)
    assert [(each.low, each.high, each.n) for each in told.bins] == [(0.2, 0.3, 3), (0.6, 1.0, 3)]
    assert [each.mean_chance for each in told.bins] == pytest.approx([0.25, 0.8])
    assert [each.share_liked for each in told.bins] == pytest.approx([1 / 3, 1])
    assert told.error == pytest.approx((1 / 12 + 0.2) / 2)
    assert told.brier == pytest.approx((0.64 + 0.09 + 0.0625 + 0.16 + 0.04 + 0) / 6)


def test_bins_have_nearly_the_same_number_of_papers() -> None:
    told = calibration([0.01] * 90 + [0.9] * 14, [0] * 104)
    assert {each.n for each in told.bins} == {10, 11}


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 20))
def test_calibration_counts_every_paper_once(papers: list[tuple[float, bool]], n: int) -> None:
    told = calibration([score for score, _ in papers], [liked for _, liked in papers], n)
    assert sum(each.n for each in told.bins) == len(papers)
    assert 0 <= told.error <= 1
    assert 0 <= told.brier <= 1
    liked = sum(each.n * each.share_liked for each in told.bins)
    assert liked == pytest.approx(sum(liked for _, liked in papers))


def test_nothing_scored_is_neither_well_nor_badly_calibrated() -> None:
    told = calibration([], [])
    assert told.bins == ()
    assert math.isnan(told.error)
    assert math.isnan(told.brier)


@pytest.mark.parametrize(("scores", "liked"), [([1.5], [1]), ([-0.1], [0]), ([0.5], [1, 0])])
def test_what_cannot_be_chances_is_refused(scores: list[float], liked: list[int]) -> None:
    with pytest.raises(ValueError, match="chance"):
        calibration(scores, liked)
