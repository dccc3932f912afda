"""Every frozen message is handed over once, put off or given up, and accounted for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.factories import DAY, NOON, impression, paper, slate
from tests.fakes import FakeMailer, StoppedClock
from tests.installation import add_papers, add_reader, empty_slate, installed, queue, rows
from triage import store
from triage.errors import MailDeferred, MailerBroken, MailRefused, MailUncertain
from triage.outbox import LEASE, SEND_WINDOW, DrainReport, Outbox
from triage.records import MessageState, OutgoingMessage, Subscriber, SubscriberState
from triage.store import Database, open_database
from triage.store.messages import StoredMessage

ONE_DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
MIME = b"Subject: papers\r\n\r\n" + bytes(range(256))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


class UnknowingMailer(FakeMailer):
    """Cannot tell what arrived, as most transports."""

    def delivered(self, message_id: str) -> None:
        return None


class DyingMailer(FakeMailer):
    """Takes the message and dies before it can say so."""

    def send(self, message: OutgoingMessage) -> str:
        super().send(message)
        raise KeyboardInterrupt


def outbox(
    database: Database,
    mailer: FakeMailer,
    clock: StoppedClock,
    owner: str = "us",
    gone: tuple[str, ...] = (),
) -> Outbox:
    return Outbox(database, mailer, clock, owner=owner, is_gone=lambda who: who in gone)


def message(database: Database) -> dict[str, Any]:
    [only] = rows(database, "messages")
    return only


def queue_digest(database: Database, reader: Subscriber) -> str:
    """Queue a digest of one paper."""
    papers = add_papers(database, [paper(1)])
    shown = (impression(1, paper=papers[0]),)
    return queue(database, slate(0, subscriber=reader, impressions=shown), MIME)


def papers_seen(database: Database, reader: Subscriber) -> int:
    with database.read() as conn:
        return len(store.slates.shown_papers(conn, reader.id))


# -- the ordinary day ------------------------------------------------------------------------------


def test_each_message_is_handed_over_once_in_the_order_queued(
    database: Database, clock: StoppedClock
) -> None:
    ids = [
        queue(database, empty_slate(add_reader(database, n), n), MIME + bytes([n]))
        for n in (1, 2, 3)
    ]
    mailer = FakeMailer()
    heard: list[MessageState] = []
    assert outbox(database, mailer, clock).drain(heard.append) == DrainReport(sent=3)
    assert [sent.message_id for sent in mailer.sent] == ids
    assert heard == [MessageState.SENT] * 3
    assert outbox(database, mailer, clock).drain() == DrainReport()
    assert len(mailer.sent) == 3


def test_the_frozen_bytes_go_out_unchanged(database: Database, clock: StoppedClock) -> None:
    reader = add_reader(database)
    message_id = queue(database, empty_slate(reader), MIME)
    mailer = FakeMailer()
    outbox(database, mailer, clock).drain()
    assert mailer.sent == [OutgoingMessage(message_id, reader.email, MIME)]


def test_when_and_with_what_answer_is_kept(database: Database, clock: StoppedClock) -> None:
    queue(database, empty_slate(add_reader(database)))
    clock.at += MINUTE
    outbox(database, FakeMailer(), clock).drain()
    sent = message(database)
    assert (sent["state"], sent["sent_at"], sent["attempts"]) == ("sent", NOON + MINUTE, 1)
    assert (sent["last_reply"], sent["resends"]) == ("taken", 0)


def test_nothing_waiting_is_nothing_done(database: Database, clock: StoppedClock) -> None:
    assert outbox(database, FakeMailer(), clock).drain() == DrainReport()


# -- not now ---------------------------------------------------------------------------------------


def test_a_message_that_is_put_off_is_tried_later_and_ever_later(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)), MIME)
    mailer = FakeMailer(*[MailDeferred("451 busy")] * 7)
    sender = outbox(database, mailer, clock)
    waits = []
    for _ in range(7):
        assert sender.drain().deferred == 1
        waits.append((message(database)["not_before"] - clock.at) / MINUTE)
        clock.at = message(database)["not_before"] - timedelta(seconds=1)
        assert sender.drain() == DrainReport()
        clock.at += timedelta(seconds=1)
    planned = [1, 5, 15, 30, 60, 120, 120]
    assert all(0.8 * n <= wait <= 1.2 * n for n, wait in zip(planned, waits, strict=True))
    # Messages that failed together do not return together.
    assert waits != planned

    assert sender.drain().sent == 1
    assert [sent.mime for sent in mailer.sent] == [MIME]
    assert message(database)["attempts"] == 8


def test_a_message_put_off_keeps_the_receivers_words(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))
    outbox(database, FakeMailer(MailDeferred("451 mailbox busy")), clock).drain()
    assert message(database)["last_reply"] == "451 mailbox busy"


def test_a_message_past_its_time_is_given_up_and_its_papers_come_again(
    database: Database, clock: StoppedClock
) -> None:
    reader = add_reader(database)
    queue_digest(database, reader)
    sender = outbox(database, FakeMailer(*[MailDeferred("451 busy")] * 2), clock)
    clock.at = NOON + SEND_WINDOW - MINUTE
    assert sender.drain().deferred == 1
    assert papers_seen(database, reader) == 1
    clock.at = NOON + SEND_WINDOW + MINUTE
    assert sender.drain() == DrainReport(failed=1)
    assert (message(database)["state"], message(database)["reason"]) == ("failed", "expired")
    assert papers_seen(database, reader) == 0


# -- never -----------------------------------------------------------------------------------------


def test_a_refused_message_is_given_up_and_its_papers_come_again(
    database: Database, clock: StoppedClock
) -> None:
    reader = add_reader(database)
    queue_digest(database, reader)
    sender = outbox(database, FakeMailer(MailRefused("550 no such mailbox")), clock)
    assert sender.drain() == DrainReport(failed=1)
    given_up = message(database)
    assert (given_up["state"], given_up["reason"]) == ("failed", "refused")
    assert given_up["last_reply"] == "550 no such mailbox"
    assert papers_seen(database, reader) == 0
    clock.at += ONE_DAY
    assert sender.drain() == DrainReport()


def test_one_refusal_does_not_hold_up_the_others(database: Database, clock: StoppedClock) -> None:
    for n in (1, 2, 3):
        queue(database, empty_slate(add_reader(database, n), n))
    mailer = FakeMailer(MailRefused("550"), MailDeferred("451"))
    assert outbox(database, mailer, clock).drain() == DrainReport(sent=1, deferred=1, failed=1)


def test_a_message_that_was_refused_for_a_reason_keeps_it(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))
    outbox(database, FakeMailer(MailRefused("552", reason="too_large")), clock).drain()
    assert message(database)["reason"] == "too_large"


@pytest.mark.parametrize("no_such_mailbox", [True, False])
def test_nothing_more_goes_to_a_mailbox_that_does_not_exist(
    database: Database, clock: StoppedClock, no_such_mailbox: bool
) -> None:
    reader = add_reader(database)
    queue(database, empty_slate(reader, 1))
    queue(database, empty_slate(reader, 2, on=DAY + ONE_DAY))
    mailer = FakeMailer(MailRefused("550 5.1.1", no_such_mailbox=no_such_mailbox))
    report = outbox(database, mailer, clock).drain()
    [stored] = rows(database, "subscribers")
    if no_such_mailbox:
        assert report == DrainReport(failed=1, cancelled=1)
        assert stored["state"] == "suppressed"
    else:
        assert report == DrainReport(failed=1, sent=1)
        assert stored["state"] == "active"


def test_whoever_unsubscribed_stays_unsubscribed_though_the_mailbox_is_gone(
    database: Database, clock: StoppedClock
) -> None:
    reader = add_reader(database)
    queue(database, empty_slate(reader))

    class LeavingMailer(FakeMailer):
        def send(self, message: OutgoingMessage) -> str:
            with database.write() as conn:
                left = SubscriberState.UNSUBSCRIBED
                store.subscribers.set_state(conn, reader.id, left, clock.now())
            raise MailRefused("550 5.1.1", no_such_mailbox=True)

    assert outbox(database, LeavingMailer(), clock).drain() == DrainReport(failed=1)
    assert rows(database, "subscribers")[0]["state"] == "unsubscribed"


# -- nobody knows, and nothing goes ----------------------------------------------------------------


def test_a_message_of_which_nobody_knows_waits_in_doubt_and_is_sent_again_after_the_lease(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)), MIME)
    mailer = FakeMailer(MailUncertain("no answer after the final dot"))
    sender = outbox(database, mailer, clock)
    for _ in range(2):
        assert sender.drain() == DrainReport(in_flight=1)
        assert message(database)["state"] == "in_doubt"
        assert mailer.sent == []
    clock.at += LEASE
    assert sender.drain() == DrainReport(sent=1)
    assert [sent.mime for sent in mailer.sent] == [MIME]
    assert message(database)["resends"] == 1


def test_one_message_in_doubt_does_not_hold_up_the_others(
    database: Database, clock: StoppedClock
) -> None:
    for n in (1, 2, 3):
        queue(database, empty_slate(add_reader(database, n), n))
    mailer = FakeMailer(MailUncertain("no answer"))
    assert outbox(database, mailer, clock).drain() == DrainReport(sent=2, in_flight=1)


def test_a_mailer_that_is_broken_stops_the_drain_and_costs_no_message_anything(
    database: Database, clock: StoppedClock
) -> None:
    for n in (1, 2, 3):
        queue(database, empty_slate(add_reader(database, n), n))
    mailer = FakeMailer(MailerBroken("535: correct the password"))
    sender = outbox(database, mailer, clock)
    report = sender.drain()
    assert report == DrainReport(broken="535: correct the password")
    assert len(mailer.failures) == 0
    waiting = rows(database, "messages")
    assert {(each["state"], each["attempts"], each["resends"]) for each in waiting} == {
        ("rendered", 0, 0)
    }
    assert sender.drain() == DrainReport(sent=3)


def test_the_mailer_is_closed_after_every_drain(database: Database, clock: StoppedClock) -> None:
    closed = []

    class OpenMailer(FakeMailer):
        def close(self) -> None:
            closed.append(len(self.sent))

    queue(database, empty_slate(add_reader(database)))
    outbox(database, OpenMailer(), clock).drain()
    assert closed == [1]


# -- no longer wanted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [SubscriberState.PAUSED, SubscriberState.UNSUBSCRIBED, SubscriberState.SUPPRESSED],
)
@pytest.mark.parametrize("put_off", [False, True])
def test_whoever_left_in_the_meantime_gets_nothing(
    database: Database, clock: StoppedClock, state: SubscriberState, put_off: bool
) -> None:
    reader = add_reader(database)
    queue_digest(database, reader)
    if put_off:
        outbox(database, FakeMailer(MailDeferred("451")), clock).drain()
        clock.at += ONE_DAY
    with database.write() as conn:
        store.subscribers.set_state(conn, reader.id, state, clock.now())
    mailer = FakeMailer()
    assert outbox(database, mailer, clock).drain() == DrainReport(cancelled=1)
    assert mailer.sent == []
    assert (message(database)["state"], message(database)["reason"]) == ("cancelled", state)
    # What was never mailed may come again when they are back.
    assert papers_seen(database, reader) == 0


def test_whoever_was_erased_in_the_meantime_gets_nothing(
    database: Database, clock: StoppedClock
) -> None:
    reader = add_reader(database)
    queue(database, empty_slate(reader))
    with database.write() as conn:
        store.subscribers.erase(conn, reader.id)
    mailer = FakeMailer()
    assert outbox(database, mailer, clock).drain() == DrainReport()
    assert mailer.sent == []


# -- senders that die ------------------------------------------------------------------------------


def leave_in_flight(database: Database, state: MessageState, owner: str = "them") -> None:
    """Leave the one message as a sender does that dies while it holds it."""
    with database.write() as conn:
        [waiting] = store.messages.waiting(conn, NOON)
        held: StoredMessage | None = store.messages.move(
            conn,
            waiting,
            MessageState.CLAIMED,
            NOON,
            attempts=1,
            lease_owner=owner,
            lease_epoch=1,
            lease_until=NOON + LEASE,
        )
        if state is MessageState.IN_DOUBT and held is not None:
            store.messages.move(conn, held, state, NOON)


def test_what_a_living_sender_holds_is_left_alone(database: Database, clock: StoppedClock) -> None:
    queue(database, empty_slate(add_reader(database)))
    leave_in_flight(database, MessageState.IN_DOUBT)
    mailer = FakeMailer()
    clock.at = NOON + LEASE - MINUTE
    assert outbox(database, mailer, clock).drain() == DrainReport(in_flight=1)
    assert mailer.sent == []


@pytest.mark.parametrize("known_dead", [True, False])
def test_a_claim_of_a_dead_sender_is_taken_back_and_sent(
    database: Database, clock: StoppedClock, known_dead: bool
) -> None:
    queue(database, empty_slate(add_reader(database)))
    leave_in_flight(database, MessageState.CLAIMED)
    clock.at = NOON if known_dead else NOON + LEASE
    mailer = UnknowingMailer()
    gone = ("them",) if known_dead else ()
    assert outbox(database, mailer, clock, gone=gone).drain() == DrainReport(sent=1)
    assert len(mailer.sent) == 1
    # It had never come near the transport, so this is no second copy.
    assert message(database)["resends"] == 0


def test_what_arrived_before_the_sender_died_is_not_sent_again(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))
    mailer = DyingMailer()
    with pytest.raises(KeyboardInterrupt):
        outbox(database, mailer, clock, owner="them").drain()
    assert message(database)["state"] == "in_doubt"

    after = FakeMailer()
    after.sent = list(mailer.sent)
    outbox(database, after, clock, gone=("them",)).drain()
    assert len(after.sent) == 1
    found = message(database)
    assert (found["state"], found["resends"]) == ("sent", 0)
    assert found["last_reply"] == "found at the receiver"
    assert found["sent_at"] == NOON


@pytest.mark.parametrize("kind", [UnknowingMailer, FakeMailer])
def test_what_may_not_have_arrived_is_sent_again_and_counted(
    database: Database, clock: StoppedClock, kind: type[FakeMailer]
) -> None:
    queue(database, empty_slate(add_reader(database)), MIME)
    leave_in_flight(database, MessageState.IN_DOUBT)
    mailer = kind()
    assert outbox(database, mailer, clock, gone=("them",)).drain().sent == 1
    assert [sent.mime for sent in mailer.sent] == [MIME]
    found = message(database)
    assert (found["state"], found["resends"], found["attempts"]) == ("sent", 1, 2)


def test_a_sender_whose_claim_was_taken_back_settles_nothing(
    database: Database, clock: StoppedClock
) -> None:
    """It slept past its lease; the message is the other sender's now, and is counted once."""
    queue(database, empty_slate(add_reader(database)))
    other = UnknowingMailer()

    class SlowMailer(FakeMailer):
        def send(self, message: OutgoingMessage) -> str:
            clock.at += LEASE
            outbox(database, other, clock, owner="other").drain()
            return super().send(message)

    assert outbox(database, SlowMailer(), clock, owner="slow").drain() == DrainReport()
    found = message(database)
    assert (found["state"], found["lease_owner"], found["resends"]) == ("sent", "other", 1)


def test_two_senders_at_once_hand_each_message_over_once(database: Database) -> None:
    readers = [add_reader(database, n) for n in range(1, 13)]
    ids = [queue(database, empty_slate(reader, reader.id)) for reader in readers]
    mailer = FakeMailer()
    url = str(database.engine.url)
    start = threading.Barrier(2)
    reports: list[DrainReport] = []

    def work(owner: str) -> None:
        own = open_database(url)
        start.wait()
        reports.append(outbox(own, mailer, StoppedClock(), owner=owner).drain())
        own.close()

    threads = [threading.Thread(target=work, args=(owner,)) for owner in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent.message_id for sent in mailer.sent) == sorted(ids)
    assert sum(report.sent for report in reports) == len(ids)


def test_digests_of_other_days_do_not_disturb_each_other(
    database: Database, clock: StoppedClock
) -> None:
    reader = add_reader(database)
    for n in range(3):
        queue(database, empty_slate(reader, n + 1, on=DAY + n * ONE_DAY))
    mailer = FakeMailer(MailRefused("550"))
    assert outbox(database, mailer, clock).drain() == DrainReport(sent=2, failed=1)
