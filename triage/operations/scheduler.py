"""Calls the jobs at their times, in threads. The only user of APScheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from triage.operations.jobs import Schedule

EVERY_S = 60
ANSWER_EVERY_S = 10


class Scheduler:
    """Runs a schedule and the account mails; it stores nothing, because the database has it all.

    Args:
        answer: sends account mail; it needs no lease, so every process may do it.
    """

    def __init__(self, schedule: Schedule, answer: Callable[[], None], now: datetime) -> None:
        self._schedule = schedule
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
            self._threads.add_job(job, IntervalTrigger(seconds=every_s), next_run_time=now)

    def start(self) -> None:
        """Do all jobs at once and then in their intervals, without blocking the caller."""
        self._threads.start()

    def stop(self) -> None:
        """Wait until the running jobs have finished, and release the leases."""
        self._threads.shutdown(wait=True)
        self._schedule.stop()
