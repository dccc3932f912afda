"""Lets threads write in the order in which they came.

SQLite asks again and again whether the database is free, so of many writers one may wait for
seconds while the others take turns. Between processes chance decides; the threads of one process
stand in line.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class InTurn:
    """One thread at a time, the one that has waited longest first."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._is_taken = False
        self._line: deque[threading.Event] = deque()

    @contextmanager
    def turn(self, patience_s: float) -> Iterator[bool]:
        """Wait for one's turn and hold it until the block ends; yield whether it came in time."""
        came = self._enter(patience_s)
        try:
            yield came
        finally:
            if came:
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
        # Whoever is called at the last moment has the turn.
        return not waits

    def _leave(self) -> None:
        with self._guard:
            if self._line:
                self._line.popleft().set()
            else:
                self._is_taken = False
