"""Calls the jobs at their intervals, in threads. The only user of APScheduler.

APScheduler plans by the wall clock: after this clock is set back by a day, it would wait a day. So
the clock is read every few seconds, by a wait that no clock setting changes. If it shows another
time than expected, all jobs run at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

if TYPE_CHECKING:
    from triage.domain.protocols import Clock
    from triage.operations.jobs import Schedule

log = structlog.get_logger()

EVERY_S = 60
ANSWER_EVERY_S = 10
LOOK_EVERY_S = 5.0
# A busy machine may wake us later than asked.
SMALLEST_STEP = timedelta(seconds=2)


class _Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Runs a job in intervals, counted from now.

    The `IntervalTrigger` counts through each interval that was missed: after a clock was set
    forward by years, these are millions.
    """

    def __init__(self, seconds: float) -> None:
        self.interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:  # noqa: ARG002
        return now + self.interval


class Scheduler:
    """Runs a schedule and the account mails; it stores nothing, because the database has it all.

    Args:
        answer: sends account mail; it needs no lease, so every process may do it.
    """

    def __init__(self, schedule: Schedule, answer: Callable[[], None], clock: Clock) -> None:
        self._schedule = schedule
        self._clock = clock
        self._looked_at = clock.now()
        self._threads = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(3)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        for job, every_s in (
            (schedule.tick, EVERY_S),
            (schedule.do_jobs, EVERY_S),
            (answer, ANSWER_EVERY_S),
        ):
            self._threads.add_job(
                self._run, _Every(every_s), [job], next_run_time=clock.now(), name=job.__name__
            )
        self._n_steps = 0
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="clock watcher", daemon=True)

    def start(self) -> None:
        """Do all jobs at once and then in their intervals, without blocking the caller."""
        self._threads.start()
        self._watcher.start()

    def stop(self) -> None:
        """Wait until the running jobs have finished, and release the leases."""
        self._stopped.set()
        self._watcher.join()
        self._threads.shutdown(wait=True)
        self._schedule.stop()

    def _run(self, job: Callable[[], None]) -> None:
        """Do a job, and again if the clock was set meanwhile."""
        n_steps = -1
        while n_steps != self._n_steps and not self._stopped.is_set():
            n_steps = self._n_steps
            job()

    def _watch(self) -> None:
        """Run all jobs when the clock was set, or the machine woke up from a suspend."""
        while not self._stopped.wait(LOOK_EVERY_S):
            now = self._clock.now()
            step = now - self._looked_at - timedelta(seconds=LOOK_EVERY_S)
            self._looked_at = now
            if abs(step) >= SMALLEST_STEP:
                self._n_steps += 1
                log.warning(
                    "the clock was set, or the machine was suspended", by_s=step.total_seconds()
                )
            for job in self._threads.get_jobs():
                # APScheduler plans the next run after it has started one, and so may overwrite what
                # was set here with a time of the old clock.
                is_late = job.next_run_time - now > job.trigger.interval + SMALLEST_STEP
                if is_late or abs(step) >= SMALLEST_STEP:
                    job.modify(next_run_time=now)
