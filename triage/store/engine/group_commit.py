"""Group commit: the writes of several threads in one transaction, with one write to the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Connection

from triage.store.engine.database import Database

T = TypeVar("T")
_Job = tuple[Callable[[Connection], Any], Future[Any]]


class SharedWrites:
    """Runs the work of waiting threads in one transaction of the first thread.

    If the transaction fails, each piece of work is repeated alone. So work must only read and
    write the database. PostgreSQL writes several commits to the disk at once by itself: there, each
    piece of work has its own transaction, so that it locks nothing for longer than it needs it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Job] = []

    def __call__(self, work: Callable[[Connection], T]) -> T:
        """Run `work` and return its result after the commit."""
        if not self._database.is_file:
            return self._database.execute(work)
        future: Future[T] = Future()
        with self._guard:
            self._waiting.append((work, future))
        with self._turn:
            if not future.done():
                with self._guard:
                    jobs, self._waiting = self._waiting, []
                self._commit(jobs)
        return future.result()

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            with self._database.write() as conn:
                results = [work(conn) for work, _ in jobs]
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._commit([job])
            else:
                jobs[0][1].set_exception(error)
            return
        except BaseException:
            # This thread was interrupted; the other threads do their work themselves.
            with self._guard:
                self._waiting[:0] = jobs[1:]
            raise
        for (_, future), result in zip(jobs, results, strict=True):
            future.set_result(result)
