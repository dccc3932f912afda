"""Whose turn it is to ask a server: decides from what is known of a gate, and changes nothing else.

    free → taken → free, not before …

Whoever keeps a `Standing` (one process in memory, all processes in the database) lets `take` and
`end` change it, one call at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from triage.domain.protocols import Closed, MustWait, Outcome

LONGEST_TURN: Final = timedelta(minutes=2)
"""What a request with everything around it cannot outlast: after it the turn is another's."""
LONGEST_BACK_OFF: Final = timedelta(hours=1)
MOST_FAILURES: Final = 8
"""After so many in a row there is one try an hour."""
LONGEST_HOLD: Final = timedelta(days=1)
"""No server can lock itself away for longer, by a mistake in its Retry-After, say."""
_SHORTEST_S: Final = 0.02  # even a server of one's own gets a moment to recover


@dataclass(frozen=True, slots=True)
class Rules:
    """How one server wants to be asked.

    Attributes:
        interval_s: at least so long is between the end of one request and the start of the next.
        daily_requests: so many are made at most on one UTC day.
    """

    interval_s: float
    daily_requests: int = 500

    @property
    def interval(self) -> timedelta:
        return timedelta(seconds=self.interval_s)


@dataclass(frozen=True, slots=True)
class LimiterState:
    """How a gate stands.

    Attributes:
        owner: who has the turn; empty while nobody has.
        until: when the owner loses it.
        not_before: when the next request may start.
        on: the UTC day that `n_asked` counts the requests of.
        failures: how many in a row did not answer.
    """

    owner: str = ""
    until: datetime | None = None
    not_before: datetime | None = None
    on: date | None = None
    n_asked: int = 0
    failures: int = 0


def acquire(
    standing: LimiterState, rules: Rules, owner: str, now: datetime, is_gone: Callable[[str], bool]
) -> tuple[LimiterState, MustWait | None]:
    """Give `owner` the turn, or say why not; both change how the gate stands.

    Args:
        owner: who asks; its own earlier turn, if it still has one, was cut short.
        is_gone: whether an owner is known to have ended in the middle of its turn.
    """
    if standing.on != now.date():
        standing = replace(standing, on=now.date(), n_asked=0)
    if standing.not_before is not None and standing.not_before > now + LONGEST_HOLD:
        # A clock was set back: nothing that we write lies so far ahead.
        standing = replace(standing, not_before=now + rules.interval)
    if standing.owner:
        if standing.owner != owner and _runs(standing.until, now) and not is_gone(standing.owner):
            return standing, MustWait(Closed.BUSY, now + _poll(rules))
        # Twice the distance: a server may notice a little later than we that a process died.
        free_at = _later(standing.not_before, now + 2 * rules.interval)
        standing = replace(standing, owner="", until=None, not_before=free_at)
    if standing.n_asked >= rules.daily_requests:
        midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
        return standing, MustWait(Closed.SPENT, midnight, standing.n_asked)
    if standing.not_before is not None and standing.not_before > now:
        return standing, _not_yet(standing, standing.not_before)
    return replace(
        standing, owner=owner, until=now + LONGEST_TURN, n_asked=standing.n_asked + 1
    ), None


def release(
    standing: LimiterState,
    rules: Rules,
    owner: str,
    now: datetime,
    outcome: Outcome,
    asked_s: float | None = None,
    stretch: float = 1.0,
) -> tuple[LimiterState, MustWait]:
    """Take the turn back from `owner`; the other arguments are those of `Turns.end`.

    What it learned counts even where it had lost its turn to another one, who keeps it.
    """
    wait, failures = rules.interval, standing.failures
    if outcome is Outcome.ANSWERED:
        failures = 0
    elif outcome is Outcome.FAILED:
        failures += 1
        due = _back_off(failures, rules.interval_s) * stretch
        due = min(due, LONGEST_BACK_OFF) if asked_s is None else timedelta(seconds=asked_s)
        if failures >= MOST_FAILURES:
            # Only a server of one's own is asked more often than every second.
            due = max(due, LONGEST_BACK_OFF * min(rules.interval_s, 1.0))
        wait = min(max(wait, due), LONGEST_HOLD)
    not_before = _later(standing.not_before, now + wait)
    standing = replace(standing, not_before=not_before, failures=failures)
    if standing.owner == owner:
        standing = replace(standing, owner="", until=None)
    return standing, _not_yet(standing, not_before)


def _back_off(failures: int, interval_s: float) -> timedelta:
    return timedelta(seconds=10 * max(interval_s, _SHORTEST_S) * 2 ** min(failures - 1, 20))


def _runs(until: datetime | None, now: datetime) -> bool:
    # One that ends days ahead was written by a clock that was wrong.
    return until is not None and now < until < now + LONGEST_HOLD


def _poll(rules: Rules) -> timedelta:
    return timedelta(seconds=min(max(rules.interval_s / 10, 0.01), 1.0))


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _not_yet(standing: LimiterState, until: datetime) -> MustWait:
    why = Closed.FAILING if standing.failures >= MOST_FAILURES else Closed.SPACED
    return MustWait(why, until, standing.failures)
