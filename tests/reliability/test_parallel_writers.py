"""Writers of PostgreSQL run beside each other, and end as on SQLite, where one writes at a time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update

from tests.support import databases
from tests.support.bounce_corpus import About
from tests.support.bounce_corpus_more import ALL_CASES
from tests.support.factories import DAY, NOON
from tests.support.fakes import FakeMailer
from tests.support.guarantees import Guarantee
from tests.support.installation import (
    ListedSource,
    empty_slate,
    fetched,
    queue,
    queue_once,
    rows,
    stored_papers,
    unnamed,
)
from tests.support.races import race
from tests.support.web_world import World, new_crowd, new_world
from triage import store
from triage.delivery.bounces.intake import Intake, IntakeResult, suppress
from triage.delivery.hand_over import MessageSender
from triage.delivery.rate_limits import RateLimits
from triage.delivery.sender_context import SenderContext
from triage.digest.links import envelope_sender
from triage.domain.link_tokens import Purpose
from triage.domain.protocols import MustWait
from triage.domain.records import EventKind, MessageState, OutgoingMessage, Slate, SubscriberState
from triage.domain.request_limits import Rules
from triage.domain.source_records import Batch, FetchedPaper, NamedPaper, PaperId
from triage.errors import ConfigError, NotFound, SourceError, TokenError, TokenExpired
from triage.papers.ingest import ingest
from triage.papers.leased_source import LeasedSource
from triage.store import Database, Turn
from triage.store.migrate import differences, upgrade
from triage.store.shared_limiter import SharedRequestLimiter
from triage.store.tables import papers
from triage.subscribers import collections, digest_feed, forgotten_votes, subscriptions, votes
from triage.subscribers.named_papers import fetch_ids, make_likes
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.sessions import MOST_TRIES, Sessions

UP, DOWN, SAVE = EventKind.VOTE_UP, EventKind.VOTE_DOWN, EventKind.SAVE


@pytest.fixture(params=databases.KINDS)
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let a test run on each kind of database, whatever the others run on."""
    before = databases.KINDS[databases.on_postgres()]
    databases.choose(request.param)
    yield request.param
    databases.end_of_test()
    databases.choose(before)


@pytest.fixture
def world(kind: str, tmp_path: Path) -> World:
    return new_world(tmp_path)


def hashed(email: str) -> str:
    return f"hash of {email}"


# -- writers that overlap --------------------------------------------------------------------------


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[World]:
    before = databases.KINDS[databases.on_postgres()]
    databases.choose("postgresql")
    yield new_crowd(tmp_path, 16, 3)
    databases.end_of_test()
    databases.choose(before)


def tomorrows_digest(world: World, reader: int) -> tuple[Slate, OutgoingMessage]:
    chosen = empty_slate(world.readers[reader], 100 + reader, on=DAY + timedelta(days=1))
    message_id = f"<d.{chosen.public_id}@triage.example>"
    return chosen, OutgoingMessage(
        message_id, chosen.subscriber.email, b"Subject: x\r\n\r\nfor you"
    )


@pytest.mark.guarantee("R41")
def test_eight_writers_are_at_work_at_the_same_time(crowd: World, guarantee: Guarantee) -> None:
    """Each waits, with its digest written and not yet committed, until all eight have done so."""
    together = threading.Barrier(8, timeout=30)
    began, ended = [], []

    def write(n: int) -> None:
        with crowd.db.write() as conn:
            began.append(time.monotonic())
            run_id = store.jobs.begin_run(conn, DAY, NOON)
            assert queue_once(conn, *tomorrows_digest(crowd, n), run_id, NOON)
            store.events.append(
                conn, store.events.Event(crowd.readers[8 + n].id, 1, UP, NOON, NOON)
            )
            together.wait()
            ended.append(time.monotonic())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert max(began) < min(ended)
    assert sum(row["on"] > DAY for row in rows(crowd.db, "slates")) == 8
    guarantee.record(writers_at_once=8)


