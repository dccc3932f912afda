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
    """A first-in, first-out lock."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._is_taken = False
        self._line: deque[threading.Event] = deque()

    @contextmanager
    def turn(self, patience_s: float) -> Iterator[bool]:
        """Hold the lock during the block; yield False if it was not free in time."""
        is_mine = self._enter(patience_s)
        try:
            yield is_mine
        finally:
            if is_mine:
                self._leave()

    def _enter(self, patience_s: float) -> bool:
        called = threading.Event()
        with self._guard:
            if not self._is_taken:
                self._is_taken = True
                return True
            self._line.append(called)
        try:
            called.wait(patience_s)
        finally:
            with self._guard:
                waits = called in self._line
                if waits:
                    self._line.remove(called)
        # A thread that was called just after its timeout has the lock, too.
        return not waits

    def _leave(self) -> None:
        with self._guard:
            if self._line:
                self._line.popleft().set()
            else:
                self._is_taken = False
