"""What somebody would get who is not subscribed: close to their words, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import topics
from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import add_papers, installed
from tests.support.web_world import everything
from triage import store
from triage.digest.preview import FRESH_FOR, Previews
from triage.domain.records import Subscriber
from triage.ranking.serving.active_models import encode_new, ensure_active_models
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import DigestRules
from triage.store import Database
from triage.subscribers import subscriptions
from triage.subscribers.preferences import SubscriberPreferences

RULES = DigestRules(size=10, max_age_days=14, score_floor=0.01, exploration_slots=1)


@dataclass
class World:
    db: Database
    model_store: ModelStore
    clock: StoppedClock
    previews: Previews


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with installed(tmp_path) as database:
        model_store, clock = ModelStore(tmp_path / "models", b"a key"), StoppedClock(NOON)
        yield World(database, model_store, clock, Previews(database, model_store, clock, RULES))


def is_served(world: World) -> None:
    add_papers(world.db, topics.literature())
    encode_new(
        world.db, ensure_active_models(world.db, world.model_store, world.clock, DAY).encoder
    )


def nobody(interests: str = "", **wish: object) -> Subscriber:
    preferences = SubscriberPreferences(interests=interests, **wish)  # type: ignore[arg-type]
    return subscriptions.new_subscriber("nobody@example.org", preferences)


def test_papers_close_to_the_words_come_first_with_reasons(world: World) -> None:
    is_served(world)
    before = everything(world.db)
    shown = world.previews.of(nobody("speculative decoding of language models"))
    assert shown
    assert len(shown) <= 5
    assert shown[0].paper.categories[0] == "cs.CL"
    assert all(each.reasons and each.policy == "ranked" for each in shown)
    assert everything(world.db) == before


def test_what_is_left_out_is_not_shown(world: World) -> None:
    is_served(world)
    wish = nobody("speculative decoding", exclude_keywords=("decoding",))
    assert all("decoding" not in each.paper.text.lower() for each in world.previews.of(wish) or ())


def test_liked_papers_alone_bring_papers_like_them_and_never_themselves(world: World) -> None:
    is_served(world)
    with world.db.read() as conn:
        likes = [p.id for p in store.papers.iterate(conn) if p.categories[0] == "cs.CL"][:3]
    shown = world.previews.of(nobody(), likes)
    assert shown
    assert shown[0].paper.categories[0] == "cs.CL"
    assert not {each.paper.id for each in shown} & set(likes)


def test_a_floor_that_nothing_reaches_gives_nothing(world: World) -> None:
    is_served(world)
    strict = Previews(world.db, world.model_store, world.clock, replace(RULES, score_floor=0.99))
    assert strict.of(nobody("speculative decoding")) == ()


def test_without_papers_or_an_encoder_there_is_nothing_to_show(world: World) -> None:
    assert world.previews.of(nobody("decoding")) is None
    add_papers(world.db, topics.literature())
    assert world.previews.of(nobody("decoding")) is None


def test_the_newest_papers_are_read_again_after_a_while(world: World) -> None:
    is_served(world)
    wish = nobody("speculative decoding")

    def shown() -> list[int]:
        return [each.paper.id for each in world.previews.of(wish) or ()]

    before = shown()
    assert not set(before) <= {1, 2, 3}
    with world.db.write() as conn:
        conn.exec_driver_sql("UPDATE papers SET listed_on = '2025-01-01' WHERE id > 3")
    assert shown() == before
    world.clock.at += FRESH_FOR - timedelta(seconds=1)
    assert shown() == before
    world.clock.at += timedelta(seconds=1)
    assert set(shown()) <= {1, 2, 3}
