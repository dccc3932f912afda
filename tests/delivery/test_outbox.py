"""Every frozen message is handed over once, put off or given up, and accounted for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.factories import DAY, NOON, impression, paper, slate
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.installation import add_papers, add_reader, empty_slate, installed, queue, rows
from triage import store
from triage.delivery.audit import audit
from triage.delivery.hand_over import LATE_FOR, SEND_WINDOW
from triage.delivery.outbox import DrainReport, Outbox
from triage.delivery.recovery import (
    LOG_IS_WRITTEN,
    MOST_CRASHES,
    MOST_RESENDS,
    RESEND_WITHIN,
)
from triage.delivery.sender_context import LEASE, SenderContext
from triage.domain.records import MessageState, OutgoingMessage, Subscriber, SubscriberState
from triage.errors import MailDeferred, MailerBroken, MailError, MailRefused, MailUncertain
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

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        super().send(message, about_to_end)
        raise KeyboardInterrupt


def outbox(
    database: Database,
    mailer: FakeMailer,
    clock: StoppedClock,
    owner: str = "us",
    gone: tuple[str, ...] = (),
    **rules: Any,
) -> Outbox:
    return Outbox(
        SenderContext(
            database,
            mailer,
            clock,
            owner=owner,
            is_gone=lambda who: who in gone,
            **rules,
        )
    )


INTERNATIONAL = [
    ("u@bücher.example", "u@xn--bcher-kva.example"),
    ("u@xn--bcher-kva.example", "u@xn--bcher-kva.example"),
    ("u@почта.рф", "u@xn--80a1acny.xn--p1ai"),
    ("u@例え.テスト", "u@xn--r8jz45g.xn--zckzah"),
    ("u@faß.de", "u@xn--fa-hia.de"),
]


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


def test_a_message_that_nobody_tried_in_its_time_is_given_up_untried(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))
    clock.at = NOON + SEND_WINDOW
    mailer = FakeMailer()
    sender = outbox(database, mailer, clock)
    assert sender.drain() == DrainReport()
    clock.at += LATE_FOR
    assert sender.drain() == DrainReport(failed=1)
    assert (message(database)["reason"], mailer.sent) == ("expired", [])


@pytest.mark.parametrize("ahead", [SEND_WINDOW, timedelta(days=1), timedelta(days=400)], ids=str)
def test_a_clock_that_is_ahead_for_less_than_an_hour_gives_no_message_up(
    database: Database, clock: StoppedClock, ahead: timedelta
) -> None:
    queue(database, empty_slate(add_reader(database)))
    sender = outbox(database, FakeMailer(MailDeferred("451 busy")), clock)
    assert sender.drain().deferred == 1
    for at in (NOON + ahead, NOON + ahead + LATE_FOR - MINUTE):
        clock.at = at
        assert sender.drain() == DrainReport()
    clock.at = NOON + 2 * MINUTE
    assert sender.drain() == DrainReport(sent=1)


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
    assert sender.drain() == DrainReport()
    clock.at += LATE_FOR
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
def test_nothing_more_goes_to_a_mailbox_that_is_refused_on_two_dates(
    database: Database, clock: StoppedClock, no_such_mailbox: bool
) -> None:
    reader = add_reader(database)
    for n in range(3):
        queue(database, empty_slate(reader, n + 1, on=DAY + n * ONE_DAY))
    gone = MailRefused("550 5.1.1", no_such_mailbox=no_such_mailbox)
    first = outbox(database, FakeMailer(gone, gone, MailDeferred("451")), clock)
    report = first.drain()
    [stored] = rows(database, "subscribers")
    # The address itself, so that nobody subscribes it anew.
    reasons = [row["reason"] for row in rows(database, "suppressions")]
    assert reasons == ["no such mailbox"] * no_such_mailbox
    assert report == DrainReport(failed=2, deferred=1)
    assert stored["state"] == ("suppressed" if no_such_mailbox else "active")
    assert len(rows(database, "bounces")) == 2 * no_such_mailbox


def test_one_refusal_of_a_mailbox_stops_nothing(database: Database, clock: StoppedClock) -> None:
    reader = add_reader(database)
    for n in (1, 2):
        queue(database, empty_slate(reader, n, on=DAY + n * ONE_DAY))
    mailer = FakeMailer(MailRefused("550 5.1.1", no_such_mailbox=True))
    assert outbox(database, mailer, clock).drain() == DrainReport(failed=1, sent=1)
    assert rows(database, "subscribers")[0]["state"] == "active"


def test_a_mailbox_that_is_full_for_days_is_given_up(
    database: Database, clock: StoppedClock
) -> None:
    reader = add_reader(database)
    for n in range(10):
        queue(database, empty_slate(reader, n + 1, on=DAY + n * ONE_DAY), at=clock.at)
        full: MailError = MailDeferred("452 4.2.2 full", is_unreachable=True)
        if n % 2:
            full = MailRefused("552 5.2.2 full", is_unreachable=True)
        assert rows(database, "subscribers")[0]["state"] == "active"
        sender = outbox(database, FakeMailer(full, full, full), clock)
        sender.drain()
        clock.at += SEND_WINDOW
        if n % 2 == 0:
            # Nobody asks the mailbox any more, but what it said last counts.
            assert sender.drain() == DrainReport()
            clock.at += LATE_FOR
            assert sender.drain() == DrainReport(failed=1)
        clock.at += SEND_WINDOW
    assert rows(database, "subscribers")[0]["state"] == "suppressed"
    assert [row["reason"] for row in rows(database, "suppressions")] == ["unreachable"]


def test_the_servers_words_stay_with_a_message_that_is_held(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))
    mailer = UnknowingMailer(MailUncertain("it answered 354 what"))
    sender = outbox(database, mailer, clock, ambiguous="hold")
    sender.drain()
    clock.at += LOG_IS_WRITTEN
    assert sender.drain() == DrainReport(held=1)
    assert "it answered 354 what" in message(database)["last_reply"]


def test_whoever_unsubscribed_stays_unsubscribed_though_the_mailbox_is_gone(
    database: Database, clock: StoppedClock
) -> None:
    reader = add_reader(database)
    queue(database, empty_slate(reader))

    class LeavingMailer(FakeMailer):
        def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
            with database.write() as conn:
                left = SubscriberState.UNSUBSCRIBED
                store.subscribers.set_state(conn, reader.id, left, clock.now())
            raise MailRefused("550 5.1.1", no_such_mailbox=True)

    assert outbox(database, LeavingMailer(), clock).drain() == DrainReport(failed=1)
    assert rows(database, "subscribers")[0]["state"] == "unsubscribed"


# -- nobody knows, and nothing goes ----------------------------------------------------------------


def test_a_message_of_which_nobody_knows_waits_in_doubt_and_is_sent_again_soon(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)), MIME)
    mailer = FakeMailer(MailUncertain("no answer after the final dot"))
    sender = outbox(database, mailer, clock)
    for _ in range(2):
        assert sender.drain() == DrainReport(in_flight=1)
        assert message(database)["state"] == "in_doubt"
        assert mailer.sent == []
    clock.at += LOG_IS_WRITTEN
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


def leave_in_flight(
    database: Database, state: MessageState, owner: str = "them", **fields: Any
) -> None:
    """Leave the one message as a sender does that dies while it holds it."""
    with database.write() as conn:
        [waiting] = store.messages.waiting(conn, NOON)
        held: StoredMessage | None = store.messages.move(
            conn,
            waiting,
            MessageState.CLAIMED,
            NOON,
            attempts=waiting.attempts + 1,
            lease_owner=owner,
            lease_epoch=waiting.lease_epoch + 1,
            lease_until=NOON + LEASE,
        )
        assert held
        store.attempts.begin(conn, held.id, held.lease_epoch, NOON)
        if state is MessageState.IN_DOUBT:
            store.messages.move(conn, held, state, NOON, doubted_at=NOON, **fields)


def test_what_a_living_sender_holds_is_left_alone(database: Database, clock: StoppedClock) -> None:
    queue(database, empty_slate(add_reader(database)))
    leave_in_flight(database, MessageState.IN_DOUBT)
    mailer = FakeMailer()
    clock.at = NOON + LEASE - MINUTE / 60
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
    assert (message(database)["resends"], message(database)["crashes"]) == (0, 1)
    # Another machine's clock may go wrong: it was watched for as long as a lease lasts.
    assert clock.at == (NOON if known_dead else NOON + 2 * LEASE)


def test_a_clock_that_jumps_takes_nothing_from_a_sender_that_lives(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))
    leave_in_flight(database, MessageState.IN_DOUBT)
    clock.at = NOON + timedelta(hours=1)

    class Renewing(StoppedClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            with database.write() as conn:
                store.messages.renew(conn, "them", [1], self.at + LEASE)

    mailer = UnknowingMailer()
    watching = Renewing(clock.at)
    assert outbox(database, mailer, watching).drain() == DrainReport(in_flight=1)
    assert mailer.sent == []


def test_a_sender_whose_clock_was_ahead_keeps_nothing_for_longer(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))
    leave_in_flight(database, MessageState.CLAIMED)
    clock.at = NOON - timedelta(hours=1)
    mailer = UnknowingMailer()
    assert outbox(database, mailer, clock).drain() == DrainReport(sent=1)
    assert clock.at == NOON - timedelta(hours=1) + LEASE


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
    assert outbox(database, after, clock, gone=("them",)).drain() == DrainReport(sent=1)
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
    # Nobody is asked before the receiver has had the time to write down what it took.
    assert clock.at == NOON + LOG_IS_WRITTEN


@pytest.mark.parametrize("late", [True, False])
def test_what_is_in_doubt_is_sent_again_soon_or_held(
    database: Database, clock: StoppedClock, late: bool
) -> None:
    queue(database, empty_slate(add_reader(database)))
    leave_in_flight(database, MessageState.IN_DOUBT)
    clock.at = NOON + RESEND_WITHIN + (MINUTE if late else timedelta(0))
    report = outbox(database, UnknowingMailer(), clock, gone=("them",)).drain()
    assert report == (DrainReport(held=1) if late else DrainReport(sent=1))


@pytest.mark.parametrize("back", [timedelta(seconds=1), timedelta(hours=1), timedelta(days=400)])
def test_what_is_in_doubt_since_later_than_now_is_sent_again_if_that_was_a_small_step(
    database: Database, clock: StoppedClock, back: timedelta
) -> None:
    queue(database, empty_slate(add_reader(database)))
    leave_in_flight(database, MessageState.IN_DOUBT)
    clock.at = NOON - back
    report = outbox(database, UnknowingMailer(), clock, gone=("them",)).drain()
    assert report == (DrainReport(sent=1) if back <= RESEND_WITHIN else DrainReport(held=1))


def test_who_would_rather_hold_gets_no_second_copy(database: Database, clock: StoppedClock) -> None:
    queue(database, empty_slate(add_reader(database)))
    leave_in_flight(database, MessageState.IN_DOUBT)
    mailer = UnknowingMailer()
    sender = outbox(database, mailer, clock, gone=("them",), ambiguous="hold")
    assert sender.drain() == DrainReport(held=1)
    assert sender.drain() == DrainReport()
    assert mailer.sent == []


def test_who_would_rather_hold_has_it_sent_again_if_the_oracle_says_that_it_is_not_there(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))
    leave_in_flight(database, MessageState.IN_DOUBT)
    sender = outbox(database, FakeMailer(), clock, gone=("them",), ambiguous="hold")
    assert sender.drain() == DrainReport(sent=1)


def test_a_message_that_is_always_in_doubt_is_held_in_the_end(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))

    class Vague(UnknowingMailer):
        def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
            super().send(message, about_to_end)
            raise MailUncertain("no answer after the final dot")

    mailer = Vague()
    sender = outbox(database, mailer, clock)
    for _ in range(9):
        sender.drain()
        clock.at += MINUTE
    assert message(database)["state"] == "held"
    assert len(mailer.sent) == 1 + MOST_RESENDS


def test_a_message_that_kills_its_senders_is_given_up_and_the_others_go(
    database: Database, clock: StoppedClock
) -> None:
    reader = add_reader(database, 9)
    queue_digest(database, reader)
    for n in (1, 2, 3):
        queue(database, empty_slate(add_reader(database, n), n))
    poison = rows(database, "messages")[0]["message_id"]
    tried = []

    class Killer(FakeMailer):
        def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
            if message.message_id == poison:
                tried.append(message.message_id)
                raise SystemExit
            return super().send(message, about_to_end)

    mailer = Killer()
    for n in range(MOST_CRASHES):
        # SystemExit cleans up after itself; a process that was killed does not.
        sender = Outbox(
            SenderContext(database, mailer, clock, owner=f"{n}", is_gone=lambda _: True)
        )
        sender._courier._let_go = lambda *_: None  # type: ignore[method-assign,assignment]
        with pytest.raises(SystemExit):
            sender.drain()
    assert len(mailer.sent) == 3
    report = outbox(database, mailer, clock, gone=("0", "1", "2")).drain()
    assert report == DrainReport(failed=1)
    given_up = rows(database, "messages")[0]
    assert (given_up["state"], given_up["reason"]) == ("failed", "poison")
    assert len(tried) == MOST_CRASHES
    assert papers_seen(database, reader) == 0


def test_a_message_that_breaks_the_sender_each_time_is_given_up_and_the_others_go(
    database: Database, clock: StoppedClock
) -> None:
    for n in (1, 2, 3):
        queue(database, empty_slate(add_reader(database, n), n))
    poison = rows(database, "messages")[0]["message_id"]

    class Breaking(FakeMailer):
        def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
            if message.message_id == poison:
                raise UnicodeError("surrogates not allowed")
            return super().send(message, about_to_end)

    sender = outbox(database, Breaking(), clock)
    reports = [sender.drain() for _ in range(MOST_CRASHES)]
    assert [(each.sent, each.failed) for each in reports] == [(2, 0), (0, 0), (0, 1)]
    assert rows(database, "messages")[0]["attempts"] == MOST_CRASHES


def test_whoever_stops_the_program_costs_no_message_anything(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))

    class Stopping(FakeMailer):
        def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outbox(database, Stopping(), clock).drain()
    assert (message(database)["state"], message(database)["crashes"]) == ("rendered", 0)


@pytest.mark.parametrize("before_the_doubt", [True, False])
def test_a_sender_that_slept_past_its_lease_hands_nothing_over(
    database: Database, clock: StoppedClock, before_the_doubt: bool
) -> None:
    """The message is the other sender's now, and is counted once."""
    queue(database, empty_slate(add_reader(database)))
    other = UnknowingMailer()

    def sleep() -> None:
        clock.at += LEASE
        outbox(database, other, clock, owner="other").drain()

    class SlowMailer(FakeMailer):
        def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
            if before_the_doubt:
                sleep()
            return super().send(message, about_to_end)

    slow = SlowMailer()
    sender = outbox(database, slow, clock, owner="slow")
    if not before_the_doubt:
        commit = sender._courier._writes

        def commit_and_sleep(work: Any) -> Any:
            done = commit(work)
            if message(database)["state"] == "in_doubt":
                sleep()
            return done

        sender._courier._writes = commit_and_sleep  # type: ignore[assignment]
    assert sender.drain() == DrainReport()
    assert (len(slow.sent), len(other.sent)) == (0, 1)
    found = message(database)
    assert (found["state"], found["lease_owner"]) == ("sent", "other")
    assert found["resends"] == (0 if before_the_doubt else 1)