def test_two_blocks_with_the_same_subscribers_in_other_orders_make_each_digest_once(
    crowd: World,
) -> None:
    start = threading.Barrier(4, timeout=30)

    def write(n: int) -> int:
        order = range(16) if n % 2 else range(15, -1, -1)
        digests = [store.messages.Digest(*tomorrows_digest(crowd, each)) for each in order]
        start.wait()
        with crowd.db.write() as conn:
            run_id = store.jobs.begin_run(conn, DAY, NOON)
            return len(store.messages.queue_each(conn, digests, run_id, NOON))

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(write, range(4))) == [0, 0, 0, 16]


def test_a_change_that_the_server_undoes_is_made_again(crowd: World) -> None:
    """Each locks one address and then the other's, so one of them has to give way."""
    tries: list[str] = []
    start = threading.Barrier(2, timeout=30)

    def lock_both(conn: Connection, one: str, other: str) -> str:
        tries.append(one)
        store.take_turn(conn, Turn.ADDRESS, one)
        if len(tries) <= 2:
            start.wait()
        store.take_turn(conn, Turn.ADDRESS, other)
        store.sources.save_cursor(conn, one, other, NOON)
        return one

    with ThreadPoolExecutor(2) as pool:
        done = [
            pool.submit(crowd.db.execute, lock_both, *pair) for pair in (("a", "b"), ("b", "a"))
        ]
        assert [each.result() for each in done] == ["a", "b"]
    assert len(tries) > 2
    assert len(rows(crowd.db, "source_cursors")) == 2


# -- subscribers -----------------------------------------------------------------------------------


def test_the_same_vote_from_two_devices_is_one(world: World) -> None:
    def cast() -> bool:
        return votes.record_vote(world.db, world.claims(1, UP), world.clock, {}).stored

    assert race(world.db, cast, cast) == (True, False)
    assert world.events() == [(1, 1, "vote_up")]


def test_of_two_votes_at_once_the_second_is_the_last(world: World) -> None:
    def cast(kind: EventKind) -> Callable[[], bool]:
        return lambda: votes.vote(world.db, world.readers[0], 1, kind, world.clock, {})

    race(world.db, cast(DOWN), cast(UP))
    assert [kind for _, _, kind in world.events()] == ["vote_down", "vote_up"]
    with world.db.read() as conn:
        last = store.events.last_vote(conn, world.readers[0].id, 1)
    assert last is not None
    assert last.kind is UP


def test_two_first_saves_make_one_collection(world: World) -> None:
    reader = world.readers[0]

    def save(paper_id: int) -> Callable[[], bool]:
        return lambda: collections.save(world.db, world.clock, reader, paper_id)

    assert race(world.db, save(1), save(2)) == (True, True)
    [collection] = rows(world.db, "collections")
    assert len(rows(world.db, "collected_papers")) == 2
    assert race(world.db, lambda: collections.unsave(world.db, reader, 1), save(1)) == (True, True)
    assert collection["id"] in {row["collection_id"] for row in rows(world.db, "collected_papers")}


def test_two_collections_of_one_name_are_refused(world: World) -> None:
    def create() -> int:
        return collections.create(world.db, world.clock, world.readers[0], "Reading group")

    first, second = race(world.db, create, create)
    assert isinstance(first, int)
    assert isinstance(second, ConfigError)


def test_a_feed_that_is_asked_for_twice_has_one_address(world: World) -> None:
    def ask() -> digest_feed.FeedLinks:
        base = "https://papers.example"
        reader = world.readers[0]
        return digest_feed.get_or_create_feed(world.db, world.clock, world.keyring, reader, base)

    first, second = race(world.db, ask, ask)
    assert first == second
    assert isinstance(first, digest_feed.FeedLinks)


