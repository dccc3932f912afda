"""Mail goes at a polite pace, which outlives the sender and holds for all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import DAY, NOON
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import add_reader, empty_slate, queue_once, rows
from tests.support.mail_rig import fast_database, fill
from tests.support.senders import forking, sink, taken
from triage import store
from triage.delivery.hand_over import LATE_FOR, SEND_WINDOW
from triage.delivery.outbox import Outbox
from triage.delivery.rate_limits import RateLimits, SendQueue, domain_of, next_token_at, tokens_now
from triage.delivery.sender_context import SenderContext
from triage.digest.nightly import _share
from triage.domain.records import OutgoingMessage
from triage.store import Database

SECOND = timedelta(seconds=1)


class LoggingMailer(FakeMailer):
    """Notes when it is handed each message, and is gone after some."""

    def __init__(self, clock: StoppedClock, most: int) -> None:
        super().__init__()
        self._clock = clock
        self._most = most
        self.log: list[tuple[datetime, str]] = []

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        if len(self.log) == self._most:
            raise KeyboardInterrupt
        self.log.append((self._clock.now(), domain_of(message.recipient)))
        return super().send(message, about_to_end)


def drained(
    database: Database, clock: StoppedClock, pace: RateLimits, most: int = 10**9
) -> list[tuple[datetime, str]]:
    """Drain with a sender of its own; return what went when, and to which domain."""
    mailer = LoggingMailer(clock, most)
    outbox = Outbox(
        SenderContext(
            database,
            mailer,
            clock,
            owner=f"{clock.at}",
            is_gone=lambda _: True,
            pace=pace,
        )
    )
    with suppress(KeyboardInterrupt):
        outbox.drain()
    return mailer.log


def most_in_a_second(times: list[float]) -> int:
    return max(Counter(map(floor, times)).values(), default=0)


@pytest.mark.guarantee("R14")
def test_no_second_has_more_than_the_pace_allows_however_often_senders_start_again(
    guarantee: Guarantee,
) -> None:
    n, n_restarts = (10_000, 20) if guarantee.full else (300, 5)
    clock, pace = StoppedClock(NOON), RateLimits(20.0, 2.0)
    log: list[tuple[datetime, str]] = []
    with fast_database() as (database, _, _):
        fill(database, n, n_domains=40, at=clock.at)
        for _ in range(n_restarts):
            log += drained(database, clock, pace, n // (n_restarts + 1))
        log += drained(database, clock, pace)
        assert {each["state"] for each in rows(database, "messages")} == {"sent"}
    assert len(log) == n
    in_all = most_in_a_second([at.timestamp() for at, _ in log])
    to_one = max(
        most_in_a_second([at.timestamp() for at, domain in log if domain == each])
        for each in {domain for _, domain in log}
    )
    assert in_all <= 20 + 1
    assert to_one <= 2 + 1
    # Polite is not idle: 40 domains at 2/s would allow 80/s, so the whole sets the pace.
    took = (log[-1][0] - log[0][0]) / SECOND
    assert took <= n / 20 * 1.1 + n_restarts
    assert all(at - NOON < SEND_WINDOW for at, _ in log)
    guarantee.record(
        digests=n,
        restarts=n_restarts,
        most_a_second=in_all,
        most_a_second_to_one_domain=to_one,
        sent_outside_their_window=0,
    )


@pytest.mark.guarantee("R14")
def test_the_receivers_book_shows_the_pace(guarantee: Guarantee) -> None:
    n, n_restarts, pace = (2000, 20, (20.0, 2.0)) if guarantee.full else (60, 2, (40.0, 8.0))
    senders = forking()
    with fast_database() as (database, url, folder):
        fill(database, n, n_domains=40)
        ledger = folder / "ledger"
        with sink(ledger) as port:
            told = {"url": url, "port": port, "connections": 2, "pace": pace, "mode": "oracle"}
            told |= {"ledger": str(ledger)}
            for k in range(n_restarts):
                kill_at = f"settled:{max(n // (n_restarts + 1), 2) - k % 3}"
                assert senders.run("tests.support.senders.drain", kill_at=kill_at, **told) == -9
            assert senders.run("tests.support.senders.drain", **told) == 0
        book = taken(ledger)
    assert len(book) == n
    in_all = most_in_a_second([row["at"] for row in book])
    by_domain = {domain_of(row["rcpt"]) for row in book}
    to_one = max(
        most_in_a_second([row["at"] for row in book if domain_of(row["rcpt"]) == each])
        for each in by_domain
    )
    guarantee.record(
        real_digests=n, real_restarts=n_restarts, real_most_a_second=in_all,
        real_most_a_second_to_one_domain=to_one,
    )  # fmt: skip
    if guarantee.full:
        assert in_all <= pace[0] + 1
        assert to_one <= pace[1] + 1


def test_a_message_whose_turn_comes_too_late_is_given_up() -> None:
    clock = StoppedClock(NOON)
    with fast_database() as (database, _, _):
        fill(database, 4, at=clock.at)
        # One in six hours: the third would go when its time is over.
        log = drained(database, clock, RateLimits(1 / 21_600, 0))
        clock.at += LATE_FOR
        log += drained(database, clock, RateLimits(1 / 21_600, 0))
        states = Counter(each["state"] for each in rows(database, "messages"))
    assert all(at - NOON < SEND_WINDOW for at, _ in log)
    assert states["sent"] == len(log) == 2
    assert states["failed"] == 2


def test_a_new_address_begins_slowly_and_doubles_each_day() -> None:
    clock, sent_by_day = StoppedClock(NOON), []
    pace = RateLimits(ramp_up_per_hour=30.0)
    with fast_database() as (database, _, _):
        for day in range(3):
            fill(database, 60, at=clock.at, first=day * 60, on=DAY + day * timedelta(days=1))
            # Whoever is told to come back later comes back each minute, as the scheduler does.
            log = []
            for _ in range(20):
                log += drained(database, clock, pace)
                clock.at += timedelta(minutes=1)
            sent_by_day.append(len(log))
            clock.at = NOON + (day + 1) * timedelta(days=1)
        states = Counter(each["state"] for each in rows(database, "messages"))
    # Thirty an hour are ten in twenty minutes, and at the beginning a few together.
    assert sent_by_day == [10, 20 + 1, 40 + 2]
    assert states["failed"] > 0, "what has not gone in its window does not go"


def test_a_ramp_up_holds_nothing_back_that_was_asked_for_just_now() -> None:
    rates = RateLimits(ramp_up_per_hour=30.0).rates("example.org", None)
    assert rates == {}
    assert RateLimits(ramp_up_per_hour=30.0).rates("example.org", 30) == {}


def test_only_so_many_are_on_their_way_to_one_domain() -> None:
    clock = StoppedClock(NOON)
    with fast_database() as (database, _, _):
        fill(database, 8, n_domains=2, at=clock.at)
        with database.read() as conn:
            line = SendQueue(store.messages.waiting(conn, clock.at), clock, at_once=2)
    taken = [line.take() for _ in range(4)]
    domains = [domain_of(message.recipient) for message in taken if message]
    assert sorted(Counter(domains).values()) == [2, 2]
    assert line._next()[0] is None
    assert taken[0] is not None
    line.done(taken[0])
    clock.sleep(1)
    following = line.take()
    assert following is not None
    assert domain_of(following.recipient) == domains[0]


def test_a_slow_domain_lets_others_pass() -> None:
    clock = StoppedClock(NOON)
    with fast_database() as (database, _, _):
        fill(database, 9, n_domains=3, at=clock.at)
        log = drained(database, clock, RateLimits(0, 1.0))
    assert [domain for _, domain in log[:3]] == [f"d{k}.example.org" for k in (1, 2, 0)]
    assert (log[-1][0] - log[0][0]) / SECOND == pytest.approx(2, abs=0.1)


def test_nothing_waits_where_no_pace_is_set() -> None:
    clock = StoppedClock(NOON)
    with fast_database() as (database, _, _):
        fill(database, 20, n_domains=2, at=clock.at)
        log = drained(database, clock, RateLimits())
    assert len(log) == 20
    assert clock.at == NOON


@given(
    st.floats(0, 50),
    st.floats(0.01, 1000),
    st.timedeltas(timedelta(days=-2), timedelta(days=2)),
)
def test_a_bucket_never_holds_more_than_a_moments_worth(
    held: float, rate: float, passed: timedelta
) -> None:
    now = NOON + passed
    tokens = tokens_now((held, NOON), rate, now)
    assert 0 <= tokens <= max(1.0, rate * 0.05)
    # When it will hold one, it does, unless the clock is set in between.
    if tokens < 1:
        at = next_token_at(tokens, rate, now) + timedelta(microseconds=1)
        assert tokens_now((tokens, now), rate, at) >= 1.0 - 1e-3


def test_a_clock_set_back_stops_nobody() -> None:
    clock = StoppedClock(NOON)
    with fast_database() as (database, _, _):
        fill(database, 6, at=clock.at)
        first = drained(database, clock, RateLimits(2.0, 0), 3)
        clock.at -= timedelta(hours=1)
        second = drained(database, clock, RateLimits(2.0, 0))
    assert (len(first), len(second)) == (3, 3)
    assert clock.at < NOON - timedelta(minutes=59)


def test_whoever_sends_everybody_home_is_obeyed_at_once() -> None:
    line = SendQueue([], StoppedClock())
    assert line.take() is None
    line.stop()
    assert line.take() is None


def test_a_digest_with_a_moment_of_its_own_waits_for_it() -> None:
    clock, later = StoppedClock(NOON), NOON + timedelta(minutes=10)
    with fast_database() as (database, _, _):
        made = empty_slate(add_reader(database))
        message = OutgoingMessage("<d.1@example.org>", made.subscriber.email, b"From: a@b.c\r\n")
        with database.write() as conn:
            run_id = store.jobs.begin_run(conn, DAY, NOON)
            assert queue_once(conn, made, message, run_id, NOON, not_before=later)
        assert drained(database, clock, RateLimits()) == []
        clock.at = later
        assert len(drained(database, clock, RateLimits())) == 1


def test_the_moments_are_spread_evenly() -> None:
    shares = [_share(sha256(bytes([n // 256, n % 256])).hexdigest()) for n in range(2000)]
    tenths = Counter(floor(share * 10) for share in shares)
    assert sorted(tenths) == list(range(10))
    assert min(tenths.values()) > 150
