"""A formula is learned from which papers were liked; it says what features add for whom."""

from __future__ import annotations

import json

import numpy as np
import pytest

from triage.domain.records import F32, F64, I32
from triage.ranking import linear_scorer
from triage.ranking.features import FEATURES
from triage.ranking.linear_scorer import FEWEST_SLATES, LinearModel, LinearPrior, fit_linear_scorer

WORDS, MEANING = FEATURES.index("words_like_mean"), FEATURES.index("sense_like_mean")
LIKES, DISLIKES = FEATURES.index("n_likes_log1p"), FEATURES.index("words_dislike_max")
N_SLATES, SIZE = 300, 20
SIZES = [SIZE] * N_SLATES


def slates(n_likes: int, worth: dict[int, float], seed: int = 3) -> tuple[F32, I32]:
    """Return rows of slates whose best three papers by a known worth were liked."""
    rng = np.random.default_rng(seed)
    X = np.zeros((N_SLATES * SIZE, len(FEATURES)), dtype=np.float32)
    X[:, list(worth)] = rng.normal(size=(len(X), len(worth)))
    X[:, LIKES] = np.log1p(n_likes)
    true = (X[:, list(worth)] @ np.array(list(worth.values()))).reshape(N_SLATES, SIZE)
    relevance = (true >= np.sort(true)[:, [-3]]).astype(np.int32).ravel()
    return X, relevance


def maybe_learned(X: F32, relevance: I32, fixed: F64 | None = None) -> LinearModel | None:
    """Learn what to add to a fixed worth of each feature, which is 0 unless told."""
    known = np.zeros(len(FEATURES)) if fixed is None else fixed
    n = len(X) // SIZE
    ones = np.ones(len(X), dtype=np.float32)
    return fit_linear_scorer(X, lambda rows: rows @ known, relevance, [SIZE] * n, ones)


def learned(X: F32, relevance: I32, fixed: F64 | None = None) -> LinearModel:
    found = maybe_learned(X, relevance, fixed)
    assert found
    return found


def right(scores: F64, relevance: I32) -> float:
    """Return the share of the likes among the three best papers of each slate."""
    best = np.argsort(-scores.reshape(-1, SIZE))[:, :3]
    return float(np.take_along_axis(relevance.reshape(-1, SIZE), best, axis=1).mean())


def test_it_finds_what_likes_follow() -> None:
    found = learned(*slates(5, {WORDS: 3.0, MEANING: 1.0}))
    X, relevance = slates(5, {WORDS: 3.0, MEANING: 1.0}, seed=4)
    assert right(found.margin(X), relevance) > 0.95
    parts = np.abs(found.contributions(X)).mean(axis=0)
    assert parts[WORDS] / parts[MEANING] == pytest.approx(3, rel=0.2)


def test_worth_depends_on_how_much_is_known() -> None:
    none, many = slates(0, {WORDS: 0.0, MEANING: 1.0}), slates(140, {WORDS: 1.0, MEANING: 0.0})
    found = learned(np.vstack([none[0], many[0]]), np.concatenate([none[1], many[1]]))
    for X, relevance in (none, many):
        assert right(found.margin(X), relevance) > 0.9


def test_what_never_varied_adds_nothing_and_is_not_bounded() -> None:
    X, relevance = slates(5, {WORDS: 1.0})
    found = learned(X, relevance)
    X[:, DISLIKES] = 1
    assert not found.contributions(X)[:, DISLIKES].any()
    assert np.array_equal(found.bounded(X)[:, DISLIKES], X[:, DISLIKES])


def test_it_learns_what_the_fixed_margin_gets_wrong() -> None:
    X, relevance = slates(5, {WORDS: 3.0, MEANING: 1.0})
    wrong = np.zeros(len(FEATURES))
    wrong[[WORDS, MEANING]] = -3.0, 9.0
    assert right(X @ wrong, relevance) < 0.4
    assert right(X @ wrong + learned(X, relevance, wrong).margin(X), relevance) > 0.8


def test_few_slates_would_be_learned_by_heart() -> None:
    X, relevance = slates(5, {WORDS: 1.0})
    enough = FEWEST_SLATES * SIZE
    assert maybe_learned(X[:enough], relevance[:enough])
    assert maybe_learned(X[: enough - SIZE], relevance[: enough - SIZE]) is None
    relevance[:SIZE] = 0
    assert maybe_learned(X[:enough], relevance[:enough]) is None


def test_one_strange_value_cannot_decide_alone() -> None:
    found = learned(*slates(5, {WORDS: 1.0, MEANING: 1.0}))
    X = np.zeros((2, len(FEATURES)), dtype=np.float32)
    X[:, WORDS] = 10, 1_000
    assert found.margin(X)[0] == found.margin(X)[1]
    assert np.array_equal(*found.bounded(X))


def test_the_same_data_and_seed_give_the_same_formula() -> None:
    X, relevance = slates(5, {WORDS: 1.0, MEANING: 1.0})
    one, two = learned(X, relevance), learned(X, relevance)
    assert np.array_equal(one.worth, two.worth)
    assert json.dumps(one.facts()) == json.dumps(two.facts())


