"""`triage schedule`"""

from __future__ import annotations

import logging
import signal
import threading

import click

from triage.cli.app_context import freeze_garbage_collector, load_app


@click.command("schedule")
@click.option("--once", is_flag=True, help="Do what is due now, then exit.")
def command(once: bool) -> None:
    """Fetch, send, retrain and back up when each is due, until interrupted.

    Serves no pages; `triage serve` does both.
    """
    app = load_app(log_level=logging.INFO)
    schedule = app.new_schedule()
    if once:
        schedule.tick()
        schedule.do_jobs()
        schedule.stop()
        return
    from triage.operations.scheduler import Scheduler

    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    scheduler = Scheduler(schedule, app.account_mail_sender(), app.clock)
    freeze_garbage_collector()
    scheduler.start()
    click.echo("scheduling; interrupt to stop", err=True)
    ended.wait()
    scheduler.stop()
