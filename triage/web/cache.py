"""A cache for values that are expensive to make and the same for everybody."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from triage.domain.protocols import Clock

T = TypeVar("T")


class TimedCache(Generic[T]):
    """Caches values by key for a limited time.

    The first thread that finds a value too old makes it again. Other threads meanwhile get the old
    value and do not wait.

    Args:
        fresh_for: how old a value may be.
        most: the largest number of values; the least recently used value is removed first.
    """

    def __init__(self, clock: Clock, fresh_for: timedelta, most: int = 1) -> None:
        self._clock = clock
        self._fresh_for = fresh_for
        self._most = most
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, tuple[datetime, T]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the cached value, or call `make` and cache its result; errors are not cached."""
        now = self._clock.now()
        with self._lock:
            if (entry := self._entries.get(key)) is not None:
                made_at, value = entry
                self._entries.move_to_end(key)
                # abs(): a clock that was set back must not keep a value for longer.
                if abs(now - made_at) < self._fresh_for:
                    return value
                self._entries[key] = now, value
        try:
            value = make()
        except BaseException:
            with self._lock:
                self._entries.pop(key, None)
            raise
        with self._lock:
            self._entries[key] = now, value
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        return value