def test_forgotten_votes_that_are_brought_back_twice_come_back_once(world: World) -> None:
    reader = world.readers[0]
    votes.vote(world.db, reader, 1, UP, world.clock, {})
    forgotten_votes.forget(world.db, world.clock, reader)

    def restore() -> bool:
        return forgotten_votes.restore(world.db, world.clock, reader)

    assert race(world.db, restore, restore) == (True, False)
    assert world.events() == [(1, 1, "vote_up")]


def test_a_vote_beside_an_erasure_leaves_nothing(world: World) -> None:
    reader = world.readers[0]

    def erase() -> None:
        subscriptions.erase(world.db, reader.email)

    def cast() -> bool:
        return votes.vote(world.db, reader, 1, UP, world.clock, {})

    _, refused = race(world.db, erase, cast)
    assert isinstance(refused, NotFound)
    assert world.events() == []


def test_an_erasure_beside_a_vote_leaves_nothing(world: World) -> None:
    reader = world.readers[0]

    def cast() -> bool:
        return votes.vote(world.db, reader, 1, UP, world.clock, {})

    assert race(world.db, cast, lambda: subscriptions.erase(world.db, reader.email)) == (True, None)
    assert world.events() == []


# -- addresses -------------------------------------------------------------------------------------


def test_of_two_who_add_one_address_one_is_told_that_it_is_known(world: World) -> None:
    def add(email: str) -> Callable[[], bool]:
        return lambda: subscriptions.add(world.db, email, world.clock).new

    assert race(world.db, add("new@example.org"), add("New@Example.org")) == (True, False)


def test_an_address_that_asks_twice_gets_one_mail(world: World) -> None:
    for peer in ("192.0.2.7", "198.51.100.7"):
        world.enrolment.ask_to_subscribe("new@example.org", SubscriberPreferences(), peer)
    answered = race(world.db, world.enrolment.answer, world.enrolment.answer)
    assert all(isinstance(n, int) for n in answered)
    assert Counter(note.recipient for note in world.notes()) == {"new@example.org": 1}
    assert len(rows(world.db, "subscribers")) == 3


def test_one_request_is_answered_by_one_of_two(world: World) -> None:
    world.enrolment.ask_to_subscribe("new@example.org", SubscriberPreferences(), "192.0.2.7")
    assert race(world.db, world.enrolment.answer, world.enrolment.answer) == (1, 0)


def test_whoever_is_answered_is_not_forgotten_as_unconfirmed(world: World) -> None:
    world.enrolment.ask_to_subscribe("new@example.org", SubscriberPreferences(), "192.0.2.7")
    world.answers()
    world.clock.sleep(timedelta(days=8).total_seconds())
    world.enrolment.ask_to_subscribe("new@example.org", SubscriberPreferences(), "192.0.2.7")
    assert race(world.db, world.enrolment.answer, world.enrolment.tidy)[0] == 1
    assert len(world.notes()) == 1


def test_an_address_that_is_suppressed_while_it_confirms_gets_nothing(world: World) -> None:
    world.enrolment.ask_to_subscribe("new@example.org", SubscriberPreferences(), "192.0.2.7")
    [note] = world.answers()
    token = note.path.rpartition("/")[2]
    hashed = world.enrolment.address_hash

    def confirm() -> object:
        return world.enrolment.confirm(token, "yes")

    def stop() -> bool:
        return suppress(world.db, "new@example.org", world.clock, hashed)

    assert race(world.db, confirm, stop)[1] is True
    states = {row["email"]: row["state"] for row in rows(world.db, "subscribers")}
    assert states["new@example.org"] == SubscriberState.SUPPRESSED


def test_wrong_codes_at_the_same_moment_are_all_counted(world: World) -> None:
    world.enrolment.ask_to_log_in(world.readers[0].email, "192.0.2.7")
    [note] = world.answers()
    token = note.path.rpartition("/")[2]
    sessions = Sessions(world.db, world.clock, world.keyring)

    def guess() -> str:
        return sessions.begin(token, "", "no code")

    for _ in range(MOST_TRIES - 2):
        with pytest.raises(TokenError):
            guess()
    race(world.db, guess, guess)
    with pytest.raises(TokenExpired):
        guess()


