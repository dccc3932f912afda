"""A save is a vote and a place in a collection, and taking it back ends both."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.factories import NOON
from tests.support.installation import fetched, take_in
from tests.support.web_world import ADDRESS, World, add_papers, new_world, paper_row
from triage import store
from triage.domain.records import EventKind, Origin
from triage.errors import NotFound
from triage.papers.deduplicate import merge, split
from triage.subscribers import collections, subscriptions, votes

UP, DOWN, SAVE = EventKind.VOTE_UP, EventKind.VOTE_DOWN, EventKind.SAVE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def cast(world: World, kind: EventKind, position: int = 1, **options: Any) -> None:
    claims = world.claims(position, kind)
    evidence = {"method": "page"} | options.pop("evidence", {})
    votes.record_vote(world.db, claims, world.clock, evidence, **options)


def save(world: World, paper: int, collection: int | None = None) -> bool:
    return collections.save(world.db, world.clock, world.readers[0], paper, collection)


def collected(world: World, reader: int = 0) -> dict[str, list[int]]:
    """Return the papers of a reader's collections by name."""
    with world.db.read() as conn:
        return {
            each.name: [paper for paper, _ in store.collections.papers_of(conn, each.id)]
            for each, _ in store.collections.of(conn, world.readers[reader].id)
        }


def last_votes(world: World) -> dict[int, EventKind]:
    with world.db.read() as conn:
        found = store.events.votes(conn, world.readers[0].id)
    return {vote.paper_id: vote.kind for vote in found}


def new_collection(world: World, name: str, reader: int = 0) -> int:
    id = world.readers[reader].id
    with world.db.write() as conn:
        return store.collections.add(conn, id, name, name.lower().rjust(20, "0"), NOON)


# -- saving ----------------------------------------------------------------------------------------


def test_a_saved_paper_is_the_best_like_and_in_the_default_collection(world: World) -> None:
    assert save(world, 2)
    assert collected(world) == {"Saved": [2]}
    assert collected(world, reader=1) == {}
    assert last_votes(world) == {2: SAVE}


def test_saving_again_changes_nothing(world: World) -> None:
    save(world, 2)
    before = world.everything()
    assert not save(world, 2)
    assert world.everything() == before


def test_a_save_link_of_a_mail_saves(world: World) -> None:
    cast(world, SAVE, 3)
    assert collected(world) == {"Saved": [3]}


def test_other_votes_save_nothing_and_leave_what_is_saved(world: World) -> None:
    cast(world, UP, 1)
    assert collected(world) == {}
    save(world, 1)
    cast(world, DOWN, 1)
    assert collected(world) == {"Saved": [1]}
    assert last_votes(world) == {1: DOWN}


def test_a_paper_can_be_in_several_collections(world: World) -> None:
    thesis = new_collection(world, "Thesis")
    save(world, 1)
    save(world, 1, thesis)
    save(world, 2, thesis)
    assert collected(world) == {"Saved": [1], "Thesis": [2, 1]}


def test_what_is_in_a_named_collection_needs_no_other_place(world: World) -> None:
    save(world, 1, new_collection(world, "Thesis"))
    cast(world, SAVE, 1)
    assert collected(world) == {"Thesis": [1]}


def test_nobody_saves_into_the_collection_of_somebody_else(world: World) -> None:
    theirs = new_collection(world, "Theirs", reader=1)
    before = world.everything()
    with pytest.raises(NotFound, match="no such collection"):
        save(world, 1, theirs)
    assert world.everything() == before


def test_only_stored_papers_can_be_saved(world: World) -> None:
    before = world.everything()
    with pytest.raises(NotFound, match="no longer stored"):
        save(world, 999)
    assert world.everything() == before


def test_which_papers_are_saved_is_known_for_many_at_once(world: World) -> None:
    save(world, 1)
    save(world, 3, new_collection(world, "Thesis"))
    with world.db.read() as conn:
        ada, other = (reader.id for reader in world.readers[:2])
        assert store.collections.saved_among(conn, ada, [1, 2, 3]) == {1, 3}
        assert store.collections.saved_among(conn, ada, []) == set()
        assert store.collections.saved_among(conn, other, [1, 2, 3]) == set()


# -- suspected scanners ----------------------------------------------------------------------------


def test_a_suspected_scanner_saves_nothing(world: World) -> None:
    cast(world, SAVE, 1, origin=Origin.SUSPECTED_SCANNER)
    assert collected(world) == {}


def test_what_a_suspected_scanner_saved_is_saved_once_it_is_believed(world: World) -> None:
    cast(world, SAVE, 1, origin=Origin.SUSPECTED_SCANNER)
    cast(world, UP, 2, origin=Origin.SUSPECTED_SCANNER)
    assert votes.believe(world.db, world.readers[0]) == 2
    assert collected(world) == {"Saved": [1]}


def test_what_a_person_voted_down_since_is_not_saved_by_believing_a_scanner(world: World) -> None:
    cast(world, SAVE, 1, origin=Origin.SUSPECTED_SCANNER)
    world.clock.sleep(60)
    cast(world, DOWN, 1)
    votes.believe(world.db, world.readers[0])
    assert collected(world) == {}


