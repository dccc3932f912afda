"""The baselines do what their programs do, on past days with what was known then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from numpy.random import Generator

from tests.support.factories import DAY, subscriber
from tests.support.topics import literature, rows_of
from triage.domain.records import F64
from triage.training.evaluation.baselines import (
    ASL,
    FEW_PAPERS,
    LR,
    NAMES,
    TEXT,
    ZOTERO,
    Baselines,
    PastBaselines,
    peer_text,
)

LEARNERS = (ASL, ZOTERO, LR)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [peer_text(p.title, p.abstract, p.authors) for p in literature()]


@pytest.fixture(scope="module")
def baselines(texts: list[str]) -> Baselines:
    return Baselines(texts)


@pytest.fixture
def rng() -> Generator:
    return np.random.default_rng(0)


def best(scores: F64, k: int) -> set[int]:
    return {int(row) for row in np.argsort(-scores, kind="stable")[:k]}


@pytest.mark.parametrize("name", LEARNERS)
def test_likes_of_a_topic_bring_up_the_topic(
    baselines: Baselines, rng: Generator, name: str
) -> None:
    robots = rows_of("robots")
    scores = baselines.scores(name, "proteins", robots[:4], rng)
    assert scores.dtype == np.float64
    assert scores.shape == (len(literature()),)
    assert best(scores, 12) <= set(robots)


def test_text_reads_interests_and_nothing_else(baselines: Baselines, rng: Generator) -> None:
    scores = baselines.scores(TEXT, "robot grasping", rows_of("proteins")[:3], rng)
    assert best(scores, 10) <= set(rows_of("robots"))
    assert scores.max() <= 1


def test_authors_count_as_words(rng: Generator) -> None:
    texts = [
        peer_text("On things", "They are.", [name]) for name in ("Noether", "Hopper", "Noether")
    ]
    scores = Baselines(texts).scores(ZOTERO, "", [0], rng)
    assert scores[2] > scores[1]


def test_zotero_weighs_the_newest_like_most(baselines: Baselines, rng: Generator) -> None:
    robot, protein = rows_of("robots")[0], rows_of("proteins")[0]
    newest_robot = baselines.scores(ZOTERO, "", [robot, protein], rng)
    newest_protein = baselines.scores(ZOTERO, "", [protein, robot], rng)
    assert newest_robot[robot] > newest_robot[protein]
    assert newest_protein[protein] > newest_protein[robot]


def test_zotero_is_the_weighted_mean_of_cosines(baselines: Baselines, rng: Generator) -> None:
    liked = [3, 20, 41]
    cosines = (baselines.words @ baselines.words[liked].T).toarray()
    weights = np.array([1, 1 / (1 + np.log10(2)), 1 / (1 + np.log10(3))])
    expected = cosines @ weights / weights.sum()
    assert baselines.scores(ZOTERO, "", liked, rng) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", LEARNERS)
def test_without_likes_there_is_nothing_to_go_by(
    baselines: Baselines, rng: Generator, name: str
) -> None:
    assert not baselines.scores(name, "robots", [], rng).any()


@pytest.mark.parametrize("interests", ["", "quux", "的"])
def test_interests_without_a_known_word_say_nothing(
    baselines: Baselines, rng: Generator, interests: str
) -> None:
    assert not baselines.scores(TEXT, interests, [1], rng).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_state_of_chance_gives_the_same_scores(baselines: Baselines, name: str) -> None:
    first, second = (
        baselines.scores(name, "graphs", [1, 2], np.random.default_rng(5)) for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_only_lr_draws(baselines: Baselines) -> None:
    drawn = {}
    for name in NAMES:
        rng = np.random.default_rng(5)
        baselines.scores(name, "graphs", [1, 2], rng)
        drawn[name] = rng.random() != np.random.default_rng(5).random()
    assert drawn == {ASL: False, ZOTERO: False, LR: True, TEXT: False}


@pytest.mark.parametrize("name", NAMES)
def test_papers_that_were_not_listed_yet_teach_nothing(texts: list[str], name: str) -> None:
    now = 40
    learned = Baselines(texts[:now])
    few = learned.scores(name, "graphs", [1, 2], np.random.default_rng(5))
    both = Baselines(texts, now)
    many = both.scores(name, "graphs", [1, 2], np.random.default_rng(5), n_known=now)
    assert len(many) == len(texts)
    assert many[:now] == pytest.approx(few, abs=1e-4)


def test_who_likes_everything_tells_nothing_apart(texts: list[str], rng: Generator) -> None:
    few = Baselines(texts[:6])
    for name in (ASL, LR):
        assert not few.scores(name, "", range(6), rng).any()


def test_texts_without_words_are_no_failure(rng: Generator) -> None:
    empty = Baselines(["", "1 2 3", "the of and"])
    assert len(empty) == 3
    for name in NAMES:
        assert not empty.scores(name, "robots", [0], rng).any()
    assert len(Baselines([])) == 0


def test_among_many_papers_rare_and_common_terms_do_not_count(rng: Generator) -> None:
    # `everywhere` stands in all papers, `topicN` in ten, `own…` in one.
    letters = "abcdefghij"
    names = ["".join(letters[int(digit)] for digit in f"{n:03d}") for n in range(FEW_PAPERS)]
    papers = [f"everywhere topic{n % 100} own{name}" for n, name in enumerate(names)]
    many = Baselines(papers)
    assert not many.scores(TEXT, "everywhere ownaaa", [], rng).any()
    assert best(many.scores(TEXT, "topic7", [], rng), 10) == set(range(7, FEW_PAPERS, 100))


def test_an_unknown_peer_is_refused(baselines: Baselines, rng: Generator) -> None:
    with pytest.raises(KeyError):
        baselines.scores("oracle", "", [1], rng)


def test_past_baselines_are_fitted_again_only_when_the_likes_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    papers = [
        replace(paper, listed_on=DAY + timedelta(row // 20))
        for row, paper in enumerate(literature())
    ]
    ids = [paper.id for paper in papers]
    calls: list[tuple[list[int], int]] = []

    def fit(
        self: Baselines,
        name: str,
        interests: str,
        liked: list[int],
        rng: Generator,
        *,
        n_known: int,
    ) -> F64:
        calls.append((list(liked), n_known))
        return rng.random(len(self))

    monkeypatch.setattr(Baselines, "scores", fit)
    past = PastBaselines(papers, DAY)
    who, other = subscriber(1), subscriber(2)
    first = past.scores(LR, who, ids[:2], DAY, ids)
    assert np.array_equal(first, past.scores(LR, who, ids[:2], DAY + timedelta(1), ids))
    assert calls == [([0, 1], 20)]
    later = past.scores(LR, who, ids[:3], DAY + timedelta(1), ids)
    assert calls[1:] == [([0, 1, 2], 40)]
    # Other subscribers in between do not change what a day draws.
    again = PastBaselines(papers, DAY)
    again.scores(LR, other, ids[:2], DAY, ids)
    assert np.array_equal(later, again.scores(LR, who, ids[:3], DAY + timedelta(1), ids))
    assert np.array_equal(first, again.scores(LR, who, ids[:2], DAY, ids))
