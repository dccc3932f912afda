"""Slates in the store: one a subscriber and date, and no paper shown twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from tests.support.factories import DAY, NOON, impression, paper, slate
from tests.support.installation import add_papers, add_reader, empty_slate, installed, queue, rows
from triage import store
from triage.domain.records import EventKind, MessageState, Paper, Slate, Subscriber
from triage.store import Database

UP, DOWN, SAVE = EventKind.VOTE_UP, EventKind.VOTE_DOWN, EventKind.SAVE
ONE_DAY = timedelta(days=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def shown_to(reader: Subscriber, papers: list[Paper], n: int = 1, **fields: object) -> Slate:
    shown = tuple(impression(i, paper=each) for i, each in enumerate(papers, 1))
    return slate(0, public_id=f"{n:020x}", subscriber=reader, **({"impressions": shown} | fields))


def save(database: Database, chosen: Slate) -> int:
    with database.write() as conn:
        run_id = store.jobs.begin_run(conn, chosen.on, NOON)
        (slate_id,) = store.slates.save_each(conn, [chosen], run_id, NOON).values()
        return slate_id


def sent_digest(database: Database, reader: Subscriber, n: int, on: date) -> None:
    queue(database, empty_slate(reader, n, on=on))
    with database.write() as conn:
        (message,) = store.messages.waiting(conn, NOON)
        for state in (MessageState.CLAIMED, MessageState.IN_DOUBT, MessageState.SENT):
            moved = store.messages.move(conn, message, state, NOON)
            assert moved is not None
            message = moved


def test_a_slate_comes_back_as_it_was_shown(database: Database) -> None:
    reader = add_reader(database)
    chosen = shown_to(reader, add_papers(database, [paper(1), paper(2)]))
    save(database, chosen)
    with database.read() as conn:
        found = store.slates.by_day(conn, reader.id, DAY)
        assert store.slates.by_day(conn, reader.id, DAY + ONE_DAY) is None
    assert found is not None
    assert replace(found, impressions=()) == replace(chosen, impressions=())
    for got, given in zip(found.impressions, chosen.impressions, strict=True):
        assert np.array_equal(got.features, given.features)
        assert got.features.dtype == np.float32
        assert replace(got, features=given.features) == given


def test_a_second_slate_for_the_same_date_is_left_out(database: Database) -> None:
    reader, other = add_reader(database, 1), add_reader(database, 2)
    papers = add_papers(database, [paper(1), paper(2)])
    save(database, shown_to(reader, papers[:1]))
    twice = [shown_to(reader, papers[1:], n=2), shown_to(other, papers, n=3)]
    with database.write() as conn:
        run_id = store.jobs.begin_run(conn, DAY, NOON)
        assert list(store.slates.save_each(conn, twice, run_id, NOON)) == [other.id]
    with database.read() as conn:
        assert store.slates.shown_papers(conn, reader.id) == {papers[0].id}
        assert store.slates.shown_papers(conn, other.id) == {papers[0].id, papers[1].id}


def test_a_paper_is_shown_to_a_subscriber_once_ever(database: Database) -> None:
    reader, other = add_reader(database, 1), add_reader(database, 2)
    papers = add_papers(database, [paper(1), paper(2)])
    save(database, shown_to(reader, papers[:1]))
    with pytest.raises(IntegrityError):
        save(database, shown_to(reader, papers, n=2, on=DAY + 300 * ONE_DAY))
    with database.read() as conn:
        assert store.slates.by_day(conn, reader.id, DAY + 300 * ONE_DAY) is None
    save(database, shown_to(other, papers, n=3))


def test_a_released_paper_may_be_shown_again(database: Database) -> None:
    reader = add_reader(database)
    papers = add_papers(database, [paper(1)])
    slate_id = save(database, shown_to(reader, papers))
    with database.write() as conn:
        store.slates.release(conn, slate_id, NOON)
        assert store.slates.shown_papers(conn, reader.id) == set()
        assert len(store.training_log.load(conn, "f1", 4)) == 0
    save(database, shown_to(reader, papers, n=2, on=DAY + ONE_DAY))
    with pytest.raises(IntegrityError):
        save(database, shown_to(reader, papers, n=3, on=DAY + 2 * ONE_DAY))


def test_the_newest_date_of_each_subscriber_is_known(database: Database) -> None:
    readers = [add_reader(database, n) for n in (1, 2, 3)]
    save(database, empty_slate(readers[0], 1, on=DAY + ONE_DAY))
    save(database, empty_slate(readers[0], 2, on=DAY))
    save(database, empty_slate(readers[1], 3, on=DAY))
    with database.read() as conn:
        newest = {id: each.on for id, each in store.slates.newest(conn).items()}
    assert newest == {readers[0].id: DAY + ONE_DAY, readers[1].id: DAY}


def test_digests_that_were_handed_over_are_known_by_their_days(database: Database) -> None:
    readers = [add_reader(database, n) for n in (1, 2, 3)]
    offsets = (-9, -5, -4, 0, 2)
    for n, offset in enumerate(offsets):
        sent_digest(database, readers[0], n, DAY + offset * ONE_DAY)
    sent_digest(database, readers[1], 20, DAY - 30 * ONE_DAY)
    save(database, empty_slate(readers[2], 30, on=DAY))
    with database.read() as conn:
        found = store.slates.sent_days(conn, DAY - 4 * ONE_DAY, [each.id for each in readers])
    assert found == {
        readers[0].id: [DAY - 4 * ONE_DAY, DAY, DAY + 2 * ONE_DAY],
        readers[1].id: [DAY - 30 * ONE_DAY],
    }


def test_a_sample_of_the_training_log_has_whole_subscribers_who_have_voted(
    database: Database,
) -> None:
    readers = [add_reader(database, n) for n in range(1, 7)]
    papers = add_papers(database, [paper(n) for n in range(1, 3)])
    for reader in readers:
        save(database, shown_to(reader, papers, reader.id))
    with database.write() as conn:
        for reader in readers[:4]:
            store.events.append(
                conn, store.events.Event(reader.id, papers[0].id, UP, at=NOON, recorded_at=NOON)
            )
    with database.read() as conn:
        steps = [store.training_log.training_step(conn, "f1", most) for most in (100, 8, 7, 3)]
        log = store.training_log.load(conn, "f1", 4, every=2)
        votes = store.events.all_votes(conn, every=2)
    assert steps == [1, 1, 2, 3]
    assert log.subscriber_ids.tolist() == [2, 2, 4, 4]
    assert [who for who, _, _ in votes] == [2, 4]


def test_the_training_log_holds_what_was_delivered_with_the_same_features(
    database: Database,
) -> None:
    reader = add_reader(database)
    papers = add_papers(database, [paper(n) for n in range(1, 5)])
    save(database, shown_to(reader, papers[:1], 1, on=DAY + ONE_DAY))
    save(database, shown_to(reader, papers[1:3], 2, on=DAY))
    save(database, shown_to(reader, papers[3:], 3, on=DAY - ONE_DAY, feature_version="f0"))
    with database.read() as conn:
        log = store.training_log.load(conn, "f1", 4)
        foreign = store.training_log.load(conn, "f1", 5)
    ids = [papers[1].id, papers[2].id, papers[0].id]
    assert log.paper_ids.tolist() == ids
    assert [date.fromordinal(day) for day in log.days] == [DAY, DAY, DAY + ONE_DAY]
    assert log.positions.tolist() == [1, 2, 1]
    assert (log.features.shape, log.features.dtype) == ((3, 4), np.float32)
    assert len(foreign) == 0


def test_runs_of_one_date_are_one_run(database: Database) -> None:
    with database.write() as conn:
        first = store.jobs.begin_run(conn, DAY, NOON)
        assert store.jobs.begin_run(conn, DAY, NOON + ONE_DAY) == first
        assert store.jobs.begin_run(conn, DAY + ONE_DAY, NOON) != first
        store.jobs.reach_stage(conn, first, "drained", NOON)
    found = rows(database, "runs")[0]
    assert (found["stage"], found["started_at"], found["finished_at"]) == ("drained", NOON, NOON)


def test_erasing_leaves_no_row_that_is_about_the_subscriber(database: Database) -> None:
    readers = [add_reader(database, 1), add_reader(database, 2)]
    [stored] = add_papers(database, [paper(1)])
    for n, reader in enumerate(readers, 1):
        queue(database, shown_to(reader, [stored], n=n))
        with database.write() as conn:
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=reader.id,
                    paper_id=stored.id,
                    kind=EventKind.VOTE_UP,
                    at=NOON,
                    recorded_at=NOON,
                ),
            )
    with database.write() as conn:
        store.subscribers.erase(conn, readers[0].id)
    for table in ("slates", "impressions", "events", "messages"):
        assert [each["subscriber_id"] for each in rows(database, table)] == [readers[1].id]
    assert len(rows(database, "papers")) == 1
