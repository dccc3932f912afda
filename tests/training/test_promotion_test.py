"""Only what later slates show to be better beyond chance may serve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.records import F64
from triage.training.evaluation.bootstrap import interval
from triage.training.evaluation.metrics import HeldOut, ndcg, slate_ndcg
from triage.training.promotion_test import FEWEST_SLATES, Winner, decide


def dice(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def owners(n_subscribers: int, n_each: int) -> np.ndarray:
    return np.repeat(np.arange(n_subscribers), n_each)


def verdict(challenger: F64, serving: F64, cold: F64 | None, who: np.ndarray) -> Winner:
    return decide(challenger, serving, cold, who, dice())[0]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=14),
        min_size=1,
        max_size=5,
    )
)
def test_unweighed_slates_have_the_ndcg_of_the_metrics(slates: list[list[tuple[int, int]]]) -> None:
    sizes = [len(slate) for slate in slates]
    rows = [row for slate in slates for row in slate]
    relevance = np.array([row[0] for row in rows])
    scores = np.array([row[1] for row in rows], dtype=np.float64)
    starts = np.cumsum([0, *sizes[:-1]])
    found = slate_ndcg(scores, HeldOut(starts, 2.0**relevance - 1, np.zeros(len(sizes), np.int64)))
    for start, size, value in zip(starts, sizes, found, strict=True):
        part = slice(start, start + size)
        order = np.argsort(-scores[part], kind="stable")
        assert value == pytest.approx(ndcg(relevance[part][order], 10), nan_ok=True)


def test_a_clear_gain_of_many_subscribers_is_promoted() -> None:
    serving = dice(1).uniform(0.3, 0.7, 60)
    better = serving + dice(2).normal(0.1, 0.1, 60)
    assert verdict(better, serving, None, owners(20, 3)) is Winner.CHALLENGER
    assert verdict(serving, better, None, owners(20, 3)) is Winner.SERVING


def test_a_gain_of_one_busy_subscriber_is_not() -> None:
    serving = np.full(100, 0.5)
    better = serving.copy()
    better[:60] += 0.3
    who = np.r_[np.zeros(60, int), np.arange(1, 41)]
    better[60:] -= 0.01
    assert verdict(better, serving, None, who) is Winner.SERVING


def test_chance_is_rarely_taken_for_a_gain() -> None:
    promoted = sum(
        decide(*np.random.default_rng(seed).random((2, 30)), None, owners(10, 3), dice())[0]
        is Winner.CHALLENGER
        for seed in range(200)
    )
    assert promoted <= 8


def test_what_is_worse_than_the_pretrained_ranker_is_never_promoted() -> None:
    serving = dice(1).uniform(0.2, 0.4, 60)
    who = owners(20, 3)
    challenger, cold = serving + 0.1, serving + 0.2
    winner, why = decide(challenger, serving, cold, who, dice())
    assert winner is Winner.PRETRAINED
    assert why.startswith("what served is worse than the pretrained ranker")
    # The cold scorer's lead over what serves may be chance; the challenger is behind it anyway.
    shaky = challenger + dice(3).normal(0.01, 2.0, 60)
    shaky += 0.01 - (shaky - challenger).mean()
    assert decide(challenger, serving, shaky, who, dice()) == (
        Winner.SERVING,
        f"not better than the pretrained ranker: nDCG@10 {challenger.mean():.3f} against"
        f" {serving.mean():.3f} on 60 later slates",
    )


def test_what_serves_stays_unless_the_pretrained_ranker_is_better_beyond_chance() -> None:
    serving = dice(1).uniform(0.2, 0.4, 60)
    cold = serving + dice(2).normal(0.005, 0.2, 60)
    assert verdict(serving, serving, cold, owners(20, 3)) is Winner.SERVING


def test_a_few_slates_judge_nobody() -> None:
    serving = np.full(FEWEST_SLATES - 1, 0.1)
    winner, why = decide(serving + 0.8, serving, None, np.arange(len(serving)), dice())
    assert winner is Winner.SERVING
    assert "too few to judge by" in why


def test_slates_without_a_good_paper_do_not_count() -> None:
    values = np.array([0.2, np.nan, 0.4, 0.3, np.nan, 0.3, 0.3])
    who = np.arange(7)
    assert interval(values, who, dice()).mean == pytest.approx(0.3)
    nothing = interval(np.full(3, np.nan), np.arange(3), dice())
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all()


def test_one_subscriber_alone_is_judged_by_slates() -> None:
    serving = dice(1).uniform(0.3, 0.7, 40)
    better = serving + dice(2).normal(0.15, 0.1, 40)
    assert verdict(better, serving, None, np.zeros(40, int)) is Winner.CHALLENGER


def test_an_interval_holds_the_mean_as_often_as_it_says() -> None:
    held = sum(
        (found := interval(np.random.default_rng(s).random(20), np.arange(20), dice())).low
        <= 0.5
        <= found.high
        for s in range(200)
    )
    assert 180 <= held <= 199
