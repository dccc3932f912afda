"""Decides when the next request to a server may start. Pure functions; the caller keeps the state.

Whoever keeps a `LimiterState` (one process in memory, all processes in the database) changes it
only through `acquire` and `release`, one call at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from triage.domain.protocols import MustWait, Outcome, WaitReason

LONGEST_TURN: Final = timedelta(minutes=2)
"""The longest time of one request. After it, another owner may start one."""
LONGEST_BACK_OFF: Final = timedelta(hours=1)
MOST_FAILURES: Final = 8
"""After so many failures in a row there is one try per hour."""
LONGEST_HOLD: Final = timedelta(days=1)
"""The longest wait that is accepted, for example from a wrong Retry-After."""
MOST_SKEW: Final = timedelta(seconds=10)
"""The clocks of machines that share a limit agree so well."""
_SHORTEST_S: Final = 0.02  # the back-off must grow from more than zero, also for a local server


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of one server.

    Attributes:
        interval_s: minimum time between the end of one request and the start of the next.
        daily_requests: maximum number of requests per UTC day.
    """

    interval_s: float
    daily_requests: int = 500

    @property
    def interval(self) -> timedelta:
        return timedelta(seconds=self.interval_s)


@dataclass(frozen=True, slots=True)
class LimiterState:
    """The state of the rate limit of one server.

    Attributes:
        owner: who runs a request now; "" if nobody does.
        until: when the owner's reservation ends; without an owner, when the last one ended.
        not_before: when the next request may start.
        on: the UTC day that `n_asked` belongs to.
        n_asked: requests on that day.
        failures: number of failures in a row.
    """

    owner: str = ""
    until: datetime | None = None
    not_before: datetime | None = None
    on: date | None = None
    n_asked: int = 0
    failures: int = 0


def acquire(
    state: LimiterState, rules: Rules, owner: str, now: datetime, is_gone: Callable[[str], bool]
) -> tuple[LimiterState, MustWait | None]:
    """Reserve a request for `owner`; return the new state, and why it must wait, if it must.

    Args:
        owner: who wants to start a request; an earlier reservation of it counts as aborted.
        is_gone: whether the process of an owner has ended.
    """
    if state.on != now.date():
        state = replace(state, on=now.date(), n_asked=0)
    if not state.owner and state.not_before and state.until and state.until > now + MOST_SKEW:
        # The clock was set back since the last request: what is left of the wait stays.
        waits = min(state.not_before - state.until, LONGEST_HOLD)
        state = replace(state, not_before=now + waits, until=now)
    if state.not_before is not None and state.not_before > now + LONGEST_HOLD:
        # The clock was set back: `release` never writes a later time than LONGEST_HOLD.
        state = replace(state, not_before=now + rules.interval)
    if state.owner:
        # A reservation that ends later than any new one was written with a wrong clock.
        runs = state.until is not None and now < state.until <= now + 2 * LONGEST_TURN
        if state.owner != owner and runs and not is_gone(state.owner):
            poll_s = min(max(rules.interval_s / 10, 0.01), 1.0)
            return state, MustWait(WaitReason.BUSY, now + timedelta(seconds=poll_s))
        # Twice the interval: the server may notice later than we do that a process died.
        free_at = _later(state.not_before, now + 2 * rules.interval)
        state = replace(state, owner="", until=now, not_before=free_at)
    if state.n_asked >= rules.daily_requests:
        midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
        return state, MustWait(WaitReason.SPENT, midnight, state.n_asked)
    if state.not_before is not None and state.not_before > now:
        return state, _not_yet(state, state.not_before)
    until, n_asked = now + LONGEST_TURN, state.n_asked + 1
    return replace(state, owner=owner, until=until, not_before=None, n_asked=n_asked), None


def release(
    state: LimiterState,
    rules: Rules,
    owner: str,
    now: datetime,
    outcome: Outcome,
    asked_s: float | None = None,
    stretch: float = 1.0,
) -> tuple[LimiterState, MustWait]:
    """End the request of `owner`; `asked_s` and `stretch` are as in `RequestLimiter.release`.

    The outcome counts even if the reservation has passed to another owner, who keeps it.
    """
    wait, failures = rules.interval, state.failures
    if outcome is Outcome.ANSWERED:
        failures = 0
    elif outcome is Outcome.FAILED:
        failures += 1
        back_off_s = 10 * max(rules.interval_s, _SHORTEST_S) * 2 ** min(failures - 1, 20)
        due = min(timedelta(seconds=back_off_s) * stretch, LONGEST_BACK_OFF)
        if asked_s is not None:
            due = timedelta(seconds=asked_s)
        if failures >= MOST_FAILURES:
            # An interval under one second is that of an own server, which is asked more often.
            due = max(due, LONGEST_BACK_OFF * min(rules.interval_s, 1.0))
        wait = min(max(wait, due), LONGEST_HOLD)
    not_before = _later(state.not_before, now + wait)
    state = replace(state, not_before=not_before, failures=failures)
    if state.owner == owner:
        state = replace(state, owner="", until=now)
    return state, _not_yet(state, not_before)


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _not_yet(state: LimiterState, until: datetime) -> MustWait:
    why = WaitReason.FAILING if state.failures >= MOST_FAILURES else WaitReason.SPACED
    return MustWait(why, until, state.failures)
