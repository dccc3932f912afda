"""Writes of several threads in one transaction: one commit to the disk serves them all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection

from triage.store._database import Database

T = TypeVar("T")


class _Job(Generic[T]):
    def __init__(self, work: Callable[[Connection], T]) -> None:
        self.work = work
        self.done = False
        self.result: T | None = None
        self.error: Exception | None = None


class SharedWrites:
    """Commits what threads bring: whoever comes first takes along all who wait by then.

    A piece of work may be done again, alone, when the transaction that it was in failed, so it does
    nothing but read and write the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Job[Any]] = []

    def __call__(self, work: Callable[[Connection], T]) -> T:
        """Do a piece of work and return its result once it is committed."""
        job = _Job(work)
        with self._guard:
            self._waiting.append(job)
        with self._turn:
            if not job.done:
                with self._guard:
                    together, self._waiting = self._waiting, []
                self._commit(together)
        if job.error is not None:
            raise job.error
        return cast(T, job.result)

    def _commit(self, jobs: list[_Job[Any]]) -> None:
        try:
            with self._database.write() as conn:
                for job in jobs:
                    job.result = job.work(conn)
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._commit([job])
                return
            jobs[0].error = error
        except BaseException:
            # Whoever interrupts this thread leaves the work of the others to them.
            with self._guard:
                self._waiting[:0] = [job for job in jobs[1:] if not job.done]
            raise
        for job in jobs:
            job.done = True
