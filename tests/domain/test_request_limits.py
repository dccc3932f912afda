"""Turns at a gate: one at a time, spaced, bounded; the same in memory and in the database."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import databases
from tests.support.factories import NOON
from tests.support.fakes import StoppedClock
from triage.domain import request_limits
from triage.domain.protocols import MustWait, Outcome, RequestLimiter, WaitReason
from triage.domain.request_limits import (
    LONGEST_HOLD,
    LONGEST_TURN,
    MOST_FAILURES,
    LimiterState,
    Rules,
)
from triage.sources.http import client
from triage.sources.http.local_limiter import LocalRequestLimiter
from triage.store.shared_limiter import SharedRequestLimiter

ARXIV = Rules(3.0)


def nobody_is_gone(owner: str) -> bool:
    return False


class TurnsContract:
    """`Turns`: override `turns`."""

    def turns(self, clock: StoppedClock, rules: Rules) -> RequestLimiter:
        raise NotImplementedError

    def test_the_first_one_has_the_turn_at_once(self) -> None:
        assert self.turns(StoppedClock(), ARXIV).acquire() is None

    def test_the_interval_counts_from_the_end_of_a_request(self) -> None:
        clock = StoppedClock()
        gate = self.turns(clock, ARXIV)
        gate.acquire()
        clock.sleep(10)
        ended = clock.now()
        assert gate.release(Outcome.ANSWERED) == gate.acquire()
        assert gate.acquire() == MustWait(WaitReason.SPACED, ended + timedelta(seconds=3))
        clock.sleep(2.999)
        assert gate.acquire() is not None
        clock.sleep(0.001)
        assert gate.acquire() is None

    def test_what_the_server_asked_for_is_obeyed_by_everyone_after_it(self) -> None:
        clock = StoppedClock()
        gate = self.turns(clock, ARXIV)
        gate.acquire()
        assert gate.release(Outcome.FAILED, 600.0).until == NOON + timedelta(minutes=10)
        clock.sleep(599)
        assert gate.acquire() is not None
        clock.sleep(1)
        assert gate.acquire() is None

    def test_a_server_cannot_lock_itself_away_for_ever(self) -> None:
        gate = self.turns(StoppedClock(), ARXIV)
        gate.acquire()
        assert gate.release(Outcome.FAILED, 999_999_999.0).until == NOON + LONGEST_HOLD

    def test_waits_grow_with_the_failures_in_a_row_to_one_try_an_hour(self) -> None:
        clock = StoppedClock()
        gate = self.turns(clock, ARXIV)
        waits, reasons = [], []
        for _ in range(MOST_FAILURES + 2):
            assert gate.acquire() is None
            closed = gate.release(Outcome.FAILED)
            waits.append((closed.until - clock.now()).total_seconds())
            reasons.append(closed.why)
            clock.at = closed.until
        assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
        assert reasons == [WaitReason.SPACED] * 7 + [WaitReason.FAILING] * 3

        gate.acquire()
        assert gate.release(Outcome.ANSWERED).until == clock.now() + timedelta(seconds=3)
        clock.sleep(3)
        gate.acquire()
        assert gate.release(Outcome.FAILED).until == clock.now() + timedelta(seconds=30)

    def test_a_gate_that_failed_too_often_stays_closed_whatever_the_server_asks_for(self) -> None:
        clock = StoppedClock()
        gate = self.turns(clock, ARXIV)
        for _ in range(MOST_FAILURES):
            gate.acquire()
            clock.at = (closed := gate.release(Outcome.FAILED, 5.0)).until
        assert (closed.why, closed.count) == (WaitReason.FAILING, MOST_FAILURES)
        assert (closed.until - NOON).total_seconds() == 7 * 5 + 3600

    def test_a_refusal_says_nothing_of_the_servers_health(self) -> None:
        clock = StoppedClock()
        gate = self.turns(clock, ARXIV)
        for outcome in (Outcome.FAILED, Outcome.REFUSED, Outcome.FAILED):
            gate.acquire()
            began, clock.at = clock.now(), gate.release(outcome).until
        assert clock.now() - began == timedelta(seconds=60)

    def test_a_day_has_its_budget_and_the_next_day_another(self) -> None:
        clock = StoppedClock(datetime(2026, 3, 2, 23, 50, tzinfo=UTC))
        gate = self.turns(clock, Rules(3.0, daily_requests=2))
        for _ in range(2):
            assert gate.acquire() is None
            clock.at = gate.release(Outcome.ANSWERED).until
        midnight = datetime(2026, 3, 3, tzinfo=UTC)
        assert gate.acquire() == MustWait(WaitReason.SPENT, midnight, 2)
        clock.at = midnight
        assert gate.acquire() is None

    def test_who_was_cut_short_waits_like_everyone_else(self) -> None:
        clock = StoppedClock()
        gate = self.turns(clock, ARXIV)
        gate.acquire()
        assert gate.acquire() == MustWait(WaitReason.SPACED, NOON + timedelta(seconds=6))
        clock.sleep(6)
        assert gate.acquire() is None


class TestOwnTurns(TurnsContract):
    def turns(self, clock: StoppedClock, rules: Rules) -> RequestLimiter:
        return LocalRequestLimiter(clock, rules)


class TestTurnstile(TurnsContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.database = databases.new_database(tmp_path)

    def turns(self, clock: StoppedClock, rules: Rules) -> RequestLimiter:
        return SharedRequestLimiter(
            self.database, clock, "arxiv", rules, owner="here/1/a", is_gone=nobody_is_gone
        )


def test_a_turn_outlasts_every_request() -> None:
    assert LONGEST_TURN.total_seconds() >= 2 * client.REQUEST_S


def test_a_gate_closed_by_a_clock_that_was_wrong_opens_again() -> None:
    year = timedelta(days=365)
    standing = LimiterState("there/1/a", NOON + year, NOON + year, (NOON + year).date(), 500)
    standing, closed = request_limits.acquire(standing, ARXIV, "here/1/a", NOON, nobody_is_gone)
    assert closed is not None
    _, closed = request_limits.acquire(standing, ARXIV, "here/1/a", closed.until, nobody_is_gone)
    assert closed is None


def test_a_server_of_ones_own_is_not_left_alone_for_an_hour() -> None:
    for interval_s, most_s in ((0.0, 30.0), (0.01, 40.0)):
        _, closed = request_limits.release(
            LimiterState("a", failures=MOST_FAILURES - 1),
            Rules(interval_s),
            "a",
            NOON,
            Outcome.FAILED,
        )
        assert timedelta() < closed.until - NOON <= timedelta(seconds=most_s)


steps = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["take", "end", "die"]),
        st.sampled_from(Outcome),
        st.one_of(st.none(), st.integers(0, 100)),
        st.integers(0, 20),
    ),
    max_size=60,
)


@given(steps)
def test_whatever_happens_requests_never_meet_and_keep_their_distance(
    happened: list[tuple[str, str, Outcome, int | None, int]],
) -> None:
    rules, standing, now = Rules(3.0, daily_requests=20), LimiterState(), NOON
    asking: dict[str, datetime] = {}
    ended: list[datetime] = []
    n_asked, not_before = 0, NOON
    lives = itertools.count()
    names = {role: f"{role}{next(lives)}" for role in "abc"}

    def is_gone(asked: dict[str, str]) -> Callable[[str], bool]:
        return lambda owner: owner not in asked.values()

    for role, what, outcome, asked_s, passes_s in happened:
        name = names[role]
        if what == "die":
            if asking.pop(name, None):
                ended.append(now)
            names[role] = f"{role}{next(lives)}"
        elif what == "take" and name not in asking:
            standing, closed = request_limits.acquire(standing, rules, name, now, is_gone(names))
            if closed is None:
                assert not asking
                assert all(now - end >= rules.interval for end in ended)
                assert now >= not_before
                asking[name] = now
                n_asked += 1
            else:
                assert closed.until > now
        elif what == "end" and name in asking:
            standing, closed = request_limits.release(standing, rules, name, now, outcome, asked_s)
            if outcome is Outcome.FAILED and asked_s is not None:
                not_before = max(not_before, now + timedelta(seconds=asked_s))
            assert closed.until >= not_before
            del asking[name]
            ended.append(now)
        now += timedelta(seconds=passes_s)
    assert n_asked <= rules.daily_requests


@pytest.mark.parametrize("back", [timedelta(minutes=1), timedelta(hours=3), timedelta(days=400)])
@pytest.mark.parametrize("asked_s", [None, 1800.0])
def test_a_clock_that_is_set_back_makes_no_wait_longer_or_shorter(
    back: timedelta, asked_s: float | None
) -> None:
    state, _ = request_limits.acquire(
        request_limits.LimiterState(), ARXIV, "here/1/a", NOON, nobody_is_gone
    )
    outcome = Outcome.ANSWERED if asked_s is None else Outcome.FAILED
    state, told = request_limits.release(state, ARXIV, "here/1/a", NOON, outcome, asked_s)
    waits, now = told.until - NOON, NOON - back
    state, closed = request_limits.acquire(state, ARXIV, "here/1/b", now, nobody_is_gone)
    assert closed is not None
    assert closed.until == now + waits
    _, closed = request_limits.acquire(state, ARXIV, "here/1/b", closed.until, nobody_is_gone)
    assert closed is None


@pytest.mark.parametrize("back", [timedelta(minutes=10), timedelta(hours=3), timedelta(days=400)])
def test_a_reservation_of_a_clock_that_was_ahead_is_over(back: timedelta) -> None:
    state, _ = request_limits.acquire(
        request_limits.LimiterState(), ARXIV, "here/1/a", NOON, nobody_is_gone
    )
    now = NOON - back
    state, closed = request_limits.acquire(state, ARXIV, "there/1/b", now, nobody_is_gone)
    assert closed is not None
    assert closed.until == now + 2 * ARXIV.interval
