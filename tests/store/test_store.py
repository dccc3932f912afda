"""Sources, subscribers, votes and model versions in the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from tests.support.factories import DAY, NOON, paper, subscriber
from tests.support.installation import add_papers, add_reader, installed, rows
from triage import store
from triage.domain.records import (
    EventKind,
    Frequency,
    Origin,
    Paper,
    Subscriber,
    SubscriberState,
    Verdict,
    Vote,
)
from triage.domain.source_records import Rejected, SourceDay
from triage.store import Database

UP, DOWN, SAVE = EventKind.VOTE_UP, EventKind.VOTE_DOWN, EventKind.SAVE
ONE_DAY = timedelta(days=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


# -- sources ---------------------------------------------------------------------------------------


def test_a_cursor_is_kept_and_moved(database: Database) -> None:
    with database.write() as conn:
        assert store.sources.cursor(conn, "arxiv") is None
        store.sources.save_cursor(conn, "arxiv", "1", NOON)
        store.sources.save_cursor(conn, "arxiv", "2", NOON)
        assert store.sources.cursor(conn, "arxiv") == "2"
        assert store.sources.cursor(conn, "hf_daily") is None


def test_a_later_verdict_on_a_day_replaces_the_earlier_one(database: Database) -> None:
    early = SourceDay("arxiv", DAY, Verdict.PARTIAL, 300, 120, "page 3 was missing")
    late = replace(early, verdict=Verdict.COMPLETE, got=300, note="")
    other = replace(early, source="biorxiv", expected=None)
    with database.write() as conn:
        store.sources.save_days(conn, [early, other], NOON)
        store.sources.save_days(conn, [late], NOON)
        assert store.sources.days(conn, DAY, DAY) == [late, other]
        assert store.sources.days(conn, DAY + ONE_DAY, DAY + ONE_DAY) == []


def test_categories_have_verdicts_of_their_own_that_only_who_asks_for_them_sees(
    database: Database,
) -> None:
    whole = SourceDay("arxiv", DAY, Verdict.PARTIAL, 300, 120)
    parts = [
        replace(whole, category="cs.CL", verdict=Verdict.COMPLETE, expected=120),
        replace(whole, category="cs.LG", expected=180, got=0),
    ]
    with database.write() as conn:
        store.sources.save_days(conn, [*parts, whole], NOON)
        assert store.sources.days(conn, DAY, DAY) == [whole]
        assert store.sources.days(conn, DAY, DAY, by_category=True) == [whole, *parts]


def test_a_rejected_record_is_kept_once_for_each_origin(database: Database) -> None:
    bad = Rejected("no abstract", "{…}", "line 3")
    with database.write() as conn:
        for origin in ("a.jsonl", "a.jsonl", "b.jsonl"):
            store.sources.keep_rejected(conn, origin, [(bad, "hash")], NOON)
        assert store.sources.quarantined(conn, "a.jsonl") == [bad]
        assert store.sources.quarantined(conn, "b.jsonl") == [bad]


# -- subscribers -----------------------------------------------------------------------------------


def test_a_subscriber_comes_back_with_all_their_wishes(database: Database) -> None:
    given = subscriber(
        3,
        frequency=Frequency.WEEKLY,
        interests="knitting, and “ℝ”",
        categories=("cs.CL",),
        followed_authors=("Ada Lovelace", "Ø"),
        include_keywords=("yarn",),
        exclude_keywords=("wool",),
        active_since=NOON,
    )
    with database.write() as conn:
        added = store.subscribers.add(conn, given, email_key="k", consent="paper form", at=NOON)
        assert replace(added, id=3) == given
        for found in (
            store.subscribers.by_id(conn, added.id),
            store.subscribers.by_email_key(conn, "k"),
            store.subscribers.by_public_id(conn, given.public_id),
        ):
            assert found == added
    [stored] = rows(database, "subscribers")
    assert stored["consent"] == "paper form"
    assert stored["confirmed_at"] == NOON


def test_a_pending_subscriber_has_not_confirmed(database: Database) -> None:
    add_reader(database, state=SubscriberState.PENDING)
    assert rows(database, "subscribers")[0]["confirmed_at"] is None


@pytest.mark.parametrize("spelling", ["reader1@example.org", "READER1@Example.ORG "])
def test_one_mailbox_is_one_subscriber(database: Database, spelling: str) -> None:
    add_reader(database, 1)
    with pytest.raises(IntegrityError):
        add_reader(database, 2, email=spelling)


def test_whoever_is_unknown_is_none(database: Database) -> None:
    with database.read() as conn:
        assert store.subscribers.by_id(conn, 1) is None
        assert store.subscribers.by_email_key(conn, "k") is None
        assert store.subscribers.by_public_id(conn, "p") is None


def test_a_state_changes_once(database: Database) -> None:
    reader = add_reader(database)
    later = NOON + ONE_DAY
    with database.write() as conn:
        assert store.subscribers.set_state(conn, reader.id, SubscriberState.PAUSED, later)
        assert not store.subscribers.set_state(
            conn, reader.id, SubscriberState.PAUSED, later + ONE_DAY
        )
        assert store.subscribers.everyone(conn, [SubscriberState.ACTIVE]) == []
        [paused] = store.subscribers.everyone(conn, [SubscriberState.PAUSED])
    assert paused.id == reader.id
    assert rows(database, "subscribers")[0]["state_changed_at"] == later


# -- events ----------------------------------------------------------------------------------------


def vote(
    database: Database,
    reader: Subscriber,
    about: Paper,
    kind: EventKind,
    at: datetime = NOON,
    origin: Origin = Origin.PERSON,
) -> None:
    with database.write() as conn:
        store.events.append(
            conn,
            store.events.Event(
                subscriber_id=reader.id,
                paper_id=about.id,
                kind=kind,
                origin=origin,
                at=at,
                recorded_at=at,
            ),
        )


def test_the_last_vote_counts_and_all_are_kept(database: Database) -> None:
    reader = add_reader(database)
    papers = add_papers(database, [paper(1), paper(2)])
    vote(database, reader, papers[0], UP, NOON)
    vote(database, reader, papers[1], SAVE, NOON + ONE_DAY)
    vote(database, reader, papers[0], DOWN, NOON + 2 * ONE_DAY)
    # What happened earlier may become known later.
    vote(database, reader, papers[1], DOWN, NOON - ONE_DAY)
    with database.read() as conn:
        assert store.events.votes(conn, reader.id) == (
            Vote(papers[0].id, DOWN, NOON + 2 * ONE_DAY),
            Vote(papers[1].id, SAVE, NOON + ONE_DAY),
        )
        assert store.events.last_vote(conn, reader.id, papers[0].id) == Vote(
            papers[0].id, DOWN, NOON + 2 * ONE_DAY
        )
        assert len(store.events.listing(conn)) == 4
        assert [each["kind"] for each in store.events.listing(conn, limit=1)] == [DOWN]


def test_of_two_votes_at_the_same_instant_the_later_stored_one_counts(database: Database) -> None:
    reader = add_reader(database)
    [about] = add_papers(database, [paper(1)])
    vote(database, reader, about, UP)
    vote(database, reader, about, DOWN)
    with database.read() as conn:
        [counts] = store.events.votes(conn, reader.id)
        last = store.events.last_vote(conn, reader.id, about.id)
    assert counts == last == Vote(about.id, DOWN, NOON)


def test_the_past_can_be_asked_for(database: Database) -> None:
    reader = add_reader(database)
    [about] = add_papers(database, [paper(1)])
    vote(database, reader, about, UP, NOON)
    vote(database, reader, about, DOWN, NOON + ONE_DAY)
    with database.read() as conn:
        assert store.events.votes(conn, reader.id, until=NOON) == ()
        [then] = store.events.votes(conn, reader.id, until=NOON + ONE_DAY)
    assert then.kind is UP


def test_what_a_scanner_does_never_counts_and_is_kept(database: Database) -> None:
    reader = add_reader(database)
    [about] = add_papers(database, [paper(1)])
    vote(database, reader, about, UP)
    vote(database, reader, about, DOWN, NOON + ONE_DAY, Origin.SUSPECTED_SCANNER)
    with database.read() as conn:
        [counts] = store.events.votes(conn, reader.id)
        assert counts.kind is UP
        assert store.events.last_vote(conn, reader.id, about.id) == counts
        assert store.events.all_votes(conn) == [(reader.id, about.id, UP)]
        assert len(store.events.listing(conn)) == 2


def test_what_each_reader_likes_is_by_the_last_vote(database: Database) -> None:
    first, second = add_reader(database), add_reader(database, 2)
    one, two, three = add_papers(database, [paper(1), paper(2), paper(3)])
    vote(database, first, one, UP)
    vote(database, first, two, UP, NOON + ONE_DAY)
    vote(database, first, one, UP, NOON + 2 * ONE_DAY)
    vote(database, second, two, UP)
    vote(database, second, two, DOWN, NOON + ONE_DAY)
    vote(database, second, three, EventKind.SAVE)
    with database.read() as conn:
        assert store.events.liked(conn) == {first.id: [two.id, one.id], second.id: [three.id]}
        earlier = store.events.liked(conn, NOON + ONE_DAY)
    assert earlier == {first.id: [one.id], second.id: [two.id, three.id]}


def test_the_very_same_event_is_stored_once(database: Database) -> None:
    reader = add_reader(database)
    [about] = add_papers(database, [paper(1)])
    vote(database, reader, about, UP)
    several = [
        store.events.Event(reader.id, about.id, kind, at, NOON)
        for kind in (UP, DOWN, DOWN)
        for at in (NOON, NOON + ONE_DAY)
    ]
    with database.write() as conn:
        assert len(store.events.append_missing(conn, several)) == 3
        assert store.events.append_missing(conn, several) == []
        assert store.events.append_missing(conn, []) == []
    stored = [(each["kind"], each["at"]) for each in rows(database, "events")]
    assert stored == [(UP, NOON), (UP, NOON + ONE_DAY), (DOWN, NOON), (DOWN, NOON + ONE_DAY)]


# -- versions --------------------------------------------------------------------------------------


def test_the_last_promotion_serves_and_the_history_stays(database: Database) -> None:
    with database.write() as conn:
        assert store.model_versions.history(conn) == []
        for scorer, encoder in (("cold-1", "e1"), ("s1", "e1"), ("s2", "e2")):
            store.model_versions.promote(conn, scorer, encoder, "better", NOON)
        history = store.model_versions.history(conn)
    assert [(each.scorer_version, each.encoder_version) for each in history] == [
        ("s2", "e2"),
        ("s1", "e1"),
        ("cold-1", "e1"),
    ]


def test_the_same_version_is_noted_once(database: Database) -> None:
    with database.write() as conn:
        store.model_versions.add(conn, "e1", "encoder", None, {"n_papers": 3}, NOON)
        store.model_versions.add(conn, "e1", "encoder", None, {"n_papers": 4}, NOON)
        store.model_versions.add(conn, "s1", "scorer", "e1", {}, NOON + ONE_DAY)
        found = store.model_versions.get(conn, "e1")
        assert [each.version for each in store.model_versions.everything(conn)] == ["s1", "e1"]
        assert store.model_versions.get(conn, "none") is None
    assert found is not None
    assert found.metrics == {"n_papers": 3}
    assert found.created_at == NOON.astimezone(UTC)
