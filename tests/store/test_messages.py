"""The outbox in the store: which state may follow which, and who holds a message."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from tests.support.factories import DAY, NOON, impression, paper, slate
from tests.support.installation import (
    add_papers,
    add_reader,
    empty_slate,
    installed,
    queue,
    queue_once,
    rows,
)
from triage import store
from triage.domain.records import EventKind, MessageState, OutgoingMessage
from triage.store import Database
from triage.store.messages import NEXT_STATES, StoredMessage
from triage.store.tables import message_bodies, messages

UP, DOWN, SAVE = EventKind.VOTE_UP, EventKind.VOTE_DOWN, EventKind.SAVE
ONE_DAY = timedelta(days=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def waiting(database: Database, at: datetime = NOON) -> list[StoredMessage]:
    with database.read() as conn:
        return store.messages.waiting(conn, at)


def test_a_message_waits_with_its_bytes(database: Database) -> None:
    mime = bytes(range(256))
    reader = add_reader(database)
    message_id = queue(database, empty_slate(reader), mime)
    [message] = waiting(database)
    assert (message.message_id, message.recipient) == (message_id, reader.email)
    with database.read() as conn:
        assert store.messages.mime(conn, message.id) == mime
    [stored] = rows(database, "messages")
    assert stored["state"] == MessageState.RENDERED


def test_there_is_one_message_for_each_subscriber_and_date(database: Database) -> None:
    reader = add_reader(database)
    queue(database, empty_slate(reader))
    with database.write() as conn:
        run_id = store.jobs.begin_run(conn, DAY, NOON)
        assert not queue_once(conn, empty_slate(reader, 2), None, run_id, NOON)
    queue(database, empty_slate(reader, 3, on=DAY + ONE_DAY))
    queue(database, empty_slate(add_reader(database, 2), 4))
    assert len(rows(database, "messages")) == 3


def test_a_slate_and_its_message_are_kept_together_or_not_at_all(database: Database) -> None:
    reader = add_reader(database)
    message_id = queue(database, empty_slate(reader))
    # The same name for another message: the second half of the transaction fails.
    twin = OutgoingMessage(message_id, reader.email, b"another")
    next_day = empty_slate(reader, 2, on=DAY + ONE_DAY)

    def queue_twin() -> None:
        with database.write() as conn:
            run_id = store.jobs.begin_run(conn, DAY, NOON)
            queue_once(conn, next_day, twin, run_id, NOON)

    with pytest.raises(IntegrityError):
        queue_twin()
    assert len(rows(database, "slates")) == 1


def test_no_message_takes_a_way_that_is_not_laid_out(database: Database) -> None:
    queue(database, empty_slate(add_reader(database)))
    [message] = waiting(database)
    refused = 0
    with database.write() as conn:
        for now, then in itertools.product(MessageState, MessageState):
            if then not in NEXT_STATES[now]:
                with pytest.raises(ValueError, match="cannot become"):
                    store.messages.move(conn, replace(message, state=now), then, NOON)
                refused += 1
    assert refused == len(MessageState) ** 2 - sum(map(len, NEXT_STATES.values()))
    assert [each["state"] for each in rows(database, "messages")] == [MessageState.RENDERED]


def test_what_has_ended_never_moves_again() -> None:
    ends = {state for state, following in NEXT_STATES.items() if not following}
    assert ends == {
        MessageState.SENT,
        MessageState.FAILED,
        MessageState.CANCELLED,
        MessageState.SKIPPED,
    }
    assert set(NEXT_STATES) == set(MessageState)


def test_nothing_is_sent_without_having_been_in_doubt() -> None:
    before_sent = {
        state for state, following in NEXT_STATES.items() if MessageState.SENT in following
    }
    assert before_sent == {MessageState.IN_DOUBT, MessageState.HELD}


def set_to(database: Database, **fields: object) -> None:
    with database.write() as conn:
        conn.execute(update(messages).values(**fields))


def force(database: Database, state: MessageState) -> None:
    """Put the only message into a state, whatever the way there."""
    ways: dict[MessageState, tuple[MessageState, ...]] = {MessageState.RENDERED: ()}
    while state not in ways:
        for now, way in list(ways.items()):
            for then in NEXT_STATES[now]:
                ways.setdefault(then, (*way, then))
    for step in ways[state]:
        set_to(database, state=step)


REACHABLE = sorted(set(MessageState) - {MessageState.PLANNED, MessageState.SKIPPED})


@pytest.mark.parametrize("now", REACHABLE)
def test_the_database_itself_refuses_every_other_way(database: Database, now: MessageState) -> None:
    for n, then in enumerate(MessageState):
        queue(database, empty_slate(add_reader(database, n + 1), n + 1))
        force(database, now)
        if then in NEXT_STATES[now]:
            set_to(database, state=then)
        elif then is not now or now is MessageState.SENT:
            with pytest.raises(IntegrityError):
                set_to(database, state=then)
        with database.write() as conn:
            conn.execute(delete(messages))


def test_what_was_sent_is_never_changed(database: Database) -> None:
    queue(database, empty_slate(add_reader(database)))
    force(database, MessageState.SENT)
    for change in ({"recipient": "x@y.org"}, {"sent_at": NOON}, {"attempts": 9}, {"on": DAY}):
        with pytest.raises(IntegrityError):
            set_to(database, **change)


def test_the_bytes_of_a_message_never_change_but_may_be_dropped(database: Database) -> None:
    queue(database, empty_slate(add_reader(database)))
    with pytest.raises(IntegrityError), database.write() as conn:
        conn.execute(update(message_bodies).values(mime=b"other"))
    force(database, MessageState.SENT)
    with database.write() as conn:
        conn.execute(delete(message_bodies))
    [stored] = rows(database, "messages")
    assert stored["state"] == MessageState.SENT


def claim(database: Database, message: StoredMessage, owner: str) -> StoredMessage | None:
    with database.write() as conn:
        return store.messages.move(
            conn,
            message,
            MessageState.CLAIMED,
            NOON,
            lease_owner=owner,
            lease_epoch=message.lease_epoch + 1,
        )


def test_of_two_who_claim_one_message_one_gets_it(database: Database) -> None:
    queue(database, empty_slate(add_reader(database)))
    [seen_by_both] = waiting(database)
    first = claim(database, seen_by_both, "a")
    assert first is not None
    assert (first.state, first.lease_owner, first.lease_epoch) == (MessageState.CLAIMED, "a", 1)
    assert claim(database, seen_by_both, "b") is None
    with database.read() as conn:
        assert store.messages.in_flight(conn) == [first]


def test_an_old_holder_cannot_move_a_message_that_was_taken_back(database: Database) -> None:
    queue(database, empty_slate(add_reader(database)))
    old = claim(database, waiting(database)[0], "a")
    assert old is not None
    with database.write() as conn:
        assert store.messages.move(conn, old, MessageState.RENDERED, NOON)
    new = claim(database, waiting(database)[0], "b")
    assert new is not None
    assert new.lease_epoch == old.lease_epoch + 1
    with database.write() as conn:
        assert store.messages.move(conn, old, MessageState.IN_DOUBT, NOON) is None
        assert store.messages.move(conn, new, MessageState.IN_DOUBT, NOON) is not None


def test_a_claim_that_has_moved_on_is_not_taken_back(database: Database) -> None:
    queue(database, empty_slate(add_reader(database)))
    claimed = claim(database, waiting(database)[0], "a")
    assert claimed is not None
    with database.write() as conn:
        assert store.messages.move(conn, claimed, MessageState.IN_DOUBT, NOON) is not None
        # Whoever still takes it for claimed would send it without asking whether it arrived.
        assert store.messages.move(conn, claimed, MessageState.RENDERED, NOON) is None


def test_a_message_that_is_put_off_waits_for_its_time(database: Database) -> None:
    queue(database, empty_slate(add_reader(database)))
    claimed = claim(database, waiting(database)[0], "a")
    assert claimed is not None
    with database.write() as conn:
        later = NOON + ONE_DAY
        store.messages.move(conn, claimed, MessageState.DEFERRED, NOON, not_before=later)
    assert waiting(database, later - timedelta(seconds=1)) == []
    assert len(waiting(database, later)) == 1


def test_cancelling_reaches_what_waits_and_nothing_else(database: Database) -> None:
    readers = [add_reader(database, 1), add_reader(database, 2)]
    for n in range(3):
        queue(database, empty_slate(readers[0], n + 1, on=DAY + n * ONE_DAY))
    queue(database, empty_slate(readers[1], 9))
    assert claim(database, waiting(database)[0], "a") is not None
    with database.write() as conn:
        assert store.messages.cancel_waiting(conn, readers[0].id, "unsubscribed", NOON) == 2
        assert store.messages.cancel_waiting(conn, readers[0].id, "unsubscribed", NOON) == 0
    states = [each["state"] for each in rows(database, "messages")]
    assert states == ["claimed", "cancelled", "cancelled", "rendered"]


def test_the_papers_of_a_cancelled_digest_may_be_shown_again(database: Database) -> None:
    reader = add_reader(database)
    [stored] = add_papers(database, [paper(1)])
    shown = (impression(1, paper=stored),)
    queue(database, slate(0, subscriber=reader, impressions=shown))
    with database.write() as conn:
        assert store.slates.shown_papers(conn, reader.id) == {stored.id}
        store.messages.cancel_waiting(conn, reader.id, "paused", NOON)
        assert store.slates.shown_papers(conn, reader.id) == set()


def test_a_digest_without_papers_is_noted_and_never_sent(database: Database) -> None:
    reader = add_reader(database)
    chosen = empty_slate(reader)
    with database.write() as conn:
        run_id = store.jobs.begin_run(conn, DAY, NOON)
        queue_once(conn, chosen, None, run_id, NOON, skipped_because="no_papers")
        [listed] = store.messages.listing(conn)
    assert waiting(database) == []
    assert (listed["state"], listed["reason"]) == (MessageState.SKIPPED, "no_papers")


def test_messages_are_listed_newest_first_and_by_state(database: Database) -> None:
    reader = add_reader(database)
    for n in range(3):
        queue(database, empty_slate(reader, n + 1, on=DAY + n * ONE_DAY))
    with database.write() as conn:
        store.messages.cancel_waiting(conn, reader.id, "paused", NOON)
    queue(database, empty_slate(reader, 4, on=DAY + 3 * ONE_DAY))
    with database.read() as conn:
        assert [each["on"] for each in store.messages.listing(conn, limit=2)] == [
            DAY + 3 * ONE_DAY,
            DAY + 2 * ONE_DAY,
        ]
        assert len(store.messages.listing(conn, ["cancelled"])) == 3
        [first] = store.messages.listing(conn, ["rendered"])
    assert first["subscriber"] == reader.email
