"""Chances: in the order of the scores, within (0, 1), and moved by votes, but not by few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from triage.domain.records import F64, Bools
from triage.ranking.calibration import (
    CENTRE,
    LOWEST_SLOPE,
    OFFSET_SPREAD,
    SLOPE_SPREAD,
    Calibration,
    Correction,
    Prior,
    logit,
)
from triage.ranking.cold_start import sigmoid

PRIOR = Prior(0.7, 0.5, 0.1, -0.5, -1.0)
days = st.lists(st.floats(0, 1), min_size=1, max_size=60).map(np.array)
corrections = st.builds(Correction, st.floats(0.2, 3), st.floats(-3, 3))


@given(days, corrections)
def test_chances_have_the_order_of_the_scores(scores: F64, correction: Correction) -> None:
    chances, priors = Calibration(PRIOR, correction).chances(scores)
    order = np.argsort(scores, kind="stable")
    assert np.all(np.diff(chances[order]) >= 0)
    assert np.all(np.diff(priors[order]) >= 0)


@given(days, corrections)
def test_no_chance_is_a_promise(scores: F64, correction: Correction) -> None:
    for chances in Calibration(PRIOR, correction).chances(scores):
        assert chances.shape == scores.shape
        assert np.all((chances > 0) & (chances < 1))


def test_scores_that_differ_have_chances_that_differ() -> None:
    chances, _ = Calibration(PRIOR).chances(np.array([0.2, 0.5, 0.9]))
    assert chances[0] < chances[1] < chances[2]


def test_a_day_without_papers_has_no_chances() -> None:
    chances, priors = Calibration(PRIOR).chances(np.zeros(0))
    assert (len(chances), len(priors)) == (0, 0)


def test_a_paper_is_less_likely_beside_better_ones() -> None:
    beside_better, _ = Calibration(PRIOR).chances(np.array([0.8, *[0.95] * 20, *[0.001] * 400]))
    beside_worse, _ = Calibration(PRIOR).chances(np.array([0.8, *[0.001] * 420]))
    assert beside_better[0] < 0.3 < beside_worse[0]


def test_papers_of_other_days_take_no_share() -> None:
    scores = np.array([0.9, *[0.05] * 399, 0.9, *[0.05] * 399])
    of_one_day, _ = Calibration(PRIOR).chances(scores[:400])
    of_two_days, _ = Calibration(PRIOR).chances(scores, np.repeat([1, 2], 400))
    assert of_two_days[[0, 400]] == pytest.approx(of_one_day[0])


@pytest.mark.parametrize("n_others", [0, 1, 20])
def test_to_be_among_few_papers_is_no_merit(n_others: int) -> None:
    alone, _ = Calibration(PRIOR).chances(np.array([0.3, *[0.1] * n_others]))
    assert alone[0] < 0.05


def shown(n: int, share_liked: float) -> tuple[F64, Bools]:
    return np.full(n, CENTRE), np.arange(n) < share_liked * n


def test_without_votes_nothing_is_corrected() -> None:
    assert Correction().refine(*shown(0, 0)) == Correction()


@given(st.integers(1, 3), st.sampled_from([0.0, 1.0]), st.floats(-3, 0))
def test_few_votes_change_little(n: int, share_liked: float, log_odds: float) -> None:
    liked = np.full(n, share_liked == 1)
    told = Correction().refine(np.full(n, log_odds), liked)
    assert abs(told.offset) < 0.9
    one = Correction().refine(np.array([log_odds]), liked[:1])
    assert abs(one.offset) < 0.3


def test_many_votes_change_everything() -> None:
    rng = np.random.default_rng(0)
    log_odds = rng.normal(CENTRE, 1.5, 3_000)
    truth = sigmoid(0.6 * (log_odds - CENTRE) + CENTRE + 1.5)
    told = Correction().refine(log_odds, rng.random(3_000) < truth)
    assert told.slope == pytest.approx(0.6, abs=0.1)
    assert told.offset == pytest.approx(1.5, abs=0.2)


def test_each_vote_moves_chances_towards_what_was_liked() -> None:
    offsets = [Correction().refine(*shown(n, 0.6)).offset for n in (5, 20, 100, 500)]
    assert offsets == sorted(offsets)
    assert sigmoid(np.array([CENTRE + offsets[-1]]))[0] == pytest.approx(0.6, abs=0.03)


def test_a_subscriber_with_few_votes_is_as_the_installation() -> None:
    of_all = Correction(0.8, 1.0)
    assert of_all.refine(*shown(0, 0)) == of_all
    assert abs(of_all.refine(*shown(2, 0.5)).offset - 1.0) < 0.3


def test_votes_against_the_scores_never_turn_the_order_round() -> None:
    log_odds = np.linspace(-6, 3, 2_000)
    assert Correction().refine(log_odds, log_odds < -2).slope > 0


def past_days(n: int, rng: np.random.Generator) -> list[tuple[F64, Bools, float]]:
    found = []
    for _ in range(n):
        scores = sigmoid(rng.normal(-3, 1.5, 400))
        log_odds = Prior(0.9, 0.3, 0.1, -0.2, -1.9).log_odds(scores)
        found.append((scores, rng.random(400) < sigmoid(log_odds), 1.0))
    return found


def test_the_prior_is_fitted_on_past_days() -> None:
    rng = np.random.default_rng(0)
    prior = Prior.fit(past_days(300, rng))
    log_odds, liked = [], []
    for scores, hits, _ in past_days(1_000, rng):
        best = np.argsort(-scores)[:10]
        log_odds.append(prior.log_odds(scores)[best])
        liked.append(hits[best])
    told = sigmoid(np.concatenate(log_odds)).mean()
    assert told == pytest.approx(np.concatenate(liked).mean(), rel=0.2)


def test_the_same_days_give_the_same_prior() -> None:
    first, again = (Prior.fit(past_days(30, np.random.default_rng(0))) for _ in range(2))
    assert first.to_json() == again.to_json()


def test_days_without_likes_give_no_prior() -> None:
    with pytest.raises(ValueError, match="liked"):
        Prior.fit([(np.full(10, 0.1), np.zeros(10, dtype=bool), 1.0)])


def test_log_odds_are_finite_for_every_score() -> None:
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


@pytest.mark.parametrize("n", [1, 10, 300])
@pytest.mark.parametrize("side", [1, -1, 0])
def test_a_correction_is_the_best_one_within_its_bound(n: int, side: int) -> None:
    """`side` is how votes go with the log-odds: as they say, against them, or by chance."""
    rng = np.random.default_rng([n, side + 1])
    log_odds = rng.normal(CENTRE, 1.2, n)
    liked = rng.random(n) < sigmoid(side * 3 * (log_odds - CENTRE))
    start = Correction(0.9, -0.3)

    def loss(w: F64) -> float:
        z = w[0] * (log_odds - CENTRE) + CENTRE + w[1]
        near = (w[0] - 0.9) ** 2 / SLOPE_SPREAD**2 + (w[1] + 0.3) ** 2 / OFFSET_SPREAD**2
        return float((np.logaddexp(0, z) - liked * z).sum() + near / 2)

    bounds = [(LOWEST_SLOPE, None), (None, None)]
    best = minimize(loss, [0.9, -0.3], method="L-BFGS-B", bounds=bounds)
    found = start.refine(log_odds, liked)
    assert [found.slope, found.offset] == pytest.approx(best.x, abs=2e-3)
