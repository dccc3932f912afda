"""Interests keep their numbers, and what a person said of them, while likes come and go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.factories import DAY, NOON, impression, paper, slate
from tests.support.installation import add_papers, add_reader, installed
from triage import store
from triage.domain.records import EventKind, Interest, Reason, ReasonKind, Subscriber
from triage.store import Database

DRAFTS = Interest(0, "speculative decoding", (3, 1), ())
FOLDS = Interest(0, "protein folding", (), ("protein folding",))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture
def reader(database: Database) -> Subscriber:
    return add_reader(database)


def save(database: Database, reader: Subscriber, *found: Interest) -> tuple[Interest, ...]:
    with database.write() as conn:
        return store.interests.save(conn, reader.id, found, NOON)


def stored(database: Database, reader: Subscriber) -> tuple[Interest, ...]:
    with database.read() as conn:
        return store.interests.of(conn, reader.id)


def test_new_interests_get_numbers_and_come_back_as_they_were(
    database: Database, reader: Subscriber
) -> None:
    assert stored(database, reader) == ()
    kept = save(database, reader, DRAFTS, FOLDS)
    assert kept == (replace(DRAFTS, number=1), replace(FOLDS, number=2))
    assert stored(database, reader) == kept
    assert stored(database, add_reader(database, 2)) == ()


def test_a_known_interest_is_brought_up_to_date(database: Database, reader: Subscriber) -> None:
    first, second = save(database, reader, DRAFTS, FOLDS)
    more = replace(first, papers=(9, 3, 1), name="draft models")
    save(database, reader, second, more)
    assert stored(database, reader) == (more, second)


def test_what_is_not_found_again_is_given_up_and_its_number_never_used_again(
    database: Database, reader: Subscriber
) -> None:
    first, _ = save(database, reader, DRAFTS, FOLDS)
    save(database, reader, first)
    assert stored(database, reader) == (first,)
    assert [each.number for each in save(database, reader, first, FOLDS)] == [1, 3]


def test_an_interest_rests_until_it_is_told_otherwise(
    database: Database, reader: Subscriber
) -> None:
    first, second = save(database, reader, DRAFTS, FOLDS)
    until = DAY + timedelta(7)
    with database.write() as conn:
        store.interests.set_muted(conn, reader.id, 1, muted=True, paused_until=None, at=NOON)
        store.interests.set_muted(conn, reader.id, 2, muted=False, paused_until=until, at=NOON)
    save(database, reader, first, replace(second, papers=(7,)))
    muted, paused = stored(database, reader)
    assert (muted.muted, muted.paused_until) == (True, None)
    assert (paused.muted, paused.paused_until, paused.papers) == (False, until, (7,))


def test_a_vote_knows_what_its_paper_was_shown_for(database: Database, reader: Subscriber) -> None:
    papers = add_papers(database, [paper(1), paper(2)])
    told = (
        Reason(ReasonKind.FOLLOWED_AUTHOR, "author you follow: Ada Lovelace"),
        Reason(ReasonKind.CATEGORY, "…"),
    )
    shown = impression(1, paper=papers[0], reasons=told)
    with database.write() as conn:
        run_id = store.jobs.begin_run(conn, DAY, NOON)
        cut = slate(0, subscriber=reader, impressions=(shown,))
        (slate_id,) = store.slates.save_each(conn, [cut], run_id, NOON).values()
        for each, where in zip(papers, (slate_id, None), strict=True):
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=reader.id,
                    paper_id=each.id,
                    slate_id=where,
                    kind=EventKind.LESS_LIKE_THIS,
                    at=NOON,
                    recorded_at=NOON,
                ),
            )
        votes = store.events.votes(conn, reader.id)
    assert {vote.paper_id: vote.reason for vote in votes} == {
        papers[0].id: told[0],
        papers[1].id: None,
    }
