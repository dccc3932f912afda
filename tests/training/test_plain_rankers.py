"""A plain ranker of each reader gets a share where past slates show beyond noise that it is better.

The constructed installations have a pretrained ranker that is bad for them, because all features
but one are noise, or say the contrary. What is trained there must be as good as that one feature.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from triage.domain.records import F32, F64, I32, I64
from triage.ranking.blend import PLAIN, Blend
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.features import FEATURES
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.pretrained_ranker import load_shipped
from triage.training.dataset import Examples
from triage.training.evaluation.benchmark import fit_scorer
from triage.training.evaluation.metrics import HeldOut, slate_ndcg
from triage.training.plain_rankers import FEWEST_SLATES, choose_start

N_READERS, N_SLATES = 12, 120
SIZE, N_LIKED = 60, 4
NOISE, CONTRARY = 0.0, -0.7
Slates = tuple[F32, I32]


def slates(truth: str, rest: float, seed: int = 0, n: int = N_SLATES, size: int = SIZE) -> Slates:
    """Return slates whose likes follow one feature; the others are its `rest` fold and noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, size, len(FEATURES)))
    wanted = X[:, :, FEATURES.index(truth)].copy()
    X += rest * wanted[:, :, np.newaxis]
    for name in FEATURES:
        if not name.endswith("_z"):
            X[:, :, FEATURES.index(name)] = 0
    X[:, :, FEATURES.index("n_likes_log1p")] = np.log1p(20)
    X[:, :, FEATURES.index(truth)] = wanted
    best = np.argsort(-(wanted + 0.5 * rng.normal(size=wanted.shape)), axis=1)[:, :N_LIKED]
    relevance = np.zeros((n, size), np.int32)
    np.put_along_axis(relevance, best, 2, axis=1)
    return X.reshape(-1, len(FEATURES)).astype(np.float32), relevance.ravel()


def ids(n: int = N_SLATES) -> I64:
    return np.arange(n) % N_READERS + 1


def quality(scores: F64, relevance: I32, size: int = SIZE) -> float:
    n = len(scores) // size
    held_out = HeldOut(np.arange(n) * size, relevance.astype(np.float64), ids(n))
    return float(np.nanmean(slate_ndcg(scores, held_out)))


def column(X: F32, name: str) -> F64:
    return X[:, FEATURES.index(name)].astype(np.float64)


@pytest.mark.parametrize("rest", [NOISE, CONTRARY], ids=["noise", "contrary"])
@pytest.mark.parametrize("truth", PLAIN)
@pytest.mark.parametrize("n", [20, N_SLATES])
def test_where_the_pretrained_ranker_is_bad_training_is_as_good_as_the_best_plain_ranker(
    tmp_path: Path, truth: str, rest: float, n: int
) -> None:
    X, relevance = slates(truth, rest, n=n)
    ones = np.ones(len(X), dtype=np.float32)
    examples = Examples(X, relevance, (SIZE,) * n, ones, ids(n))
    store = ModelStore(tmp_path, b"a key of the tests")
    trained = fit_scorer(store, examples, _Encoder())  # type: ignore[arg-type]
    later, liked = slates(truth, rest, seed=1)
    best = quality(column(later, truth), liked)
    assert quality(load_shipped().margin(later), liked) < best - 0.2
    assert quality(trained.score(later), liked) > best - 0.03


@pytest.mark.parametrize("truth", PLAIN)
def test_digests_of_a_bad_ranker_show_that_it_is_bad(truth: str) -> None:
    """Only the ten papers that it put first are known, those that were liked among them."""
    X, relevance = slates(truth, NOISE, n=400)
    scores = load_shipped().margin(X).reshape(-1, SIZE)
    shown = np.argsort(-scores, axis=1)[:, :10] + np.arange(400)[:, np.newaxis] * SIZE
    shown = shown[(relevance[shown] > 0).any(axis=1)]
    n, rows = len(shown), shown.ravel()
    start = choose_start(load_shipped(), X[rows], relevance[rows], [10] * n, ids(n))
    assert isinstance(start, Blend)
    assert start.feature == truth


def test_what_is_better_than_every_plain_ranker_stays() -> None:
    X, _ = slates("sense_like_mean_z", NOISE)
    start = load_shipped()
    likes = start.margin(X).reshape(-1, SIZE).argsort(axis=1)[:, -N_LIKED:]
    liked = np.zeros((N_SLATES, SIZE), np.int32)
    np.put_along_axis(liked, likes, 2, axis=1)
    assert choose_start(start, X, liked.ravel(), [SIZE] * N_SLATES, ids()) is start


def test_chance_gives_no_plain_ranker_a_share() -> None:
    """Likes follow a feature that is no plain ranker, so all rank by chance."""
    start, n = load_shipped(), 40
    for seed in range(20):
        X, _ = slates("sense_like_mean_z", NOISE, seed, n)
        relevance = np.random.default_rng(seed).permuted(np.eye(n, SIZE, dtype=np.int32), axis=1)
        assert choose_start(start, X, relevance.ravel(), [SIZE] * n, ids(n)) is start


def test_a_plain_ranker_that_knows_nothing_does_not_profit_from_the_order_of_reading() -> None:
    """Readers without likes vote on what comes first; equal scores keep that order."""
    X, _ = slates(PLAIN[0], NOISE)
    X[:, [FEATURES.index(name) for name in PLAIN]] = 0
    first = np.tile(np.arange(SIZE) < N_LIKED, N_SLATES).astype(np.int32)
    start = load_shipped()
    assert choose_start(start, X, first, [SIZE] * N_SLATES, ids()) is start


def test_readers_without_likes_are_still_ranked_by_what_training_starts_from() -> None:
    X, relevance = slates(PLAIN[0], NOISE)
    chosen = choose_start(load_shipped(), X, relevance, [SIZE] * N_SLATES, ids())
    X[:, FEATURES.index(PLAIN[0])] = 0
    orders = [np.argsort(each.margin(X), kind="stable") for each in (chosen, load_shipped())]
    assert isinstance(chosen, Blend)
    assert np.array_equal(*orders)


def test_a_half_good_scorer_keeps_a_share() -> None:
    X, _ = slates(PLAIN[0], NOISE, n=400)
    start = ColdStartScorer()
    # Likes need both: a plain ranker that is better, and what the scorer knows beside it.
    both = 1.5 * column(X, PLAIN[0]) + column(X, PLAIN[1])
    liked = both > np.quantile(both, 0.95)
    known = Blend(start, PLAIN[1], 1.0)
    chosen = choose_start(known, X, liked.astype(np.int32), [SIZE] * 400, ids(400))
    assert isinstance(chosen, Blend)
    assert chosen.feature == PLAIN[0]
    assert 0 < chosen.share < 1


def test_a_few_slates_give_no_plain_ranker_a_share() -> None:
    start, n = load_shipped(), FEWEST_SLATES
    X, relevance = slates(PLAIN[0], CONTRARY, n=n)
    assert choose_start(start, X, relevance, [SIZE] * n, ids(n)) is not start
    few = (n - 1) * SIZE
    assert choose_start(start, X[:few], relevance[:few], [SIZE] * (n - 1), ids(n - 1)) is start


def test_no_slates_change_nothing() -> None:
    start = load_shipped()
    X = np.zeros((0, len(FEATURES)), dtype=np.float32)
    nobody = np.zeros(0, dtype=np.int64)
    assert choose_start(start, X, np.zeros(0, dtype=np.int32), [], nobody) is start


class _Encoder:
    version = "enc-test"
