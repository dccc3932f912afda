"""What is the same for everybody and costs something is kept for a while, not made for each."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from triage.domain.protocols import Clock

T = TypeVar("T")


class TimedCache(Generic[T]):
    """Keeps what was made, by what it is about.

    Whoever finds it too old makes it anew; whoever comes meanwhile gets the old one and need not
    wait.

    Args:
        fresh_for: how old it may be.
        most: how many are kept; the one that was asked for longest ago goes first.
    """

    def __init__(self, clock: Clock, fresh_for: timedelta, most: int = 1) -> None:
        self._clock = clock
        self._fresh_for = fresh_for
        self._most = most
        self._guard = threading.Lock()
        self._made: OrderedDict[Hashable, tuple[datetime, T]] = OrderedDict()

    def get(self, about: Hashable, make: Callable[[], T]) -> T:
        """Return it, made now unless a fresh one is there; what `make` raises is not kept."""
        now = self._clock.now()
        with self._guard:
            found = self._made.get(about)
            if found is not None:
                self._made.move_to_end(about)
                # A clock that was set back makes nothing fresh for longer.
                if abs(now - found[0]) < self._fresh_for:
                    return found[1]
                self._made[about] = (now, found[1])
        try:
            made = make()
        except BaseException:
            with self._guard:
                self._made.pop(about, None)
            raise
        with self._guard:
            self._made[about] = (now, made)
            while len(self._made) > self._most:
                self._made.popitem(last=False)
        return made
