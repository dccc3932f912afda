"""A lock for writers that threads get in the order of their arrival.

SQLite polls its lock, so one of many writers may wait for seconds while others get it. This queue
orders the threads of one process; the order of several processes stays random.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class WriteQueue:
    """A first-in, first-out lock. The first thread in the line holds it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._line: deque[threading.Event] = deque()

    @contextmanager
    def turn(self, patience_s: float) -> Iterator[bool]:
        """Hold the lock during the block; yield False if it was not free in time."""
        called = threading.Event()
        with self._guard:
            self._line.append(called)
            self._line[0].set()
        try:
            yield called.wait(patience_s)
        finally:
            # A thread that was called just after its timeout calls the next one, too.
            with self._guard:
                self._line.remove(called)
                if self._line:
                    self._line[0].set()
