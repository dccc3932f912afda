"""All that was listed and liked, as known on any day: the future has no part in it."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import issparse

from tests.support import topics
from tests.support.factories import DAY, subscriber
from triage.domain.records import Background, EncodedPapers, Encodings, Paper
from triage.ranking import user_model
from triage.ranking.blend import PLAIN
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.features import FEATURES
from triage.ranking.user_model import FEWEST_BACKGROUND
from triage.training.dataset import Examples, History, LikeHistory
from triage.training.past_days import Likes

N_DAYS, N_EACH = 80, 30
# A window of likes is cut by it.
UNTIL = DAY + timedelta(days=70)
WISHES = {"decoding": "", "proteins": "protein folding", "robots": "", "graphs": "message passing"}


def reader(number: int, wish: str, likes: list[tuple[int, date]]) -> LikeHistory:
    own = sorted(likes, key=lambda like: like[1])
    return LikeHistory(
        subscriber(number, interests=wish),
        (wish,) if wish else (),
        topics.encode([wish] if wish else []),
        Likes(
            np.array([row for row, _ in own], dtype=np.int64),
            np.array([day.toordinal() for _, day in own], dtype=np.int64),
        ),
    )


@lru_cache(maxsize=1)
def listed() -> EncodedPapers:
    return topics.listings(N_DAYS, N_EACH)


def own_likes(number: int, topic: str) -> list[tuple[int, date]]:
    """Return a like of every tenth paper or so of a topic, on the day after its listing."""
    rows = [row for row, paper in enumerate(listed().papers) if topics.topic_of(paper) == topic]
    return [(row, listed().papers[row].listed_on + timedelta(1)) for row in rows[number::9]]


def history(
    papers: tuple[Paper, ...] = (), likes: dict[int, list[tuple[int, date]]] | None = None
) -> History:
    """Return four readers' history, and what is planted into it: later papers, other likes."""
    library = listed()
    if papers:
        extra = topics.of_papers(*papers)
        library = EncodedPapers(
            (*library.papers, *papers), _stacked(library.encodings, extra.encodings)
        )
    return History(
        library,
        [
            reader(number, wish, own_likes(number, topic) + (likes or {}).get(number, []))
            for number, (topic, wish) in enumerate(WISHES.items())
        ],
    )


def _stacked(above: Encodings, below: Encodings) -> Encodings:
    from scipy.sparse import vstack

    return Encodings(
        np.vstack([above.latent, below.latent]),
        vstack([above.tfidf, below.tfidf], format="csr"),
        np.vstack([above.semantic, below.semantic]),
        np.concatenate([above.hubness, below.hubness]),
        np.vstack([above.training_semantic, below.training_semantic]),
        np.concatenate([above.training_hubness, below.training_hubness]),
    )


def planted(since: date) -> History:
    """Return the history with papers of `since` and likes of that day on, of old and new papers."""
    n = len(listed())
    paper = replace(listed().papers[0], id=n + 1, listed_on=DAY + timedelta(N_DAYS))
    row = int(np.searchsorted([p.listed_on for p in listed().papers], since)) - 1
    likes = [(row, since), (row - 40, since), (3, since), (n, paper.listed_on)]
    return history((paper,), dict.fromkeys(range(4), likes))


def examples(of: History, n: int = 1_000, until: date = UNTIL, seed: int = 0) -> Examples:
    return of.examples(DAY, until, n, ColdStartScorer(), np.random.default_rng(seed))


@lru_cache(maxsize=1)
def usual() -> Examples:
    return examples(history())


def content(record: object) -> list[object]:
    """Return every value of a record, arrays as bytes."""
    found: list[object] = []
    for field in fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if isinstance(value, np.ndarray):
            found.append(value.tobytes())
        elif isinstance(value, Encodings):
            found += [
                value.latent.tobytes(),
                value.tfidf.toarray().tobytes(),
                value.semantic.tobytes(),
            ]
        elif issparse(value):
            found.append(value.toarray().tobytes())
        else:
            found.append(value)
    return found


def test_a_planted_future_moves_no_feature_row() -> None:
    now, then = usual(), examples(planted(UNTIL))
    assert len(now)
    assert content(now) == content(then)


def test_a_like_of_the_past_does_move_them() -> None:
    other = history(likes={0: [(40, DAY + timedelta(3))]})
    assert content(examples(other)) != content(usual())


@pytest.mark.parametrize("after", [20, 40, 79])
def test_a_planted_future_moves_no_background(after: int) -> None:
    on = DAY + timedelta(after)
    assert content(history().background(on)) == content(planted(on).background(on))


def test_a_background_holds_what_was_listed_before_and_nothing_of_the_day() -> None:
    on = DAY + timedelta(20)
    found = history().background(on)
    assert found.paper_ids.tolist() == list(range(1, 20 * N_EACH + 1))
    assert found.everybody.any()
    assert not history().background(DAY).everybody.any()


def test_the_model_of_all_likes_needs_three_readers_who_are_not_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(user_model, "FEWEST_LIKES_OF_ALL", 1)
    on, usual_one = DAY + timedelta(20), history()
    two = History(usual_one.papers, usual_one.readers[:2])
    alone = History(usual_one.papers, usual_one.readers, alone=True)
    three = History(usual_one.papers, usual_one.readers[:3])
    found = [each.background(on).everybody.any() for each in (two, alone, three)]
    assert found == [False, False, True]


