"""Forgotten votes count nowhere at once, come back for an hour, and are then deleted."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from tests.support.factories import NOON
from tests.support.web_world import World, new_world
from triage import store
from triage.domain.records import EventKind, Interest
from triage.domain.source_records import NamedPaper
from triage.store.tables import events, impressions, interests, named_papers, slates, user_models
from triage.store.tables import forgotten_votes as moved
from triage.subscribers import forgotten_votes, votes

UP, DOWN = EventKind.VOTE_UP, EventKind.VOTE_DOWN
HOUR = timedelta(hours=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = new_world(tmp_path)
    for reader in (0, 1):
        for position, kind in ((1, UP), (2, DOWN)):
            claims = world.claims(position, kind, reader)
            votes.record_vote(world.db, claims, world.clock, {"method": "test"})
    ada = world.readers[0].id
    with world.db.write() as conn:
        found = [Interest(0, "drafts", (1,), ()), Interest(0, "knots", (), ("knots",))]
        store.interests.save(conn, ada, found, NOON)
        until = date(2026, 4, 1)
        store.interests.set_muted(conn, ada, 2, muted=False, paused_until=until, at=NOON)
        store.named_papers.add(conn, ada, [NamedPaper("arxiv", "2401.00001")], "bibtex", NOON)
        model = {"subscriber_id": ada, "key": "k", "content": b"weights", "made_at": NOON}
        conn.execute(user_models.insert(), model)
    return world


def content(world: World) -> list[Any]:
    """Return what is forgotten and brought back, without the numbers of rows."""
    with world.db.read() as conn:
        return [
            sorted(
                str({name: value for name, value in row._mapping.items() if name != "id"})
                for row in conn.execute(select(table))
            )
            for table in (events, named_papers, interests)
        ]


def n_moved(world: World) -> int:
    with world.db.read() as conn:
        return len(conn.execute(select(moved)).all())


def forget(world: World) -> int:
    return forgotten_votes.forget(world.db, world.clock, world.readers[0])


def restore(world: World) -> bool:
    return forgotten_votes.restore(world.db, world.clock, world.readers[0])


def voters(world: World) -> set[int]:
    return {who for who, _, _ in world.events()}


def test_forgotten_votes_are_in_no_table_that_anything_counts(world: World) -> None:
    ada, other = world.readers[0].id, world.readers[1].id
    assert forget(world) == 2
    assert voters(world) == {other}
    with world.db.read() as conn:
        assert store.events.votes(conn, ada) == ()
        assert store.interests.of(conn, ada) == ()
        assert store.named_papers.waiting(conn, 0, 9) == []
        assert conn.execute(select(user_models)).all() == []


def test_within_an_hour_everything_comes_back_as_it_was(world: World) -> None:
    before = content(world)
    forget(world)
    assert content(world) != before
    world.clock.sleep(3599)
    assert restore(world)
    assert content(world) == before
    assert n_moved(world) == 0
    assert not restore(world)


def test_after_an_hour_nothing_comes_back(world: World) -> None:
    forget(world)
    with world.db.read() as conn:
        until = forgotten_votes.can_restore_until(conn, world.clock, world.readers[0])
    assert until == NOON + HOUR
    world.clock.sleep(3600)
    with world.db.read() as conn:
        assert forgotten_votes.can_restore_until(conn, world.clock, world.readers[0]) is None
    assert not restore(world)
    assert voters(world) == {world.readers[1].id}


def test_the_nightly_job_deletes_what_can_no_longer_come_back(world: World) -> None:
    forget(world)
    world.clock.sleep(3599)
    world.enrolment.tidy()
    assert n_moved(world) > 0
    world.clock.sleep(1)
    world.enrolment.tidy()
    assert n_moved(world) == 0


def test_votes_that_were_cast_since_stay_and_are_the_last_ones(world: World) -> None:
    forget(world)
    world.clock.sleep(60)
    claims = world.claims(1, DOWN)
    votes.record_vote(world.db, claims, world.clock, {"method": "test"})
    restore(world)
    with world.db.read() as conn:
        found = store.events.votes(conn, world.readers[0].id)
    assert {vote.paper_id: vote.kind for vote in found} == {1: DOWN, 2: DOWN}


def test_who_forgets_twice_in_an_hour_gets_everything_back(world: World) -> None:
    forget(world)
    world.clock.sleep(60)
    votes.record_vote(world.db, world.claims(3, UP), world.clock, {"method": "test"})
    assert forget(world) == 1
    restore(world)
    with world.db.read() as conn:
        assert len(store.events.votes(conn, world.readers[0].id)) == 3


def test_a_paper_that_was_named_again_comes_back_once(world: World) -> None:
    forget(world)
    with world.db.write() as conn:
        names = [NamedPaper("arxiv", "2401.00001")]
        store.named_papers.add(conn, world.readers[0].id, names, "ris", NOON)
    restore(world)
    with world.db.read() as conn:
        assert [each.method for each in store.named_papers.waiting(conn, 0, 9)] == ["ris"]


def test_votes_of_a_digest_that_was_deleted_since_stay_forgotten(world: World) -> None:
    claims = world.claims(3, UP)
    votes.record_vote(world.db, claims, world.clock, {"method": "test"})
    with world.db.write() as conn:
        conn.execute(update(events).where(events.c.paper_id == 3).values(slate_id=None))
    forget(world)
    with world.db.write() as conn:
        ada = world.readers[0].id
        conn.execute(delete(impressions).where(impressions.c.subscriber_id == ada))
        conn.execute(delete(slates).where(slates.c.subscriber_id == ada))
    restore(world)
    with world.db.read() as conn:
        assert [vote.paper_id for vote in store.events.votes(conn, ada)] == [3]
