"""The ranking of a whole day for the page of a subscriber."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import topics
from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import add_papers, installed
from tests.support.web_world import everything
from triage import store
from triage.digest.day_ranking import DayRankings
from triage.domain.records import Subscriber
from triage.ranking.serving.active_models import encode_new, ensure_active_models
from triage.ranking.serving.interest_settings import refresh_interests, set_interest_pause
from triage.ranking.serving.model_store import ModelStore
from triage.store import Database
from triage.subscribers import subscriptions
from triage.subscribers.preferences import SubscriberPreferences


@dataclass
class World:
    db: Database
    model_store: ModelStore
    rankings: DayRankings


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with installed(tmp_path) as database:
        model_store = ModelStore(tmp_path / "models", b"a key")
        yield World(database, model_store, DayRankings(database, model_store))


def is_served(world: World) -> None:
    add_papers(world.db, topics.literature())
    models = ensure_active_models(world.db, world.model_store, StoppedClock(NOON), DAY)
    encode_new(world.db, models.encoder)


def reader(interests: str = "", **wish: object) -> Subscriber:
    preferences = SubscriberPreferences(interests=interests, **wish)  # type: ignore[arg-type]
    return subscriptions.new_subscriber("ada@example.org", preferences)


def test_every_paper_of_the_day_has_a_rank_and_the_closest_is_first(world: World) -> None:
    is_served(world)
    before = everything(world.db)
    ranking = world.rankings.of(reader("speculative decoding of language models"), DAY, DAY)
    assert ranking is not None
    with world.db.read() as conn:
        papers = {p.id: p for p in store.papers.listed_between(conn, DAY, DAY)}
    assert sorted(ranking.ranks.values()) == list(range(1, len(papers) + 1))
    best = min(ranking.ranks, key=ranking.ranks.__getitem__)
    assert papers[best].categories[0] == "cs.CL"
    why = ranking.explain([best, 10**6])
    assert list(why) == [best]
    assert why[best].reasons
    other = next(id for id in ranking.ranks if id != best)
    assert list(ranking.explain([other])) == [other]
    assert everything(world.db) == before


def test_what_the_preferences_keep_out_has_no_rank(world: World) -> None:
    is_served(world)
    ranking = world.rankings.of(reader(exclude_keywords=("decoding",)), DAY, DAY)
    assert ranking is not None
    with world.db.read() as conn:
        papers = store.papers.listed_between(conn, DAY, DAY)
    kept_out = [paper.id for paper in papers if "decoding" in paper.text.lower()]
    assert kept_out
    assert not ranking.ranks.keys() & set(kept_out)
    assert ranking.explain(kept_out) == {}


def test_papers_of_a_muted_interest_have_no_rank(world: World) -> None:
    is_served(world)
    clock = StoppedClock(NOON)
    wish = SubscriberPreferences(
        interests="speculative decoding of language models; protein folding and binding"
    )
    ada = subscriptions.add(world.db, "ada@example.org", clock, wish).subscriber
    refresh_interests(world.db, world.model_store, clock, ada)
    with world.db.read() as conn:
        [decoding] = [i for i in store.interests.of(conn, ada.id) if "decoding" in i.name]
    before = world.rankings.of(ada, DAY, DAY)
    set_interest_pause(world.db, clock, ada, decoding.number, muted=True)
    after = world.rankings.of(ada, DAY, DAY)
    assert before is not None
    assert after is not None
    assert len(after.ranks) < len(before.ranks)


def test_without_models_there_is_no_ranking(world: World) -> None:
    assert world.rankings.of(reader(), DAY, DAY) is None


def test_a_day_without_papers_has_an_empty_ranking(world: World) -> None:
    is_served(world)
    empty = DAY.replace(year=DAY.year + 1)
    ranking = world.rankings.of(reader("anything"), empty, empty)
    assert ranking is not None
    assert ranking.ranks == {}
