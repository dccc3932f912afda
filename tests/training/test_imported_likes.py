"""Imported likes teach and judge a ranker, and nothing later than a day has a say in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.support import databases, topics
from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import (
    SPOILT,
    add_papers,
    add_reader,
    empty_slate,
    installed,
    queue,
    spoil,
)
from triage import store
from triage.domain.records import EventKind, Paper
from triage.errors import NotEnoughFeedback
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.features import FEATURES
from triage.ranking.serving.active_models import encode_new, ensure_active_models
from triage.ranking.serving.model_store import ModelStore
from triage.store import Database, open_database
from triage.subscribers.subscriptions import add_likes
from triage.training import imported_likes as module
from triage.training.dataset import Examples, History
from triage.training.imported_likes import (
    like_days,
    load_imported_likes,
    make_examples,
    rank_past_days,
)
from triage.training.train import train

N_DAYS = 24
FIRST = DAY - timedelta(days=N_DAYS + 6)
READERS = ("decoding", "proteins", "robots", "graphs", "decoding", "robots")


def stock(first: date = FIRST, n_days: int = N_DAYS, name: str = "s") -> list[Paper]:
    """Return the literature over again each day, under other titles."""
    return [
        replace(
            paper,
            source_id=f"{name}.{day}.{n}",
            title=f"{paper.title} part {name} {day}",
            listed_on=first + timedelta(days=day),
        )
        for day in range(n_days)
        for n, paper in enumerate(topics.literature())
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a database with papers, likes and vectors; tests work on copies."""
    with databases.migrated_url(tmp_path_factory.mktemp("prepared")) as url:
        opened = open_database(url)
        add_papers(opened, stock())
        for reader, topic in enumerate(READERS, start=1):
            add_reader(opened, reader)
            for day in range(reader % 2, N_DAYS, 2):
                like(opened, reader, day * 60 + topics.rows_of(topic)[day % 15] + 1)
        encode_all(opened)
        opened.close()
        yield url