def test_slates_beyond_the_most_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    X, relevance = slates(5, {WORDS: 1.0})
    everything = learned(X, relevance)
    monkeypatch.setattr(linear_scorer, "FEWEST_SLATES", 200)
    monkeypatch.setattr(linear_scorer, "MOST_ROWS", 200 * SIZE)
    some = learned(X, relevance)
    assert right(some.margin(X), relevance) > 0.95
    assert not np.array_equal(some.worth, everything.worth)


def test_the_loss_is_how_unlikely_the_likes_are_and_its_slope_is_right() -> None:
    X, relevance = slates(5, {WORDS: 1.0, MEANING: 1.0})
    rng = np.random.default_rng(6)
    likelihood = linear_scorer._Likelihood(
        X.astype(np.float64),
        rng.random((len(X), linear_scorer.N_CONTEXTS)),
        np.zeros(len(X)),
        relevance,
        np.array(SIZES),
        rng.random(len(X)).astype(np.float32),
        np.full((linear_scorer.N_CONTEXTS, len(FEATURES)), 0.0),
        0.1,
    )
    worth = np.zeros(linear_scorer.N_CONTEXTS * len(FEATURES))
    # Whoever knows nothing finds any paper of a slate as likely as any other.
    assert likelihood.loss(worth)[0] == pytest.approx(np.log(SIZE))
    worth[[WORDS, MEANING]] = 0.5, -0.2
    _, slope = likelihood.loss(worth)
    for at in (WORDS, MEANING, len(FEATURES) + WORDS, LIKES):
        step = np.zeros_like(worth)
        step[at] = 1e-5
        rise = likelihood.loss(worth + step)[0] - likelihood.loss(worth - step)[0]
        assert rise / 2e-5 == pytest.approx(slope[at], abs=1e-7)


def test_the_likes_of_one_slate_count_as_the_root_of_their_number() -> None:
    relevance = np.array([1, 0, 0, 0, 0, 1, 1, 1, 1, 0], dtype=np.int32)
    none = np.zeros((10, 1))
    likelihood = linear_scorer._Likelihood(
        none,
        none,
        np.zeros(10),
        relevance,
        np.array([5, 5]),
        np.ones(10, dtype=np.float32),
        np.zeros((1, 1)),
        0.1,
    )
    assert likelihood._shares_of_slates == pytest.approx([1 / 3, 2 / 3])
    assert likelihood._shares[relevance == 0].sum() == 0


def nothing(rows: F32) -> F64:
    return np.zeros(len(rows))


def test_a_prior_is_kept_where_the_slates_say_nothing_and_signs_are_never_turned() -> None:
    X, relevance = slates(5, {WORDS: 1.0, MEANING: -1.0})
    X[:, DISLIKES] = np.random.default_rng(1).normal(size=len(X))
    worth = np.zeros((linear_scorer.N_CONTEXTS, len(FEATURES)))
    worth[0, [MEANING, DISLIKES]] = 0.5
    signs = [1] * len(FEATURES)
    ones = np.ones(len(X), dtype=np.float32)
    flat = np.zeros_like(worth)
    prior = LinearPrior(worth, flat, signs, 0.01)
    found = fit_linear_scorer(X, nothing, relevance, SIZES, ones, prior=prior)
    assert found
    assert found.worth.min() >= 0
    # What the likes speak against is left out, not turned round.
    assert found.worth[0, MEANING] == 0 < found.worth[0, WORDS]
    strong = LinearPrior(worth, flat, signs, 1_000.0)
    kept = fit_linear_scorer(X, nothing, relevance, SIZES, ones, prior=strong)
    assert kept
    assert kept.worth == pytest.approx(worth * kept.spread, abs=0.01)


def test_what_the_fixed_margin_holds_of_a_feature_can_be_taken_back_but_not_turned_round() -> None:
    X, relevance = slates(5, {WORDS: 1.0, MEANING: -1.0})
    slopes = np.zeros((linear_scorer.N_CONTEXTS, len(FEATURES)))
    slopes[0, MEANING] = 0.25

    def fixed(rows: F32) -> F64:
        return np.asarray(0.25 * rows[:, MEANING], dtype=np.float64)

    prior = LinearPrior(np.zeros_like(slopes), slopes, [1] * len(FEATURES), 0.01)
    found = fit_linear_scorer(
        X, fixed, relevance, SIZES, np.ones(len(X), dtype=np.float32), prior=prior
    )
    assert found
    assert found.slopes()[0, MEANING] == pytest.approx(-0.25)


@pytest.mark.parametrize("liked", [0, 1])
def test_slates_that_tell_nothing_give_no_formula(liked: int) -> None:
    X, relevance = slates(5, {WORDS: 1.0})
    assert maybe_learned(X, np.full_like(relevance, liked)) is None
    assert maybe_learned(X[:0], relevance[:0]) is None
    assert learned(X, relevance).margin(X[:0]).shape == (0,)


def test_a_formula_is_kept_as_plain_numbers() -> None:
    X, relevance = slates(5, {WORDS: 1.0, MEANING: 1.0})
    found = learned(X, relevance)
    again = LinearModel.from_facts(json.loads(json.dumps(found.facts())))
    assert np.array_equal(again.margin(X), found.margin(X))
    with pytest.raises(ValueError, match="other features"):
        LinearModel.from_facts({"worth": [[1.0]], "mean": [0.0], "spread": [1.0]})
