"""Runs the schedule once a minute, digests and chores apart: the only user of APScheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

if TYPE_CHECKING:
    from datetime import datetime

    from triage.schedule import Schedule

EVERY_S = 60


class Scheduler:
    """A clockwork around a schedule. It remembers nothing: what is due stands in the database."""

    def __init__(self, schedule: Schedule, now: datetime) -> None:
        self._schedule = schedule
        self._clockwork = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        for job in (schedule.tick, schedule.do_chores):
            self._clockwork.add_job(job, IntervalTrigger(seconds=EVERY_S), next_run_time=now)

    def start(self) -> None:
        """Tick at once, and then every minute, in threads of its own."""
        self._clockwork.start()

    def stop(self) -> None:
        """Finish what is under way, and give the leases back."""
        self._clockwork.shutdown(wait=True)
        self._schedule.stop()
