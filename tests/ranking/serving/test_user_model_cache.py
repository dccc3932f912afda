"""A reader's taste is learned once for what is known, kept, and never costs a digest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.support import topics
from tests.support.factories import DAY, NOON
from tests.support.installation import add_papers, add_reader, installed
from triage import store
from triage.domain.records import EventKind, Paper, Subscriber, UserModel
from triage.ranking import user_model
from triage.ranking.features import feature_matrix
from triage.ranking.serving import user_model_cache
from triage.ranking.serving.ranker import load_profile
from triage.ranking.serving.user_model_cache import UserModelCache
from triage.store import Database, tables
from triage.training import dataset

ON = DAY + timedelta(days=20)
LIKED = (0, 1, 2, 17)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The whole literature, listed on four days a week apart, and a reader who likes some of it."""
    with installed(tmp_path) as opened:
        stock = [
            replace(paper, listed_on=DAY + timedelta(days=7 * (n % 4) - 7))
            for n, paper in enumerate(topics.literature())
        ]
        encode(opened, add_papers(opened, stock))
        add_reader(opened, interests="protein folding")
        for row in LIKED:
            vote(opened, row)
        yield opened


@pytest.fixture
def reader(database: Database) -> Subscriber:
    with database.read() as conn:
        found = store.subscribers.by_id(conn, 1)
    assert found is not None
    return found


def encode(database: Database, papers: list[Paper]) -> None:
    with database.write() as conn:
        encoded = topics.encode([paper.text for paper in papers])
        ids = [paper.id for paper in papers]
        store.encodings.save(conn, topics.encoder().version, ids, encoded)


def vote(
    database: Database, row: int, kind: EventKind = EventKind.VOTE_UP, days: int = -3, who: int = 1
) -> None:
    with database.write() as conn:
        store.events.append(
            conn,
            store.events.Event(
                subscriber_id=who,
                paper_id=row + 1,
                kind=kind,
                at=NOON + timedelta(days=days),
                recorded_at=NOON,
            ),
        )


def taste_of(
    database: Database, reader: Subscriber, some: UserModelCache | None = None, on: date = ON
) -> UserModel | None:
    """Return a reader's taste, and keep it where it is new."""
    some = some or UserModelCache(topics.encoder())
    with database.write() as conn:
        votes = store.events.votes(conn, reader.id)
        profile = load_profile(conn, topics.encoder(), reader, votes, some.on(on))
        some.keep(conn, reader.id, NOON)
    return profile.user_model