@pytest.fixture
def database(prepared: str, tmp_path: Path) -> Iterator[Database]:
    with databases.opened_copy(prepared, tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def usual(prepared: str, tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Return the examples of that database on DAY."""
    with databases.opened_copy(prepared, tmp_path_factory.mktemp("usual")) as opened:
        return examples(opened, DAY)


@pytest.fixture
def model_store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", b"a key of the tests")


def like(
    database: Database, who: int, paper_id: int, days: int = -2, slate_id: int | None = None
) -> None:
    with database.write() as conn:
        store.events.append(
            conn,
            store.events.Event(
                subscriber_id=who,
                paper_id=paper_id,
                slate_id=slate_id,
                kind=EventKind.VOTE_UP,
                at=NOON + timedelta(days=days),
                recorded_at=NOON,
            ),
        )


def examples(database: Database, until: date) -> Examples:
    encode_all(database)
    with database.read() as conn:
        return make_examples(
            load_imported_likes(conn, topics.encoder(), until), until, ColdStartScorer()
        )


def encode_all(database: Database) -> None:
    with database.write() as conn:
        missing = store.encodings.missing(conn, topics.encoder().version)
        papers = list(store.papers.load(conn, missing).values())
        encoded = topics.encode([paper.text for paper in papers])
        ids = [paper.id for paper in papers]
        store.encodings.save(conn, topics.encoder().version, ids, encoded)


def test_imported_likes_become_query_groups(usual: Examples) -> None:
    made = usual
    assert made.features.shape == (sum(made.group_sizes), len(FEATURES))
    assert len(made.group_sizes) > 20
    assert set(made.relevance.tolist()) == {0, 2}
    assert (made.weights > 0).all()
    ends = np.cumsum(made.group_sizes)
    assert all(group.any() for group in np.split(made.relevance, ends[:-1]))


def test_papers_that_a_subscriber_wrote_teach_nothing(database: Database) -> None:
    def count() -> dict[int, int]:
        with database.read() as conn:
            history = load_imported_likes(conn, topics.encoder(), DAY)
        return {each.subscriber.id: len(each.likes.rows) for each in history.readers}

    before = count()
    with database.write() as conn:
        ids = [vote.paper_id for vote in store.events.votes(conn, 1)]
        add_likes(conn, 1, (), NOON, "own papers", dict.fromkeys(ids[:5], "Ann Other"))
    assert count() == before | {1: before[1] - 5}


@pytest.mark.skipif(databases.on_postgres(), reason="PostgreSQL refuses such values itself")
def test_who_has_a_row_that_cannot_be_read_teaches_nothing_and_stops_nothing(
    database: Database, usual: Examples
) -> None:
    spoil(database, "reader1@example.org", *SPOILT["no JSON at all"])
    made = examples(database, DAY)
    assert 0 < len(made.relevance) < len(usual.relevance)


def test_no_paper_and_no_vote_of_the_day_or_later_moves_a_row(
    database: Database, usual: Examples
) -> None:
    before = usual
    n_before = N_DAYS * 60
    add_papers(database, stock(DAY, 2, "future"))
    for who in range(1, 5):
        like(database, who, n_before + 7 * who)
        like(database, who, n_before + 60 + 7 * who, days=1)
        like(database, who, 300 + 7 * who, days=0)
    after = examples(database, DAY)
    assert np.array_equal(before.features, after.features)
    assert np.array_equal(before.relevance, after.relevance)
    assert np.array_equal(before.weights, after.weights)
    # They do count from the day after on.
    later = examples(database, DAY + timedelta(days=3))
    assert later.features.shape != after.features.shape


def test_upvotes_of_today_say_nothing_of_a_past_day(usual: Examples) -> None:
    assert not usual.features[:, FEATURES.index("upvotes_log1p")].any()


def test_past_days_weigh_no_more_than_so_many_shown_papers(
    database: Database, usual: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAVIEST", float(usual.weights.sum()) / 4)
    capped = examples(database, DAY)
    assert np.allclose(capped.weights, usual.weights / 4)


def test_votes_on_digests_are_left_to_the_log(database: Database) -> None:
    reader = add_reader(database, 9)
    queue(database, empty_slate(reader))
    like(database, reader.id, 7, slate_id=1)
    with database.read() as conn:
        readers = load_imported_likes(conn, topics.encoder(), DAY).readers
    assert [each.subscriber.id for each in readers] == list(range(1, len(READERS) + 1))


def test_scorers_rank_the_same_past_days(database: Database) -> None:
    with database.read() as conn:
        library = load_imported_likes(conn, topics.encoder(), DAY)
    days = like_days(library)
    cold = ColdStartScorer()
    split = date.fromordinal(days[len(days) // 2])
    values, held_out = rank_past_days(library, split, DAY, {"one": cold, "other": cold})
    assert np.array_equal(values["one"], values["other"])
    assert len(values["one"]) == len(held_out.starts) == len(held_out.subscriber_ids) > 8
    assert set(held_out.subscriber_ids.tolist()) <= set(range(1, len(READERS) + 1))


def test_days_that_the_encoder_has_learned_from_neither_teach_nor_judge(database: Database) -> None:
    with database.read() as conn:
        library = load_imported_likes(conn, topics.encoder(), DAY)
    days = like_days(library)
    middle = days[len(days) // 2]
    taught = History(library.papers, library.readers, date.fromordinal(middle))
    assert like_days(taught) == [day for day in days if day >= middle]


def test_without_likes_there_is_nothing_to_learn(tmp_path: Path, model_store: ModelStore) -> None:
    with installed(tmp_path) as empty:
        add_papers(empty, stock(n_days=2))
        with pytest.raises(NotEnoughFeedback, match="votes from mails or imported likes"):
            train(empty, model_store, StoppedClock())


def test_a_ranker_learns_from_imported_likes_alone_and_past_days_judge_it(
    database: Database, model_store: ModelStore
) -> None:
    encode_new(database, ensure_active_models(database, model_store, StoppedClock(), DAY).encoder)
    report = train(database, model_store, StoppedClock())
    assert (report.n_slates, report.n_votes) == (0, 0)
    assert " later slates" in report.why
    [n_held_out] = re.findall(r"on (\d+) later slates", report.why)
    assert int(n_held_out) > 8
    assert report.why.startswith("judged by past days of imported likes, for want of later digests")
    assert report.card["taught_until"] < str(DAY)
    again = train(database, model_store, StoppedClock())
    if not report.promoted:
        assert again.version == report.version
    else:
        assert "too few to judge by" in again.why