# -- papers ----------------------------------------------------------------------------------------


def read_from(world: World, origin: str, *papers: FetchedPaper) -> Callable[[], int]:
    source = ListedSource(Batch(papers=papers), name=origin)
    return lambda: list(ingest(world.db, source, world.clock, resume=False))[-1].stored


def test_a_paper_that_two_sources_bring_at_once_is_one(world: World) -> None:
    one, other = read_from(world, "one", fetched(9)), read_from(world, "other", fetched(9))
    assert race(world.db, one, other) == (1, 0)
    assert len(stored_papers(world.db)) == 4
    assert {row["origin"] for row in rows(world.db, "paper_records")} == {"one", "other"}


def test_two_records_of_one_work_that_come_at_once_are_merged(world: World) -> None:
    race(world.db, read_from(world, "one", fetched(9)), read_from(world, "other", unnamed(9)))
    assert len(stored_papers(world.db)) == 4
    assert sum(row["merged_into"] is not None for row in rows(world.db, "papers")) == 1


def test_papers_that_come_at_once_get_their_own_ids(world: World) -> None:
    one = read_from(world, "one", *(fetched(n) for n in range(10, 40)))
    other = read_from(world, "other", *(fetched(n) for n in range(40, 70)))
    assert race(world.db, one, other) == (30, 30)
    ids = {row["value"]: row["paper_id"] for row in rows(world.db, "paper_ids")}
    titles = {row["id"]: row["title"] for row in rows(world.db, "papers")}
    assert all(f"with {int(value[5:])} " in titles[id] for value, id in ids.items())


def test_a_source_is_read_by_one_process_at_a_time(world: World) -> None:
    asked: list[str | None] = []

    class Slow(ListedSource):
        def fetch(self, cursor: str | None) -> Iterator[Batch]:
            asked.append(cursor)
            yield from super().fetch(cursor)

    def leased(owner: str, gone: str = "") -> LeasedSource:
        source = Slow(Batch(papers=(fetched(9),)), Batch(papers=(fetched(8),)))
        return LeasedSource("listed", source, world.db, world.clock, owner, gone.__eq__)

    reading = leased("here/1/a").fetch(None)
    next(reading)
    with pytest.raises(SourceError, match="another process reads it now"):
        next(leased("here/2/b").fetch(None))
    assert len(asked) == 1
    # The lease of a reader that was killed is free; so is that of one that ended, or broke off.
    third = leased("here/3/c", gone="here/1/a").fetch(None)
    next(third)
    with pytest.raises(SourceError, match="another process"):
        list(reading)
    third.close()
    assert len(list(leased("here/4/d").fetch(None))) == 2


def test_names_of_the_operator_are_stored_once(world: World) -> None:
    def name() -> int:
        return len(
            fetch_ids(world.db, (), world.clock, [PaperId("arxiv", "2506.00001", None, "a list")])[
                1
            ]
        )

    assert race(world.db, name, name) == (1, 1)
    assert len(rows(world.db, "named_papers")) == 1


def test_a_named_paper_that_is_found_twice_is_liked_once(world: World) -> None:
    with world.db.write() as conn:
        names = [NamedPaper("arxiv", "2603.00001")]
        store.named_papers.add(conn, world.readers[0].id, names, "library", NOON)

    def like() -> int:
        return make_likes(world.db, world.clock)

    assert race(world.db, like, like) == (1, 0)
    assert world.events() == [(1, 1, "vote_up")]


# -- digests and their way -------------------------------------------------------------------------


def digest_of(world: World, reader: int) -> Callable[[], bool]:
    chosen, message = tomorrows_digest(world, reader)

    def queue_it() -> bool:
        with world.db.write() as conn:
            run_id = store.jobs.begin_run(conn, chosen.on, NOON)
            return queue_once(conn, chosen, message, run_id, NOON)

    return queue_it


def test_a_digest_that_two_workers_make_is_queued_once(world: World) -> None:
    assert race(world.db, digest_of(world, 0), digest_of(world, 0)) == (True, False)