def numbers(taste: UserModel | None) -> list[Any]:
    assert taste is not None
    return [
        taste.tfidf_models.toarray().tolist(), taste.intercepts.tolist(),
        taste.semantic_models.tolist(),
        taste.tfidf_centres.toarray().tolist(), taste.latent_centres.tolist(),
        taste.semantic_centres.tolist(), taste.tfidf_anchors.toarray().tolist(),
        taste.latent_anchors.tolist(), taste.semantic_anchors.tolist(), taste.everybody.tolist(),
    ]  # fmt: skip


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write down what is learned, and before which background."""
    done: list[str] = []

    def learn(profile: Any, past: Any) -> UserModel:
        done.append(past.name)
        return learned(profile, past)

    learned = user_model_cache.fit_user_model
    monkeypatch.setattr(user_model_cache, "fit_user_model", learn)
    return done


def test_a_taste_makes_what_is_like_the_likes_stand_out(
    database: Database, reader: Subscriber
) -> None:
    with database.read() as conn:
        learner = UserModelCache(topics.encoder()).on(ON)
        votes = store.events.votes(conn, reader.id)
        profile = load_profile(conn, topics.encoder(), reader, votes, learner)
    X = feature_matrix(profile, topics.library(5, 50), ON)
    likes = X[:, list(dataset.FEATURES).index("taste_likes")]
    assert likes[0] > likes[1] + 0.5


@pytest.mark.parametrize("n_readers", [2, 3])
def test_the_model_of_all_likes_needs_three_subscribers(
    database: Database, reader: Subscriber, n_readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_model, "FEWEST_LIKES_OF_ALL", 1)
    for who in range(2, n_readers + 1):
        add_reader(database, who)
        vote(database, LIKED[0], who=who)
    taste = taste_of(database, reader)
    assert taste is not None
    assert taste.everybody.any() == (n_readers >= 3)


def test_what_is_known_is_learned_once(
    database: Database, reader: Subscriber, fits: list[str]
) -> None:
    first = numbers(taste_of(database, reader))
    assert numbers(taste_of(database, reader)) == first
    assert len(fits) == 1


def test_what_is_kept_needs_no_papers_of_the_past(
    database: Database, reader: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = numbers(taste_of(database, reader))
    monkeypatch.setattr(user_model_cache, "fit_background", None)
    monkeypatch.setattr(store.papers, "newest_before", None)
    assert numbers(taste_of(database, reader)) == first


@pytest.mark.parametrize("kind", [EventKind.VOTE_UP, EventKind.VOTE_DOWN])
def test_a_vote_is_learned_at_once(
    database: Database, reader: Subscriber, kind: EventKind, fits: list[str]
) -> None:
    taste_of(database, reader)
    vote(database, 33, kind)
    taste_of(database, reader)
    assert len(fits) == 2


def test_new_words_are_learned_at_once(
    database: Database, reader: Subscriber, fits: list[str]
) -> None:
    taste_of(database, reader)
    other = replace(reader, interests="robot grasping")
    taste_of(database, other)
    taste_of(database, other)
    assert len(fits) == 2


def test_the_past_ends_with_the_month_once_there_is_enough_of_it(
    database: Database, reader: Subscriber, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    april = date(2026, 4, 20)
    taste_of(database, reader, on=april)
    monkeypatch.setattr(user_model_cache, "FEWEST_BACKGROUND", 60)
    taste_of(database, reader, on=april)
    taste_of(database, reader, on=april + timedelta(days=5))
    assert fits == ["2026-04-20", "2026-04-01"]


def test_nothing_of_the_day_or_later_is_learned_from(
    database: Database, reader: Subscriber
) -> None:
    for who in range(2, 4):
        add_reader(database, who)
        for row in range(2 * (who % 2), 60, 4):
            vote(database, row, who=who)
    before = numbers(taste_of(database, reader, UserModelCache(topics.encoder(), kept=False)))
    assert any(before[-1])
    new = [
        replace(paper, source_id=f"new.{n}", title=f"New {paper.title}", listed_on=ON)
        for n, paper in enumerate(topics.literature()[:20])
    ]
    encode(database, add_papers(database, new)[60:])
    for row in range(60, 80):
        vote(database, row, who=2, days=-3)
    for row in range(0, 60, 4):
        vote(database, row, EventKind.VOTE_DOWN, who=3, days=20)
    after = numbers(taste_of(database, reader, UserModelCache(topics.encoder(), kept=False)))
    assert after == before


def test_a_damaged_taste_is_learned_anew(
    database: Database, reader: Subscriber, fits: list[str]
) -> None:
    first = numbers(taste_of(database, reader))
    for content in (b"", b"PK\x03\x04 nothing", b"\x80\x04K\x01."):
        with database.write() as conn:
            conn.execute(update(tables.user_models).values(content=content))
        assert numbers(taste_of(database, reader)) == first
    assert len(fits) == 4


def test_what_cannot_be_learned_is_done_without(
    database: Database, reader: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> UserModel:
        raise ValueError("no convergence")

    with monkeypatch.context() as broken:
        broken.setattr(user_model_cache, "fit_user_model", fail)
        assert taste_of(database, reader) is None
    with monkeypatch.context() as broken:
        broken.setattr(user_model_cache, "fit_background", fail)
        assert taste_of(database, reader) is None
    assert taste_of(database, reader) is not None


def test_before_the_first_paper_there_is_nothing_to_learn(
    database: Database, reader: Subscriber
) -> None:
    taste = taste_of(database, reader, on=DAY - timedelta(days=30))
    assert taste is not None
    assert len(taste.intercepts) == 0
