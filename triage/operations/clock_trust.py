"""Lets no digest be made before the clock can be believed, but waits an hour at most.

A machine without a battery starts in 1970, or with the time of its last stop, until NTP sets it.
While the program runs, only a clock that is months ahead is not believed: it would delete what is
young. One that is set back deletes nothing, and what it finds of later times is set aside.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from triage import store
from triage.domain.protocols import Clock
from triage.store import Database, health

log = structlog.get_logger()

LONGEST_WAIT_S = 3600.0
MOST_BEHIND = timedelta(minutes=1)
MOST_AHEAD = timedelta(days=60)
# The row of jobs with the newest time that a wait was for: a later start does not wait again.
WAITED = "wait for the clock"


def is_synchronized() -> bool:
    """Return whether the kernel says that NTP keeps the clock; False if it cannot tell.

    The call only reads (adjtimex(2) with modes 0); 5 is TIME_ERROR, and -1 an error.
    """
    try:
        return 0 <= int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024))) < 5
    except (AttributeError, OSError):
        return False


@dataclass
class ClockTrust:
    """Returns why the clock cannot be believed; "" if it can be.

    Attributes:
        uptime: a clock in seconds that nobody sets.
        is_synchronized: whether the clock is known to be right.
    """

    database: Database
    clock: Clock
    uptime: Callable[[], float]
    is_synchronized: Callable[[], bool] = is_synchronized
    _since: float | None = None
    _has_started: bool = False
    _answered: datetime | None = None

    def __call__(self) -> str:
        """Return why digests must wait, with what to do; "" if they need not."""
        with self.database.read() as conn:
            newest = health.newest_time(conn)
            waited = store.jobs.last_done(conn, WAITED)
        why = self._doubt(newest, waited) if newest is not None else ""
        if newest is not None and why and not self.is_synchronized():
            if self._since is None:
                self._since = self.uptime()
            if self.uptime() - self._since < LONGEST_WAIT_S:
                return f"{why}: set the clock, for example by NTP; after an hour it is believed"
            log.warning("the clock is believed after an hour", why=why)
            self.database.execute(store.jobs.note_done, WAITED, newest, why)
        if why:
            self._answered = newest
        self._since, self._has_started = None, True
        return ""

    def _doubt(self, newest: datetime, waited: datetime | None) -> str:
        """Return why the clock may be wrong, by the newest time that is stored."""
        now = self.clock.now()
        shown = f"it is {now:%Y-%m-%d %H:%M} UTC by the clock"
        is_behind = newest - now > MOST_BEHIND and not self._has_started
        if is_behind and (waited is None or waited < newest):
            return f"{shown}, and {newest} is stored"
        # Once this was answered, nobody asks again before there are newer entries.
        if now - newest > MOST_AHEAD and newest not in {self._answered, waited}:
            return f"{shown}, and {newest} was the last work"
        return ""
