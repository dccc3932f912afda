"""A formula is learned from which papers were liked, and says what features are worth to whom."""

from __future__ import annotations

import json

import numpy as np
import pytest

from triage import formula
from triage.features import FEATURES
from triage.formula import Formula, fitted
from triage.records import F32, F64, I32

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


def learned(X: F32, relevance: I32) -> Formula:
    n = len(X) // SIZE
    return fitted(X, relevance, [SIZE] * n, np.ones(len(X), dtype=np.float32))


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


def test_what_never_varied_is_worth_nothing_and_known_as_such() -> None:
    X, relevance = slates(5, {WORDS: 1.0})
    found = learned(X, relevance)
    X[:, DISLIKES] = 1
    assert not found.contributions(X)[:, DISLIKES].any()
    assert found.unseen[DISLIKES]
    assert not found.unseen[[WORDS, LIKES]].any()


def test_one_strange_value_cannot_decide_alone() -> None:
    found = learned(*slates(5, {WORDS: 1.0, MEANING: 1.0}))
    X = np.zeros((2, len(FEATURES)), dtype=np.float32)
    X[:, WORDS] = 10, 1_000
    assert found.margin(X)[0] == found.margin(X)[1]


def test_the_same_data_and_seed_give_the_same_formula() -> None:
    X, relevance = slates(5, {WORDS: 1.0, MEANING: 1.0})
    one, two = learned(X, relevance), learned(X, relevance)
    assert np.array_equal(one.worth, two.worth)
    assert json.dumps(one.facts()) == json.dumps(two.facts())


def test_slates_beyond_the_most_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    X, relevance = slates(5, {WORDS: 1.0})
    everything = learned(X, relevance)
    monkeypatch.setattr(formula, "MOST_ROWS", 50 * SIZE)
    some = learned(X, relevance)
    assert right(some.margin(X), relevance) > 0.95
    assert not np.array_equal(some.worth, everything.worth)


def test_the_loss_is_how_unlikely_the_likes_are_and_its_slope_is_right() -> None:
    X, relevance = slates(5, {WORDS: 1.0, MEANING: 1.0})
    rng = np.random.default_rng(6)
    likelihood = formula._Likelihood(
        X.astype(np.float64),
        rng.random((len(X), formula.N_CONTEXTS)),
        relevance,
        np.array(SIZES),
        rng.random(len(X)).astype(np.float32),
    )
    worth = np.zeros(formula.N_CONTEXTS * len(FEATURES))
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
    likelihood = formula._Likelihood(
        none, none, relevance, np.array([5, 5]), np.ones(10, dtype=np.float32)
    )
    assert likelihood._shares_of_slates == pytest.approx([1 / 3, 2 / 3])
    assert likelihood._shares[relevance == 0].sum() == 0


@pytest.mark.parametrize("liked", [0, 1])
def test_slates_that_tell_nothing_give_a_formula_that_orders_nothing(liked: int) -> None:
    X, relevance = slates(5, {WORDS: 1.0})
    found = learned(X, np.full_like(relevance, liked))
    assert not found.margin(X).any()
    assert found.margin(X[:0]).shape == (0,)
    assert not fitted(X[:0], relevance[:0], [], np.zeros(0, dtype=np.float32)).worth.any()


def test_a_formula_is_kept_as_plain_numbers() -> None:
    X, relevance = slates(5, {WORDS: 1.0, MEANING: 1.0})
    found = learned(X, relevance)
    again = Formula.from_facts(json.loads(json.dumps(found.facts())))
    assert np.array_equal(again.margin(X), found.margin(X))
    with pytest.raises(ValueError, match="other features"):
        Formula.from_facts({"worth": [[1.0]], "mean": [0.0], "spread": [1.0]})