def test_who_is_erased_while_the_digest_is_made_leaves_nothing(world: World) -> None:
    def erase() -> None:
        subscriptions.erase(world.db, world.readers[0].email)

    assert race(world.db, erase, digest_of(world, 0)) == (None, False)
    assert race(world.db, digest_of(world, 1), lambda: None) == (True, None)
    assert {row["subscriber_id"] for row in rows(world.db, "messages")} == {world.readers[1].id}


def test_an_erasure_takes_the_digest_that_is_just_queued(world: World) -> None:
    def erase() -> None:
        subscriptions.erase(world.db, world.readers[0].email)

    assert race(world.db, digest_of(world, 0), erase) == (True, None)
    assert {row["subscriber_id"] for row in rows(world.db, "messages")} == {world.readers[1].id}


def test_two_runs_that_begin_at_once_are_one(world: World) -> None:
    on = DAY + timedelta(days=5)

    def begin() -> int:
        return world.db.execute(store.jobs.begin_run, on, NOON)

    first, second = race(world.db, begin, begin)
    assert first == second
    assert isinstance(first, int)


def sender(world: World, owner: str, **pace: Any) -> MessageSender:
    return MessageSender(
        SenderContext(
            world.db,
            FakeMailer(),
            world.clock,
            owner=owner,
            is_gone=lambda _: False,
            pace=RateLimits(**pace),
            address_hash=hashed,
        )
    )


def claim(world: World, which: MessageSender, n: int = 0) -> Callable[[], object]:
    message = world.db.fetch(store.messages.waiting, world.clock.now())[n]
    return lambda: world.db.execute(which._claim, message)


def test_a_message_is_claimed_by_one_of_two_senders(world: World) -> None:
    first, second = race(
        world.db, claim(world, sender(world, "here/1/a")), claim(world, sender(world, "here/2/b"))
    )
    assert isinstance(first, tuple)
    assert second is None
    owners = [row["lease_owner"] for row in rows(world.db, "messages")]
    assert owners == ["here/1/a", None]


def test_a_claimed_message_is_passed_over_and_not_waited_for(crowd: World) -> None:
    message = crowd.db.fetch(store.messages.waiting, crowd.clock.now())[0]
    with crowd.db.write() as conn, crowd.db.write() as other:
        assert store.messages.lock(conn, message)
        assert not store.messages.lock(other, message)


def test_two_senders_share_the_tokens_of_a_rate(world: World) -> None:
    first, second = race(
        world.db,
        claim(world, sender(world, "here/1/a", per_second=1.0), 0),
        claim(world, sender(world, "here/2/b", per_second=1.0), 1),
    )
    assert isinstance(first, tuple)
    assert type(second).__name__ == "Later"


def test_whoever_leaves_during_the_last_look_finds_the_message_on_its_way(world: World) -> None:
    here = sender(world, "here/1/a")
    claimed = claim(world, here)()
    assert isinstance(claimed, tuple)
    found: list[MessageState] = []

    def leave() -> str:
        token = world.enrolment.leave(world.readers[0].public_id)
        found.append(MessageState(rows(world.db, "messages")[0]["state"]))
        return token

    doubted, token = race(world.db, lambda: world.db.execute(here._doubt, claimed[0]), leave)
    assert isinstance(doubted, store.messages.StoredMessage)
    assert token
    assert found == [MessageState.IN_DOUBT]


def test_the_last_look_sees_who_is_just_leaving(world: World) -> None:
    here = sender(world, "here/1/a")
    claimed = claim(world, here)()
    assert isinstance(claimed, tuple)
    _, state = race(
        world.db,
        lambda: world.enrolment.leave(world.readers[0].public_id),
        lambda: world.db.execute(here._doubt, claimed[0]),
    )
    assert state is MessageState.CANCELLED


