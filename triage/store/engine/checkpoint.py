"""Checkpoints SQLite's write-ahead log (WAL), with one connection of all processes at a time.

SQLite 3.7.0 to 3.51.2 can damage a database when two connections checkpoint at once
(sqlite.org/wal.html, "The WAL-Reset Bug"). By default, every connection checkpoints.
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
# SQLite's default: a thousand pages.
ENOUGH_BYTES = 4_096_000
AT_MOST_EVERY_S = 1.0
_SOME = "PRAGMA wal_checkpoint(PASSIVE)"
_ALL = "PRAGMA wal_checkpoint(TRUNCATE)"


class Checkpointer:
    """The only connection of this process that checkpoints, opened at the first checkpoint."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._wal = f"{file}-wal"
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._last_s = float("-inf")

    def after_write(self) -> None:
        """Checkpoint if the log is large enough and nobody else checkpoints now."""
        try:
            if os.stat(self._wal).st_size < ENOUGH_BYTES:  # noqa: PTH116 - after every write
                return
        except OSError:
            return
        if time.monotonic() - self._last_s < AT_MOST_EVERY_S or not self._turn.acquire(False):
            return
        try:
            # The next write reports the same problem.
            with suppress(OSError, sqlite3.Error):
                self._checkpoint()
        finally:
            self._last_s = time.monotonic()
            self._turn.release()

    def empty(self) -> None:
        """Checkpoint all and truncate the log.

        Raises:
            BlockingIOError: another process checkpoints now.
            sqlite3.OperationalError: a connection reads an older state.
        """
        with self._turn:
            self._checkpoint(_ALL)

    def close(self) -> None:
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _checkpoint(self, how: str = _SOME) -> None:
        # Lock the folder: closing a handle of the file would drop SQLite's locks on it (POSIX).
        folder = os.open(self.file.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._connection is None:
                self._connection = sqlite3.connect(
                    self.file, isolation_level=None, check_same_thread=False, timeout=0
                )
                # The log is truncated, so that its size is the size of what is left.
                self._connection.execute("PRAGMA journal_size_limit = 0")
            self._connection.execute("PRAGMA synchronous = FULL")
            found = self._connection.execute(how).fetchone()
            if how == _ALL and found[0]:
                raise sqlite3.OperationalError("the database is being read")
        finally:
            os.close(folder)