def test_a_sender_that_slept_past_its_lease_leaves_the_answer_to_who_has_settled_it(
    database: Database, clock: StoppedClock
) -> None:
    queue(database, empty_slate(add_reader(database)))
    other = UnknowingMailer()

    class SleepyMailer(FakeMailer):
        def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
            super().send(message, about_to_end)
            clock.at += LEASE
            outbox(database, other, clock, owner="other").drain()
            return "taken, and late"

    assert outbox(database, SleepyMailer(), clock, owner="slow").drain() == DrainReport()
    assert message(database)["last_reply"] == "taken"


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


@pytest.mark.parametrize(("stored", "mailed"), INTERNATIONAL)
def test_the_envelope_has_the_domain_in_a_labels_however_it_is_stored(
    database: Database, clock: StoppedClock, stored: str, mailed: str
) -> None:
    queue_digest(database, add_reader(database, email=stored))
    mailer = FakeMailer()
    assert outbox(database, mailer, clock).drain() == DrainReport(sent=1)
    assert [sent.recipient for sent in mailer.sent] == [mailed]
    assert audit(database).is_balanced


@pytest.mark.parametrize(("stored", "mailed"), INTERNATIONAL)
def test_a_suppression_is_of_both_forms_of_a_domain(stored: str, mailed: str) -> None:
    assert store.subscribers.email_key(stored) == store.subscribers.email_key(mailed)


def test_a_message_that_a_clock_ahead_has_put_off_goes_once_the_clock_is_right(
    database: Database, clock: StoppedClock
) -> None:
    mailer = FakeMailer(MailDeferred("451 later"))
    queue(database, empty_slate(add_reader(database)), MIME)
    clock.at += timedelta(hours=6)
    assert outbox(database, mailer, clock).drain().deferred == 1
    clock.at -= timedelta(hours=6)
    assert outbox(database, mailer, clock).drain().sent == 1
    assert len(mailer.sent) == 1
