"""What somebody would get who is not subscribed: close to their words, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.support import topics
from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import add_papers, add_reader, installed
from tests.support.web_world import everything
from triage import store
from triage.digest.preview import FRESH_FOR, Preview, Previews
from triage.domain.records import EventKind, Impression, Subscriber
from triage.ranking.serving.active_models import encode_new, encode_stored, ensure_active_models
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import DigestRules
from triage.store import Database
from triage.store.tables import papers
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


def shown_to(
    world: World, somebody: Subscriber, likes: Sequence[int] = ()
) -> tuple[Impression, ...]:
    return world.previews.of(somebody, likes).impressions


def vote(db: Database, subscriber_id: int, paper_id: int) -> None:
    with db.write() as conn:
        event = store.events.Event(subscriber_id, paper_id, EventKind.VOTE_UP, NOON, NOON)
        store.events.append(conn, event)


def test_papers_close_to_the_words_come_first_with_reasons(world: World) -> None:
    is_served(world)
    before = everything(world.db)
    shown = shown_to(world, nobody("speculative decoding of language models"))
    assert shown
    assert len(shown) <= 5
    assert shown[0].paper.categories[0] == "cs.CL"
    assert all(each.reasons and each.policy == "ranked" for each in shown)
    assert everything(world.db) == before


def test_what_is_left_out_is_not_shown(world: World) -> None:
    is_served(world)
    wish = nobody("speculative decoding", exclude_keywords=("decoding",))
    shown = shown_to(world, wish)
    assert all("decoding" not in each.paper.text.lower() for each in shown)


def test_liked_papers_alone_bring_papers_like_them_and_never_themselves(world: World) -> None:
    is_served(world)
    with world.db.read() as conn:
        likes = [p.id for p in store.papers.iterate(conn) if p.categories[0] == "cs.CL"][:3]
    shown = shown_to(world, nobody(), likes)
    assert shown
    assert shown[0].paper.categories[0] == "cs.CL"
    assert not {each.paper.id for each in shown} & set(likes)


def test_a_floor_that_nothing_reaches_gives_nothing_and_says_what_was_looked_at(
    world: World,
) -> None:
    is_served(world)
    strict = Previews(world.db, world.model_store, world.clock, replace(RULES, score_floor=0.99))
    preview = strict.of(nobody("speculative decoding"))
    assert preview.impressions == ()
    assert preview.n_papers == len(topics.literature())
    assert preview.days == (DAY,)


def test_without_papers_or_their_vectors_there_is_nothing_to_show(world: World) -> None:
    assert world.previews.of(nobody("decoding")) == Preview()
    add_papers(world.db, topics.literature())
    assert world.previews.of(nobody("decoding")) == Preview((), 0, (DAY,))
    encode_stored(world.db, world.model_store, world.clock)
    assert shown_to(world, nobody("speculative decoding"))


def test_a_weekend_or_holidays_do_not_empty_it(world: World) -> None:
    add_papers(world.db, topics.literature())
    days = [DAY - timedelta(days=n) for n in (0, 20, 23, 24)]
    with world.db.write() as conn:
        for row, on in enumerate(days, start=1):
            chosen = papers.c.id % len(days) == row - 1
            conn.execute(update(papers).where(chosen).values(listed_on=on))
    encode_stored(world.db, world.model_store, world.clock)
    preview = world.previews.of(nobody("speculative decoding of language models"))
    assert preview.days == (days[2], days[1], days[0])
    assert preview.n_papers == sum(1 for id in range(1, 1 + len(topics.literature())) if id % 4 < 3)
    assert {each.paper.listed_on for each in preview.impressions} <= set(preview.days)
    assert any(each.paper.listed_on != DAY for each in preview.impressions)


def test_a_text_of_unknown_words_is_told_from_one_that_fits_nothing(world: World) -> None:
    is_served(world)
    assert world.previews.of(nobody("zzqx")).has_unknown_words
    assert not world.previews.of(nobody("zzqx; speculative decoding")).has_unknown_words
    assert not world.previews.of(nobody(categories=("cs.CL",))).has_unknown_words


def test_a_subscriber_sees_what_other_words_would_give_and_no_paper_with_a_vote(
    world: World,
) -> None:
    is_served(world)
    reader = add_reader(world.db)
    before = shown_to(world, replace(reader, interests="speculative decoding", size=60))
    assert len(before) == 5
    voted = before[0].paper.id
    vote(world.db, reader.id, voted)
    unchanged = everything(world.db)
    after = shown_to(world, replace(reader, interests="protein folding"))
    assert voted not in {each.paper.id for each in after}
    assert {each.paper.categories[0] for each in after} == {"cs.CL", "q-bio.BM"}
    assert everything(world.db) == unchanged


def test_the_newest_papers_are_read_again_after_a_while(world: World) -> None:
    is_served(world)
    wish = nobody("speculative decoding")

    def shown() -> list[int]:
        return [each.paper.id for each in shown_to(world, wish)]

    before = shown()
    assert not set(before) <= {1, 2, 3}
    with world.db.write() as conn:
        conn.exec_driver_sql("UPDATE papers SET listed_on = '2025-01-01' WHERE id > 3")
    assert shown() == before
    world.clock.at += FRESH_FOR - timedelta(seconds=1)
    assert shown() == before
    world.clock.at += timedelta(seconds=1)
    assert set(shown()) <= {1, 2, 3}
