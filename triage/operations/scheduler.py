"""Runs the schedule: digests, chores and answers apart. The only user of APScheduler."""

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
    """A clockwork around a schedule. It remembers nothing: what is due stands in the database.

    Args:
        answer: mails whoever asked on the pages; any process may, whoever has the lease.
    """

    def __init__(self, schedule: Schedule, answer: Callable[[], None], now: datetime) -> None:
        self._schedule = schedule
        self._clockwork = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(3)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        for job, every_s in (
            (schedule.tick, EVERY_S),
            (schedule.do_chores, EVERY_S),
            (answer, ANSWER_EVERY_S),
        ):
            self._clockwork.add_job(job, IntervalTrigger(seconds=every_s), next_run_time=now)

    def start(self) -> None:
        """Tick at once, and then every minute, in threads of its own."""
        self._clockwork.start()

    def stop(self) -> None:
        """Finish what is under way, and give the leases back."""
        self._clockwork.shutdown(wait=True)
        self._schedule.stop()
