"""Carries what SQLite wrote ahead into the database, one connection of all processes at a time.

SQLite 3.7.0 to 3.51.2 can damage a database when two connections do that at once
(sqlite.org/wal.html, "The WAL-Reset Bug"); left alone, every connection does it on its own.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path

SOUND_SQLITE = (3, 51, 3)
# As much as SQLite itself lets gather: a thousand pages.
ENOUGH_BYTES = 4_096_000
AT_MOST_EVERY_S = 1.0
_SOME = "PRAGMA wal_checkpoint(PASSIVE)"
_ALL = "PRAGMA wal_checkpoint(TRUNCATE)"


class Checkpointer:
    """The one connection of this process that checkpoints, opened when it is first needed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._wal = f"{file}-wal"
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._last_s = float("-inf")

    def after_write(self) -> None:
        """Checkpoint if there is enough to carry over and nobody else does it now."""
        try:
            if os.stat(self._wal).st_size < ENOUGH_BYTES:  # noqa: PTH116 - after every write
                return
        except OSError:
            return
        if time.monotonic() - self._last_s < AT_MOST_EVERY_S or not self._turn.acquire(False):
            return
        try:
            # Whatever is wrong here shows where somebody waits for an answer: at the next write.
            with suppress(OSError, sqlite3.Error):
                self._checkpoint()
        finally:
            self._last_s = time.monotonic()
            self._turn.release()

    def empty(self) -> None:
        """Carry all over and leave nothing in the file of what was written ahead.

        Raises:
            BlockingIOError: another process checkpoints now.
            sqlite3.OperationalError: somebody reads a state that is older.
        """
        with self._turn:
            self._checkpoint(_ALL)

    def close(self) -> None:
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _checkpoint(self, how: str = _SOME) -> None:
        # The folder, for to close any handle of the file itself drops SQLite's locks on it (POSIX).
        folder = os.open(self._file.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._connection is None:
                self._connection = sqlite3.connect(
                    self._file, isolation_level=None, check_same_thread=False, timeout=0
                )
                # What was carried over is cut off, so that the size tells how much there is.
                self._connection.execute("PRAGMA journal_size_limit = 0")
            self._connection.execute("PRAGMA synchronous = FULL")
            found = self._connection.execute(how).fetchone()
            if how == _ALL and found[0]:
                raise sqlite3.OperationalError("the database is being read")
        finally:
            os.close(folder)
