"""Scores mean the same from the first sentence on; votes bend them, little feedback only little."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from tests.support import topics
from tests.support.contracts import ScorerContract
from tests.support.factories import DAY, subscriber
from triage.domain.protocols import Scorer
from triage.domain.records import F32, I32, Profile
from triage.errors import ModelError, NotEnoughFeedback
from triage.ranking import model_files
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.features import FEATURES, feature_matrix
from triage.ranking.lambdamart import MONOTONE, MUCH_FEEDBACK_ROWS, LambdaMartScorer

KEY = b"k" * 32
COLD = ColdStartScorer()
Log = tuple[F32, I32, list[int], F32]


def rows(profile: Profile) -> F32:
    return feature_matrix(profile, topics.everything(), DAY)


@lru_cache(maxsize=1)
def log(n_groups: int = 40) -> Log:
    """Return slates of readers who like what is voted up by many, against the formula's taste."""
    rng = np.random.default_rng(5)
    X = np.vstack([rows(topics.profile(liked=(int(rng.integers(60)),))) for _ in range(n_groups)])
    X[:, FEATURES.index("upvotes_log1p")] = rng.exponential(1.5, len(X))
    near = X[:, FEATURES.index("dense_like_max")] > 0.6
    popular = X[:, FEATURES.index("upvotes_log1p")] > 2
    relevance = (near.astype(int) + popular + (near & popular)).astype(np.int32)
    return X, relevance, [60] * n_groups, np.ones(len(X), dtype=np.float32)


@lru_cache(maxsize=1)
def trained() -> LambdaMartScorer:
    return fit(log())


@lru_cache(maxsize=1)
def much() -> Log:
    """Return so many slates that a formula is learned from them, and all trees are grown."""
    X, relevance, sizes, weights = log()
    times = MUCH_FEEDBACK_ROWS // len(X) + 1
    return np.tile(X, (times, 1)), np.tile(relevance, times), sizes * times, np.tile(weights, times)


@lru_cache(maxsize=1)
def taught_much() -> LambdaMartScorer:
    return fit(much())


def fit(data: Log, seed: int = 0) -> LambdaMartScorer:
    return LambdaMartScorer.fit(*data, start=COLD, encoder_version="enc-test", seed=seed)


class TestColdStartScorer(ScorerContract):
    def scorer(self) -> Scorer:
        return ColdStartScorer()

    def rows(self) -> F32:
        return rows(topics.profile("protein folding", (3,), (40,)))


class TestLambdaMartScorer(ScorerContract):
    def scorer(self) -> Scorer:
        return trained()

    def rows(self) -> F32:
        return log()[0][:80]


