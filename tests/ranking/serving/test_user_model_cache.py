"""A reader's taste is learned once for what is known, kept, and never costs a digest."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, event, update

from tests.support import topics
from tests.support.factories import DAY, NOON
from tests.support.installation import add_papers, add_reader, installed
from triage import store
from triage.domain.records import EventKind, Paper, Profile, Subscriber, UserModel
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
        profile = load_profile(conn, topics.encoder(), reader, votes)
        block = some.load_block(conn, [profile], on)
        model = block.of(profile)
        some.save_block(conn, block, NOON)
    return model


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

    def learn(profile: Any, past: Any, start: Any) -> UserModel:
        done.append(past.name)
        return learned(profile, past, start)

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


def profiles_of(database: Database, readers: list[Subscriber]) -> list[Profile]:
    with database.read() as conn:
        return [
            load_profile(conn, topics.encoder(), each, store.events.votes(conn, each.id))
            for each in readers
        ]


def block_of(
    database: Database, readers: list[Subscriber], some: UserModelCache, only: list[int] | None
) -> list[UserModel | None]:
    """Return the models of a block of readers, and store those that are new."""
    profiles = profiles_of(database, readers)
    with database.read() as conn:
        block = some.load_block(conn, profiles, ON)
    models = [block.of(profile) for profile in profiles]
    with database.write() as conn:
        some.save_block(conn, block, NOON, only)
    return models


@pytest.fixture
def crowd(database: Database, reader: Subscriber) -> list[Subscriber]:
    """Five readers; the last one has no votes."""
    others = [add_reader(database, who) for who in range(2, 6)]
    for who in range(2, 5):
        for row in range(who, 60, 11):
            vote(database, row, who=who)
    return [reader, *others]


def test_a_block_gives_the_models_that_each_subscriber_gets_alone(
    database: Database, crowd: list[Subscriber], fits: list[str]
) -> None:
    cache = UserModelCache(topics.encoder())
    together = [numbers(each) for each in block_of(database, crowd, cache, None)]
    assert len(fits) == 5
    assert [numbers(each) for each in block_of(database, crowd, cache, None)] == together
    assert [numbers(taste_of(database, each)) for each in crowd] == together
    assert len(fits) == 5
    alone = UserModelCache(topics.encoder(), kept=False)
    assert [numbers(taste_of(database, each, alone)) for each in crowd] == together


@pytest.mark.parametrize("n_readers", [1, 5])
def test_the_statements_for_a_block_do_not_depend_on_its_size(
    database: Database, crowd: list[Subscriber], n_readers: int
) -> None:
    cache, statements = UserModelCache(topics.encoder()), list[str]()
    block_of(database, crowd, cache, None)
    for each in crowd:
        vote(database, 33, who=each.id)
    profiles = profiles_of(database, crowd[:n_readers])
    with database.write() as conn:
        event.listen(conn, "before_cursor_execute", lambda *told: statements.append(told[2]))
        block = cache.load_block(conn, profiles, ON)
        for profile in profiles:
            block.of(profile)
        cache.save_block(conn, block, NOON)
    assert [each.split()[0] for each in statements] == ["SELECT", "SELECT", "INSERT"]


def test_a_part_of_a_block_can_be_stored(
    database: Database, crowd: list[Subscriber], fits: list[str]
) -> None:
    cache = UserModelCache(topics.encoder())
    block_of(database, crowd, cache, [2, 4])
    block_of(database, crowd, cache, None)
    assert len(fits) == 5 + 3


def test_a_fit_starts_at_the_model_before_the_vote(
    database: Database, crowd: list[Subscriber], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[UserModel | None] = []

    def fit(profile: Any, past: Any, start: Any) -> UserModel:
        starts.append(start)
        return user_model.fit_user_model(profile, past, start)

    monkeypatch.setattr(user_model_cache, "fit_user_model", fit)
    cache = UserModelCache(topics.encoder())
    [before] = block_of(database, crowd[:1], cache, None)
    vote(database, 33)
    block_of(database, crowd[:1], cache, None)
    assert before is not None
    first, second = starts
    assert first is None
    assert second is not None
    assert np.array_equal(second.tfidf_models.toarray(), before.tfidf_models.toarray())


def test_models_of_an_older_program_are_fitted_anew(
    database: Database, reader: Subscriber, fits: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    first = numbers(taste_of(database, reader))
    archive = io.BytesIO()
    np.savez(archive, intercepts=np.zeros(4, dtype=np.float32))
    with database.write() as conn:
        conn.execute(update(tables.user_models).values(key="old", content=archive.getvalue()))
    assert numbers(taste_of(database, reader)) == first
    assert len(fits) == 2
    assert not caplog.records


def test_a_model_that_cannot_be_fitted_costs_nobody_else_theirs(
    database: Database, crowd: list[Subscriber], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(profile: Any, past: Any, start: Any) -> UserModel:
        if profile.subscriber.id == 2:
            raise ValueError("no convergence")
        return user_model.fit_user_model(profile, past, start)

    monkeypatch.setattr(user_model_cache, "fit_user_model", fit)
    found = block_of(database, crowd, UserModelCache(topics.encoder()), None)
    assert [each is None for each in found] == [False, True, False, False, False]


def test_new_models_keep_the_shared_weights_that_are_stored(
    database: Database, crowd: list[Subscriber], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_model, "FEWEST_LIKES_OF_ALL", 1)
    [before] = block_of(database, crowd[:1], UserModelCache(topics.encoder()), None)
    with database.write() as conn:
        conn.execute(delete(tables.events).where(tables.events.c.subscriber_id == 3))
    [after] = block_of(database, crowd[1:2], UserModelCache(topics.encoder()), None)
    assert before is not None
    assert after is not None
    assert before.everybody.any()
    assert np.array_equal(after.everybody, before.everybody)
