"""Pages that are the same for everybody, kept for seconds: not each reader needs a new one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta

from triage.ports import Clock


class Kept:
    """Bodies of pages by what they are about, made by one thread at a time.

    Args:
        fresh_for: how old a page may be.
        most: how many are kept; the one that was asked for longest ago goes first.
    """

    def __init__(self, clock: Clock, fresh_for: timedelta, most: int = 1) -> None:
        self._clock = clock
        self._fresh_for = fresh_for
        self._most = most
        self._turn = threading.Lock()
        self._pages: OrderedDict[Hashable, tuple[datetime, bytes]] = OrderedDict()

    def page(self, about: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return a page, made now unless a fresh one is there; what `make` raises is not kept."""
        with self._turn:
            now = self._clock.now()
            made_at, body = self._pages.get(about, (None, b""))
            # A clock that was set back makes nothing fresh for longer.
            if made_at is None or abs(now - made_at) >= self._fresh_for:
                body = make()
                self._pages[about] = (now, body)
            self._pages.move_to_end(about)
            while len(self._pages) > self._most:
                self._pages.popitem(last=False)
            return body