def best(profile: Profile, n: int = 5, scorer: Scorer | None = None) -> list[str]:
    """Return the topics of the n best-scored papers."""
    order = np.argsort(-(scorer or ColdStartScorer()).score(rows(profile)), kind="stable")[:n]
    return [list(topics.TOPICS)[row // topics.N_EACH] for row in order]


def test_a_sentence_alone_finds_its_topic() -> None:
    assert best(topics.profile("I read about protein folding.")) == ["proteins"] * 5


def test_one_like_alone_finds_its_topic() -> None:
    assert best(topics.profile(liked=(31,))) == ["robots"] * 5


@pytest.mark.parametrize(
    "profile",
    [
        topics.profile("protein folding; robot grasping"),
        topics.profile(liked=(16, 31)),
        topics.profile("protein folding", liked=(31,)),
    ],
    ids=["two phrases", "two likes", "a phrase and a like"],
)
def test_two_unrelated_interests_both_surface(profile: Profile) -> None:
    assert set(best(profile, 16)) == {"proteins", "robots"}


def test_nearness_to_a_dislike_lowers_the_score() -> None:
    liked = topics.profile(liked=(31, 16))
    argued = topics.profile(liked=(31, 16), disliked=(18,))
    before, after = (ColdStartScorer().score(rows(p)) for p in (liked, argued))
    proteins = list(topics.rows_of("proteins"))
    assert (after[proteins] < before[proteins]).all()
    assert best(argued, 10).count("robots") > best(liked, 10).count("robots")


@pytest.mark.parametrize(
    ("wish", "papers"),
    [
        ({"followed_authors": ("Author Robots 1",)}, (31, 36, 41)),
        ({"include_keywords": ("tactile",)}, None),
        ({"categories": ("cs.RO",)}, tuple(topics.rows_of("robots"))),
    ],
)
def test_wishes_raise_the_score(wish: dict[str, object], papers: tuple[int, ...] | None) -> None:
    who = subscriber(**wish)
    scores = ColdStartScorer().score(rows(topics.profile(who=who)))
    plain = ColdStartScorer().score(rows(topics.profile()))
    raised = np.flatnonzero(scores > plain)
    assert len(raised)
    if papers is not None:
        assert tuple(raised) == papers


def test_who_says_nothing_gets_everything_and_who_says_more_gets_what_fits() -> None:
    nothing = ColdStartScorer().score(rows(topics.profile()))
    assert (nothing > 0.2).all()
    for profile in (topics.profile("robot grasping"), topics.profile(liked=(31,))):
        scores = ColdStartScorer().score(rows(profile))
        robots = list(topics.rows_of("robots"))
        assert scores[robots].max() > 0.4
        assert np.delete(scores, robots).max() < 0.2


def test_popularity_counts_little_against_interest() -> None:
    X = rows(topics.profile("robot grasping"))
    X[0, FEATURES.index("upvotes_log1p")] = np.log1p(500)
    assert np.argmax(ColdStartScorer().score(X)) in topics.rows_of("robots")


def test_votes_teach_what_the_formula_does_not_know() -> None:
    X, relevance, groups, _ = log()
    likely = [
        np.mean([
            relevance[start : start + 60][np.argsort(-scorer.score(X[start : start + 60]))[:10]]
            for start in np.cumsum([0, *groups[:-1]])
        ])
        for scorer in (ColdStartScorer(), trained())
    ]  # fmt: skip
    assert likely[1] > 1.05 * likely[0]


def test_digests_never_teach_that_similarity_is_bad() -> None:
    """Among papers that were all chosen for similarity, the less similar ones may be liked."""
    X = np.tile(log()[0], (2, 1))
    near = X[:, FEATURES.index("words_like_mean_z")].reshape(-1, 10)
    liked = (near < np.median(near, axis=1, keepdims=True)).astype(np.int32).ravel()
    found = fit((X, liked, [10] * len(near), np.ones(len(X), dtype=np.float32)))
    assert found._linear is not None
    assert found._linear.worth.any()
    assert (found.slopes() * MONOTONE >= -1e-9).all()


def test_a_few_digests_change_less_than_many() -> None:
    """At the rate of a long log, five digests made labs of `benchmarks.growing` a bit worse."""
    X, relevance, _, weights = log()
    changes = []
    for rows in (50, 500):
        part = X[:rows], relevance[:rows], [10] * (rows // 10), weights[:rows]
        changes.append(np.abs(fit(part).margin(X) - COLD.margin(X)).std())
    assert changes[0] < changes[1] / 4


def test_little_feedback_changes_little() -> None:
    X, relevance, _, weights = log()
    few = fit((X[:120], relevance[:120], [60, 60], weights[:120]))
    change = np.abs(few.score(X) - ColdStartScorer().score(X))
    assert 0 < change.mean() < 0.1


def test_the_level_of_scores_stays_where_the_floor_expects_it() -> None:
    X = log()[0]
    margins = [np.log(s / (1 - s)).mean() for s in (ColdStartScorer().score(X), trained().score(X))]
    assert margins[1] == pytest.approx(margins[0], abs=1e-6)


def test_with_much_feedback_a_learned_formula_keeps_level_and_spread() -> None:
    X = much()[0]
    odds = [np.log(s / (1 - s)) for s in (ColdStartScorer().score(X), taught_much().score(X))]
    assert odds[1].mean() == pytest.approx(odds[0].mean(), abs=1e-6)
    assert odds[1].std() == pytest.approx(odds[0].std(), rel=1e-6)


def test_summands_and_scores_say_the_same() -> None:
    X = much()[0][:60]
    for scorer in (trained(), taught_much()):
        odds = np.log(scorer.score(X) / (1 - scorer.score(X)))
        rest = odds - scorer.contributions(X).sum(axis=1)
        assert rest == pytest.approx(np.full(60, rest[0]), abs=1e-6)


def test_what_no_log_varied_keeps_its_place() -> None:
    X = much()[0][:60].copy()
    assert not X[:, FEATURES.index("words_dislike_max")].any()
    before = taught_much().score(X)
    X[:, FEATURES.index("words_dislike_max")] = 0.3
    assert (taught_much().score(X) < before).all()


def test_the_same_data_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        fit(log()).save(tmp_path / name, KEY)
    one, two = (sorted((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    assert fit(log(), seed=1).version != trained().version


def test_nearer_to_a_like_never_lowers_a_score() -> None:
    X = log()[0][:200].copy()
    before = trained().score(X)
    X[:, FEATURES.index("dense_like_max")] += 0.2
    assert (trained().score(X) >= before - 1e-12).all()


def test_a_denser_place_never_raises_a_score() -> None:
    X = log()[0][:200].copy()
    before = trained().score(X)
    X[:, FEATURES.index("density")] += 0.2
    X[:, FEATURES.index("density_z")] += 1
    assert (trained().score(X) <= before + 1e-12).all()


def test_trees_learn_that_nearness_means_little_in_a_crowd() -> None:
    X, _, sizes, weights = log()
    rng = np.random.default_rng(8)
    X = X.copy()
    X[:, FEATURES.index("density")] = rng.random(len(X))
    lonely = X[:, FEATURES.index("density")] < 0.4
    near = X[:, FEATURES.index("dense_like_max")] > 0.6
    scorer = fit((X, (near & lonely).astype(np.int32), sizes, weights))
    crowded = X[near & lonely].copy()
    crowded[:, FEATURES.index("density")] = 0.9
    assert (scorer.score(crowded) < scorer.score(X[near & lonely])).mean() > 0.9


@pytest.mark.parametrize(
    "shrink",
    [
        lambda X, y, g, w: (X[:19], y[:19], [10, 9], w[:19]),
        lambda X, y, g, w: (X[:60], y[:60], [60], w[:60]),
        lambda X, y, g, w: (X, np.zeros_like(y), g, w),
        lambda X, y, g, w: (X, np.ones_like(y), g, w),
        lambda X, y, g, w: (X[:0], y[:0], [], w[:0]),
    ],
    ids=["few rows", "one slate", "nobody liked anything", "one class", "nothing"],
)
def test_too_little_feedback_is_said_and_not_trained_on(shrink: Callable[..., Log]) -> None:
    with pytest.raises(NotEnoughFeedback, match="too few to train on"):
        fit(shrink(*log()))


def test_data_that_does_not_fit_together_is_refused() -> None:
    X, relevance, groups, weights = log()
    with pytest.raises(ValueError, match="do not fit"):
        fit((X, relevance, groups[:-1], weights))


def test_a_saved_scorer_is_the_same_scorer(tmp_path: Path) -> None:
    for first in (trained(), taught_much()):
        first.save(tmp_path, KEY)
        loaded = LambdaMartScorer.load(tmp_path, KEY, COLD)
        assert loaded.version == first.version
        assert loaded.encoder_version == "enc-test"
        X = log()[0][:50]
        assert np.array_equal(loaded.score(X), first.score(X))


@pytest.mark.parametrize("harm", ["flip", "cut", "key"])
def test_a_damaged_or_foreign_model_never_reaches_the_parser(
    tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained().save(tmp_path, KEY)
    trees = next(tmp_path.glob("trees-*"))
    text = trees.read_bytes()
    if harm != "key":
        trees.write_bytes(text[:-9] if harm == "cut" else b"T" + text[1:])
    monkeypatch.setattr("lightgbm.Booster.__init__", _unreachable)
    with pytest.raises(ModelError):
        LambdaMartScorer.load(tmp_path, b"other" if harm == "key" else KEY, COLD)


def _unreachable(*_args: object, **_options: object) -> None:
    raise AssertionError("the parser was reached")


@pytest.mark.parametrize(
    "change", [{"feature_version": "f0"}, {"features": ["a"]}, {"starts_from": "cold-0"}]
)
def test_a_model_for_other_features_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    trained().save(tmp_path, KEY)
    manifest, files = model_files.read(tmp_path, "scorer", KEY)
    model_files.write(tmp_path, "scorer", files, manifest | change, KEY)
    with pytest.raises(ModelError, match="train again"):
        LambdaMartScorer.load(tmp_path, KEY, COLD)


@pytest.mark.parametrize("change", [{"scale": {"share": 1.0}}, {"formula": {"worth": "much"}}])
def test_a_model_of_another_form_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    trained().save(tmp_path, KEY)
    manifest, files = model_files.read(tmp_path, "scorer", KEY)
    model_files.write(tmp_path, "scorer", files, manifest | change, KEY)
    with pytest.raises(ModelError, match="train again"):
        LambdaMartScorer.load(tmp_path, KEY, COLD)