def test_a_burst_unsaves_what_its_links_saved(world: World) -> None:
    save(world, 3)
    cast(world, SAVE, 1)
    many = {"links_opened": 40, "papers_contradicted": 3, "agent": "none", "on_page_s": 0.0}
    cast(world, SAVE, 2, evidence=many)
    assert collected(world) == {"Saved": [3]}
    assert last_votes(world) == {3: SAVE}


# -- taking back -----------------------------------------------------------------------------------


def test_taking_a_save_back_leaves_other_votes(world: World) -> None:
    cast(world, UP, 1)
    world.clock.sleep(60)
    save(world, 1, new_collection(world, "Thesis"))
    save(world, 2)
    assert collections.unsave(world.db, world.readers[0], 1)
    assert collected(world) == {"Saved": [2], "Thesis": []}
    assert last_votes(world) == {1: UP, 2: SAVE}


def test_a_paper_is_saved_until_the_last_collection_lets_it_go(world: World) -> None:
    thesis = new_collection(world, "Thesis")
    save(world, 1)
    save(world, 1, thesis)
    assert collections.unsave(world.db, world.readers[0], 1, thesis)
    assert last_votes(world) == {1: SAVE}
    assert not collections.unsave(world.db, world.readers[0], 1, thesis)
    [saved, _] = [each.id for each, _ in listed(world)]
    assert collections.unsave(world.db, world.readers[0], 1, saved)
    assert last_votes(world) == {}


def listed(world: World) -> list[tuple[store.collections.Collection, int]]:
    with world.db.read() as conn:
        return store.collections.of(conn, world.readers[0].id)


def test_nobody_unsaves_for_somebody_else(world: World) -> None:
    save(world, 1)
    [(saved, _)] = listed(world)
    assert not collections.unsave(world.db, world.readers[1], 1)
    assert not collections.unsave(world.db, world.readers[1], 1, saved.id)
    assert collected(world) == {"Saved": [1]}


# -- works -----------------------------------------------------------------------------------------


@pytest.fixture
def pair(world: World) -> tuple[int, int]:
    """Two papers with records, so that they can be merged and split."""
    take_in(world.db, [fetched(11), fetched(12)])
    with world.db.read() as conn:
        found = store.papers.resolve_all(conn, ["2603.00011", "2603.00012"])
    return found["2603.00011"], found["2603.00012"]


def merge_pair(world: World) -> None:
    assert merge(world.db, "2603.00011", "2603.00012", world.clock)


def split_pair(world: World) -> None:
    assert split(world.db, "2603.00012", world.clock)


def test_two_papers_that_become_one_work_are_saved_once(
    world: World, pair: tuple[int, int]
) -> None:
    one, other = pair
    save(world, one)
    world.clock.sleep(60)
    save(world, other)
    merge_pair(world)
    assert collected(world) == {"Saved": [one]}
    assert [n_papers for _, n_papers in listed(world)] == [1]
    with world.db.read() as conn:
        assert store.collections.saved_among(conn, world.readers[0].id, [one]) == {one}
    before = world.everything()
    assert not save(world, one)
    assert world.everything() == before


def test_a_split_work_stays_saved_as_the_paper_that_was_saved(
    world: World, pair: tuple[int, int]
) -> None:
    merge_pair(world)
    save(world, pair[0])
    split_pair(world)
    assert collected(world) == {"Saved": [pair[0]]}


def test_what_was_saved_before_a_merge_is_saved_after_the_split(
    world: World, pair: tuple[int, int]
) -> None:
    save(world, pair[1])
    merge_pair(world)
    assert collected(world) == {"Saved": [pair[0]]}
    split_pair(world)
    assert collected(world) == {"Saved": [pair[1]]}


def test_taking_back_a_work_takes_all_its_papers_back(world: World, pair: tuple[int, int]) -> None:
    for paper in pair:
        save(world, paper)
    merge_pair(world)
    assert collections.unsave(world.db, world.readers[0], pair[0])
    split_pair(world)
    assert collected(world) == {"Saved": []}
    assert last_votes(world) == {}


# -- files and erasure -----------------------------------------------------------------------------


def test_saves_in_an_imported_file_are_saved_if_they_are_the_last_vote(world: World) -> None:
    add_papers(world.db, [paper_row(n) for n in (41, 42, 43)])
    lines = [
        json.dumps({"subscriber": ADDRESS, "paper_id": f"2603.{n:05d}", "kind": kind, "at": at})
        for n, kind, at in (
            (41, "save", "2026-03-01T10:00Z"),
            (42, "save", "2026-03-01T10:00Z"),
            (42, "vote_down", "2026-03-01T11:00Z"),
            (43, "vote_up", "2026-03-01T10:00Z"),
        )
    ]
    votes.import_votes(world.db, lines, world.clock)
    with world.db.read() as conn:
        [(saved, n_papers)] = store.collections.of(conn, world.readers[0].id)
        [(paper, at)] = store.collections.papers_of(conn, saved.id)
        assert (n_papers, at) == (1, NOON - timedelta(hours=26))
        assert store.papers.load(conn, [paper])[paper].source_id == "2603.00041"


def test_the_collections_of_an_erased_subscriber_are_gone(world: World) -> None:
    save(world, 1)
    subscriptions.erase(world.db, ADDRESS)
    tables = ("collections", "collected_papers")
    assert not [line for line in world.everything().splitlines() if line.startswith(tables)]
