"""Two writers at once, in the worst order: the second begins when the first has all but committed.

What the first one has written is then invisible, unless the second waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, event, text

from triage.store import Database

First, Second = TypeVar("First"), TypeVar("Second")
# On SQLite nobody can see that a writer waits.
_SOON_S = 0.05
_LONGEST_S = 10.0


def race(
    database: Database, first: Callable[[], First], second: Callable[[], Second]
) -> tuple[First | Exception, Second | Exception]:
    """Return what both changes returned, or raised."""
    written, go = threading.Event(), threading.Event()

    def hold(conn: Connection) -> None:
        is_first = threading.current_thread().name.startswith("first")
        if conn.get_execution_options().get("triage_write") and is_first and not written.is_set():
            written.set()
            assert go.wait(_LONGEST_S)

    event.listen(database.engine, "commit", hold)
    try:
        with ThreadPoolExecutor(1, "first") as one, ThreadPoolExecutor(1, "second") as other:
            ahead = one.submit(first)
            while not (written.wait(_SOON_S) or ahead.done()):
                pass
            behind = other.submit(second)
            _let_run(database, behind)
            go.set()
            return _end(ahead), _end(behind)
    finally:
        go.set()
        event.remove(database.engine, "commit", hold)


def _let_run(database: Database, change: Future[Second]) -> None:
    """Return when a change is done, or waits for a lock."""
    deadline = time.monotonic() + (_SOON_S if database.is_file else _LONGEST_S)
    while not change.done() and time.monotonic() < deadline:
        if not database.is_file and database.fetch(_waits):
            return
        time.sleep(0.002)


def _waits(conn: Connection) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
    return bool(conn.scalar(text(query)))


def _end(future: Future[First]) -> First | Exception:
    try:
        return future.result()
    except Exception as error:
        return error
