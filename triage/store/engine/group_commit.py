"""Writes of several threads in one transaction: one commit to the disk serves them all."""

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
    """Commits what threads bring: whoever comes first takes along all who wait by then.

    A piece of work may be done again, alone, when the transaction that it was in failed, so it does
    nothing but read and write the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Job] = []

    def __call__(self, work: Callable[[Connection], T]) -> T:
        """Do a piece of work and return its result once it is committed."""
        committed: Future[T] = Future()
        with self._guard:
            self._waiting.append((work, committed))
        with self._turn:
            if not committed.done():
                with self._guard:
                    together, self._waiting = self._waiting, []
                self._commit(together)
        return committed.result()

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
            # Whoever interrupts this thread leaves the work of the others to them.
            with self._guard:
                self._waiting[:0] = jobs[1:]
            raise
        for (_, committed), result in zip(jobs, results, strict=True):
            committed.set_result(result)
