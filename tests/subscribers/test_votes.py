"""Votes are stored once, kept for ever, and the last one on a paper counts."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.support.databases import new_database
from tests.support.factories import NOON
from tests.support.installation import add_reader
from tests.support.web_world import ADDRESS, World, add_papers, new_world, paper_row
from triage import store
from triage.domain.records import EventKind, Origin
from triage.errors import NotFound
from triage.store.tables import events, messages
from triage.subscribers import votes as voting

UP, DOWN, SAVE = EventKind.VOTE_UP, EventKind.VOTE_DOWN, EventKind.SAVE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def cast(world: World, kind: EventKind, position: int = 1, **options: Any) -> voting.VoteResult:
    claims = world.claims(position, kind)
    return voting.record_vote(world.db, claims, world.clock, {"method": "test"}, **options)


def votes(world: World, reader: int = 0) -> dict[int, EventKind]:
    with world.db.read() as conn:
        found = store.events.votes(conn, world.readers[reader].id)
    return {vote.paper_id: vote.kind for vote in found}


def test_a_vote_is_there_when_the_call_returns(world: World) -> None:
    recorded = cast(world, UP, 2)
    assert recorded.stored
    assert recorded.impression.paper == world.papers[1]
    assert votes(world) == {2: UP}
    assert votes(world, reader=1) == {}


def test_the_same_vote_again_adds_nothing(world: World) -> None:
    assert [cast(world, UP).stored for _ in range(4)] == [True, False, False, False]
    assert world.events() == [(1, 1, "vote_up")]


@pytest.mark.parametrize(
    "typed",
    ["u@bücher.example", "U@BÜCHER.example", "u@xn--bcher-kva.example", " U@bücher.example"],
)
@pytest.mark.parametrize("stored", ["u@bücher.example", "u@xn--bcher-kva.example"])
def test_an_import_names_an_international_domain_in_either_form(
    world: World, typed: str, stored: str
) -> None:
    add_reader(world.db, 9, email=stored)
    line = {"subscriber": typed, "paper_id": "2603.00001", "kind": "vote_up", "at": "2026-03-01"}
    report = voting.import_votes(world.db, [json.dumps(line)], world.clock)
    assert (report.stored, report.bad) == (1, ())


def test_two_devices_at_once_make_one_vote(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda _: cast(world, UP).stored, range(24)))
    assert stored.count(True) == 1
    assert world.events() == [(1, 1, "vote_up")]


def test_the_last_vote_counts_and_history_is_kept(world: World) -> None:
    for kind in (UP, DOWN, DOWN, UP, SAVE):
        cast(world, kind)
        world.clock.sleep(60)
    assert votes(world) == {1: SAVE}
    assert [kind for _, _, kind in world.events()] == ["vote_up", "vote_down", "vote_up", "save"]


def test_the_last_vote_counts_even_when_the_clock_was_set_back(world: World) -> None:
    cast(world, UP)
    world.clock.at -= timedelta(hours=5)
    cast(world, DOWN)
    assert votes(world) == {1: DOWN}


def test_evidence_says_how_long_after_sending_a_vote_came(world: World) -> None:
    cast(world, UP, 1)
    with world.db.write() as conn:
        conn.execute(update(messages).values(sent_at=NOON))
    world.clock.sleep(90)
    cast(world, UP, 2)
    with world.db.read() as conn:
        kept = list(conn.scalars(select(events.c.evidence).order_by(events.c.id)))
    assert kept == [
        {"method": "test", "since_sent_s": None, "trust": 1.0},
        {"method": "test", "since_sent_s": 90, "trust": 1.0},
    ]


def test_a_suspected_scanner_is_kept_and_does_not_count(world: World) -> None:
    cast(world, UP, origin=Origin.SUSPECTED_SCANNER)
    assert len(world.events()) == 1
    assert votes(world) == {}


def test_a_person_who_agrees_with_a_scanner_still_counts(world: World) -> None:
    cast(world, UP, origin=Origin.SUSPECTED_SCANNER)
    assert cast(world, UP).stored
    assert votes(world) == {1: UP}


@pytest.mark.parametrize(
    "wrong",
    [
        {"position": 4},
        {"position": 0},
        {"slate": "9" * 20},
        {"subscriber": "9" * 20},
        {"subscriber": f"{2:020x}"},  # somebody, but not whose digest it is
    ],
)
def test_a_vote_on_nothing_is_refused(world: World, wrong: dict[str, Any]) -> None:
    claims = replace(world.claims(1, UP), **wrong)
    with pytest.raises(NotFound):
        voting.record_vote(world.db, claims, world.clock, {})
    assert world.events() == []


def row(**fields: Any) -> str:
    whole = {"subscriber": ADDRESS, "paper_id": "2603.00001", "kind": "vote_up", "at": "2026-03-03"}
    return json.dumps(whole | fields)


def test_votes_are_imported_once(world: World) -> None:
    lines = [
        row(),
        row(paper_id="2603.00002v3", kind="save", at="2026-03-03T09:00:00+02:00"),
        row(paper_id="https://arxiv.org/abs/2603.00003", subscriber=ADDRESS.upper()),
        "",
        row(subscriber="other@example.org", kind="less_like_this", at="2026-03-04T00:00:00Z"),
    ]
    first = voting.import_votes(world.db, lines, world.clock)
    assert (first.read, first.stored, first.known, first.bad) == (4, 4, 0, ())
    again = voting.import_votes(world.db, lines, world.clock)
    assert (again.read, again.stored, again.known, again.bad) == (4, 0, 4, ())
    assert votes(world) == {1: UP, 2: SAVE, 3: UP}
    assert votes(world, reader=1) == {1: EventKind.LESS_LIKE_THIS}
    with world.db.read() as conn:
        at = {vote.paper_id: vote.at for vote in store.events.votes(conn, 1)}
    assert at[1] == datetime(2026, 3, 3, tzinfo=UTC)
    assert at[2] == datetime(2026, 3, 3, 7, tzinfo=UTC)


def test_a_row_that_is_twice_in_a_file_is_one_vote(world: World) -> None:
    lines = [row(), row(at="2026-03-03T00:00Z"), row(subscriber=ADDRESS.upper()), row(kind="save")]
    report = voting.import_votes(world.db, lines, world.clock)
    assert (report.read, report.stored, report.known, report.bad) == (4, 2, 2, ())


def many(n: int) -> list[str]:
    first = datetime(2020, 1, 1, tzinfo=UTC)
    return [row(at=(first + timedelta(hours=hour)).isoformat()) for hour in range(n)]


def test_other_writers_come_in_between_the_blocks_of_an_import(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[int] = []
    append = store.events.append_missing

    def slow(*args: Any) -> list[store.events.Event]:
        # Each vote takes 1 ms.
        new = append(*args)
        stored.append(len(new))
        world.clock.sleep(0.001 * stored[-1])
        return new

    monkeypatch.setattr(store.events, "append_missing", slow)
    report = voting.import_votes(world.db, many(100), world.clock)
    assert (report.read, report.stored) == (100, 100)
    assert stored == [10, 20, 25, 25, 20]


def test_a_subscriber_who_is_erased_during_an_import_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = store.events.append_missing

    def erasing(conn: Any, several: Any) -> list[store.events.Event]:
        new = append(conn, several)
        store.subscribers.erase(conn, world.readers[0].id)
        return new

    monkeypatch.setattr(store.events, "append_missing", erasing)
    lines = [*many(12), row(subscriber="other@example.org")]
    report = voting.import_votes(world.db, lines, world.clock)
    assert (report.read, report.stored, report.known) == (13, 11, 0)
    assert [bad.line for bad in report.bad] == [11, 12]
    assert "subscriber add" in report.bad[0].reason
    assert votes(world, reader=1) == {1: UP}


def test_bad_rows_are_named_in_the_order_of_the_file(world: World) -> None:
    lines = [row(paper_id="2603.99999"), "{", row(), row(paper_id="2603.88888"), "[]"]
    report = voting.import_votes(world.db, lines, world.clock)
    assert [bad.line for bad in report.bad] == [1, 2, 4, 5]
    assert (report.read, report.stored, report.known) == (5, 1, 0)


def test_an_imported_vote_does_not_outdo_a_later_one(world: World) -> None:
    world.clock.at = datetime(2026, 3, 5, tzinfo=UTC)
    cast(world, DOWN)
    voting.import_votes(world.db, [row(at="2026-03-01"), row(paper_id="2603.00002")], world.clock)
    assert votes(world) == {1: DOWN, 2: UP}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "JSON"),
        ("[1, 2]", "object"),
        ("\x00", "JSON"),
        (row(kind="click"), "vote_up"),
        (row(kind=None), "kind is missing"),
        (row(at="yesterday"), "2026-03-02T07:30Z"),
        (row(at=5), "at is missing"),
        (row(at="9999-12-31T23:59:59-12:00"), "at is"),
        (row(subscriber="nobody@example.org"), "subscriber add"),
        (row(paper_id="2603.99999"), "papers import"),
        (row(paper_id="' OR 1=1 --"), "papers import"),
        (row(paper_id="x" * 100_000), "papers import"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_stored(world: World, line: str, reason: str) -> None:
    lines = [row(), line, row(paper_id="2603.00002")]
    report = voting.import_votes(world.db, lines, world.clock)
    assert (report.read, report.stored) == (3, 2)
    (bad,) = report.bad
    assert bad.line == 2
    assert reason in bad.reason
    assert len(bad.reason) < 300
    assert "nobody@" not in bad.reason


def test_what_is_exported_can_be_imported_elsewhere(world: World, tmp_path: Path) -> None:
    rows = [
        paper_row(11, source="biorxiv", source_id="10.1101/2026.03.01.123456"),
        paper_row(12, source="feed:nature:news", source_id="tag:a,2026:x"),
        paper_row(13, source="listing", source_id=None),
    ]
    added = add_papers(world.db, rows)
    for paper in [*world.papers, *added]:
        with world.db.write() as conn:
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=1, paper_id=paper.id, kind=SAVE, at=NOON, recorded_at=NOON
                ),
            )
    cast(world, DOWN, 1)
    cast(world, UP, 2, origin=Origin.SUSPECTED_SCANNER)
    lines = list(voting.export_votes(world.db))
    assert len(lines) == 7
    report = voting.import_votes(world.db, lines, world.clock)
    assert (report.stored, report.known, report.bad) == (0, 7, ())

    (tmp_path / "other").mkdir()
    other = new_world(tmp_path / "other")
    add_papers(other.db, rows)
    report = voting.import_votes(other.db, lines, other.clock)
    assert (report.stored, report.bad) == (7, ())
    assert list(voting.export_votes(other.db)) == lines


def test_nothing_in_nothing_out(tmp_path: Path, world: World) -> None:
    report = voting.import_votes(world.db, [], world.clock)
    assert (report.read, report.stored, report.known, report.bad) == (0, 0, 0, ())
    (tmp_path / "empty").mkdir()
    assert list(voting.export_votes(new_database(tmp_path / "empty"))) == []