def test_a_digest_that_is_being_claimed_is_not_deleted_for_a_withdrawn_paper(world: World) -> None:
    here = sender(world, "here/1/a")
    begin = claim(world, here)

    def withdraw_and_drop() -> int:
        with world.db.write() as conn:
            conn.execute(update(papers).values(withdrawn_at=NOON))
            return store.messages.drop_withdrawn(conn, DAY)

    claimed, n_dropped = race(world.db, begin, withdraw_and_drop)
    assert isinstance(claimed, tuple)
    assert n_dropped == 1
    assert [row["state"] for row in rows(world.db, "messages")] == [MessageState.CLAIMED]
    # The sender looks once more.
    assert world.db.execute(here._doubt, claimed[0]) is MessageState.CANCELLED


def test_two_bounces_at_once_suppress_an_address(world: World) -> None:
    intake, raw = bouncing(world)

    def take(n: int) -> Callable[[], IntakeResult]:
        return lambda: intake.take(raw[n])

    first, second = race(world.db, take(0), take(1))
    assert isinstance(first, IntakeResult)
    assert isinstance(second, IntakeResult)
    assert second.stopped is SubscriberState.SUPPRESSED


def test_a_bounce_that_two_take_in_counts_once(world: World) -> None:
    intake, raw = bouncing(world)

    def take() -> IntakeResult:
        return intake.take(raw[0])

    first, second = race(world.db, take, take)
    assert isinstance(first, IntakeResult)
    assert isinstance(second, IntakeResult)
    assert (first.known, second.known) == (False, True)
    unknown = b"From: a@example.org\r\n\r\nhello"
    results = race(world.db, lambda: intake.take(unknown), lambda: intake.take(unknown))
    assert [isinstance(each, IntakeResult) and each.known for each in results] == [False, True]


def bouncing(world: World) -> tuple[Intake, list[bytes]]:
    """Return what takes in mail, and two bounces of one reader's digests of two days."""
    [case] = [each for each in ALL_CASES if each.name == "postfix 5.1.1"]
    reader, raw = world.readers[0], []
    for n in range(2):
        chosen = empty_slate(reader, 50 + n, on=DAY + timedelta(days=1 + n))
        queue(world.db, chosen, at=NOON + timedelta(days=n))
        message_id = f"<d.{chosen.public_id}@triage.example>"
        back = envelope_sender(message_id, world.keyring, "bounces@triage.example")
        leave = world.keyring.sign_address(Purpose.UNSUBSCRIBE, reader.public_id)
        raw.append(case.raw(About(reader.email, back, leave, "")))
    return Intake(world.db, world.keyring, world.clock, hashed, votes.record_mailed_vote), raw


# -- what processes share --------------------------------------------------------------------------


def test_one_of_two_processes_has_the_turn_to_ask_a_server(world: World) -> None:
    def acquire(owner: str) -> Callable[[], MustWait | None]:
        limiter = SharedRequestLimiter(
            world.db, world.clock, "arxiv", Rules(3.0, 10), owner=owner, is_gone=lambda _: False
        )
        return limiter.acquire

    first, second = race(world.db, acquire("here/1/a"), acquire("here/2/b"))
    assert first is None
    assert isinstance(second, MustWait)


def test_one_of_two_processes_has_a_lease(world: World) -> None:
    def take(owner: str) -> Callable[[], bool]:
        until = NOON + timedelta(minutes=5)
        return lambda: world.db.execute(store.jobs.take_lease, "digests", owner, until, NOON)

    assert race(world.db, take("here/1/a"), take("here/2/b")) == (True, False)
    assert race(world.db, take("here/1/a"), take("here/2/b")) == (True, False)


def test_a_database_that_two_upgrade_is_upgraded_once(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        database: Database = stack.enter_context(databases.without_tables(tmp_path))
        first, second = race(database, lambda: upgrade(database), lambda: upgrade(database))
        assert isinstance(first, tuple)
        assert isinstance(second, tuple)
        assert (first[0], second[0]) == (None, first[1])
        assert differences(database) == [], kind