def test_a_background_serves_a_month_once_there_are_enough_papers() -> None:
    of = history()
    last = DAY + timedelta(N_DAYS - 1)
    month = last.replace(day=1)
    assert (month - DAY).days * N_EACH < FEWEST_BACKGROUND < N_DAYS * N_EACH
    assert of.background(last).name == str(last)
    later = _months_later(last)
    of = history(tuple(replace(p, id=9_000, listed_on=later) for p in listed().papers[:1]))
    first, second = of.background(later), of.background(later + timedelta(9))
    assert second is first
    assert first.name == str(later.replace(day=1))
    assert first.paper_ids.max() == N_DAYS * N_EACH


def _months_later(day: date) -> date:
    return (day.replace(day=1) + timedelta(40)).replace(day=5)


def test_a_profile_knows_what_it_is_told_and_has_learned_a_taste_from_it() -> None:
    of, on = history(), DAY + timedelta(30)
    known: NDArray[np.int64] = np.array([33, 7], dtype=np.int64)
    profile = of.profile(of.readers[1], known, on)
    assert [paper.id for paper in profile.liked.papers] == [34, 8]
    assert profile.phrases == ("protein folding",)
    assert profile.user_model is not None
    assert len(profile.user_model.intercepts) == profile.user_model.tfidf_models.shape[0] > 0
    nobody = of.profile(of.readers[0], known[:0], on)
    assert nobody.user_model is not None
    assert len(nobody.user_model.intercepts) == 0


def test_examples_fit_each_other() -> None:
    found = usual()
    assert found.features.shape == (len(found), len(FEATURES))
    assert found.features.dtype == found.weights.dtype == np.float32
    assert sum(found.group_sizes) == len(found) == len(found.weights)
    assert np.isfinite(found.features).all()
    assert (found.weights > 0).all()
    starts = np.cumsum((0, *found.group_sizes))[:-1]
    assert (np.add.reduceat(found.relevance, starts) > 0).all()


def test_examples_hold_readers_of_whom_nothing_and_much_is_known() -> None:
    found = usual()
    knowledge = found.features[:, FEATURES.index("n_likes_log1p")]
    assert knowledge.min() == 0
    assert knowledge.max() > np.log1p(10)


def test_examples_hold_the_best_papers_of_each_plain_ranker_and_who_reads_them() -> None:
    of = history()
    # Ids that are no positions.
    of.readers = [
        replace(each, subscriber=replace(each.subscriber, id=100 - n))
        for n, each in enumerate(of.readers)
    ]
    days = of.days(DAY, UNTIL, 3, np.random.default_rng(0))
    made = of.examples_of(days, ColdStartScorer(), np.random.default_rng(0))
    assert made.readers.tolist() == [of.readers[day.subscriber].subscriber.id for day in days]
    ends = np.cumsum(made.group_sizes)[:-1]
    for X, rows in zip(of.feature_matrices(days), np.split(made.features, ends), strict=True):
        for name in PLAIN:
            column = FEATURES.index(name)
            assert np.isin(np.sort(X[:, column])[-10:], rows[:, column]).all()


def test_the_same_seed_gives_the_same_examples() -> None:
    assert content(examples(history(), 3)) == content(examples(history(), 3))
    assert content(examples(history(), 3)) != content(examples(history(), 3, seed=1))


@pytest.mark.parametrize(("at_once", "batch"), [(1, 1), (3, 7)])
def test_examples_do_not_depend_on_how_many_days_are_read_at_once(
    monkeypatch: pytest.MonkeyPatch, at_once: int, batch: int
) -> None:
    monkeypatch.setattr("triage.training.dataset.AT_ONCE", at_once)
    monkeypatch.setattr("triage.training.dataset.BATCH", batch)
    assert content(examples(history())) == content(usual())


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[str, int, int | None]] = []
    dice = np.random.default_rng(0)
    history().examples(DAY, UNTIL, 3, ColdStartScorer(), dice, lambda *step: told.append(step))
    assert told[-1][1] == told[-1][2] == len(told)


@pytest.mark.parametrize("readers", [[], [reader(1, "", [])]])
def test_no_likes_give_no_examples(readers: list[LikeHistory]) -> None:
    found = examples(History(listed(), readers))
    assert len(found) == 0
    assert found.features.shape == (0, len(FEATURES))


def test_no_papers_give_an_empty_background() -> None:
    found: Background = History(topics.library(), []).background(DAY)
    assert len(found) == 0


def taught(since: date) -> History:
    """Return the history by an encoder whose vectors are nonsense now and were not then."""
    papers = history().papers
    of = papers.encodings
    now = replace(of, semantic=0 * of.semantic, hubness=0 * of.hubness)
    both = replace(now, training_semantic=of.semantic, training_hubness=of.hubness)
    return History(replace(papers, encodings=both), history().readers, since)


def test_past_days_show_what_the_encoder_had_learned_by_then() -> None:
    days = history().days(DAY, UNTIL, 20, np.random.default_rng(0))
    for usual, then in zip(
        history().feature_matrices(days), taught(DAY).feature_matrices(days), strict=True
    ):
        assert np.array_equal(usual, then)


def test_no_past_day_is_of_papers_that_the_encoder_has_learned_from() -> None:
    middle = DAY + timedelta(N_DAYS // 2)
    days = taught(middle).days(DAY, UNTIL, 1_000, np.random.default_rng(0))
    assert min(day.day for day in days) >= middle.toordinal()
    assert len(days) < len(history().days(DAY, UNTIL, 1_000, np.random.default_rng(0)))
    dice = np.random.default_rng(0)
    assert len(taught(middle).examples(DAY, middle, 1_000, ColdStartScorer(), dice)) == 0
