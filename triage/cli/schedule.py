"""`triage schedule`"""

from __future__ import annotations

import logging
import signal
import threading

import click

from triage.cli.app_context import freeze_garbage_collector, opened


@click.command("schedule")
@click.option("--once", is_flag=True, help="Do what is due now, and end.")
@click.pass_context
def command(ctx: click.Context, once: bool) -> None:
    """Fetch, send, retrain and back up when each is due, until interrupted.

    Without web pages: `triage serve` does both.
    """
    app = opened(ctx, log_level=logging.INFO)
    schedule = app.schedule()
    if once:
        schedule.tick()
        schedule.do_chores()
        schedule.stop()
        return
    from triage.operations.scheduler import Scheduler

    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    scheduler = Scheduler(schedule, app.answers(), app.clock.now())
    freeze_garbage_collector()
    scheduler.start()
    click.echo("scheduling; interrupt to stop", err=True)
    ended.wait()
    scheduler.stop()
