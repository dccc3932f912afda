"""`triage run`"""

from __future__ import annotations

import logging
import sys
from datetime import date

import click

from triage.app.application import LONGEST_FETCH, App
from triage.cli.app_context import PARTLY_DONE, load_app, parse_date, progress_bar, warn
from triage.domain.records import Subscriber, SubscriberState


@click.command("run")
@click.option("--date", "on", callback=parse_date, help="Run as if today were this date.")
@click.option("--subscriber", "email", help="Only the digest of this subscriber.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent; store and send no digest.")
@click.option("--force", is_flag=True, help="Send even if a check that mail needs is red.")
def command(on: date | None, email: str | None, dry_run: bool, force: bool) -> None:
    """Make the digests that are due, and send waiting mail.

    Each subscriber gets one digest for each date, even if you run this more than once. After a
    crash, run it again. While a check of `triage doctor` that mail needs is red, no digest is made
    or sent by SMTP.
    """
    from triage.subscribers.subscriptions import find

    app = load_app(log_level=logging.WARNING if dry_run else logging.INFO)
    now = app.clock.now()
    sources = app.live_sources.sources(on, now + LONGEST_FETCH)
    on = on or now.date()
    only = find(app.database, email) if email else None
    if dry_run:
        _preview(app, on, only)
        return
    with progress_bar() as progress:
        report = app.new_nightly().run(
            on,
            sources,
            app.new_outbox(red=(lambda: "") if force else None),
            only={only.id} if only else None,
            progress=progress,
        )
    drained = report.drained
    click.echo(
        f"{on}: {report.queued} made, {report.skipped} without papers, {drained.sent} sent,"
        f" {drained.deferred} put off, {drained.failed} failed, {drained.cancelled} cancelled"
    )
    for problem in report.problems:
        warn(problem)
    if drained.broken:
        warn(f"no mail can be sent: {drained.broken}")
    if drained.in_flight:
        warn(
            f"{drained.in_flight} are in doubt or with another sender: run this again in a few"
            " minutes, or see `triage outbox list`"
        )
    if drained.held:
        warn(
            f"{drained.held} are held, because it is unknown whether they arrived: decide with"
            " `triage outbox resolve`"
        )
    if drained.exit_code or report.problems:
        sys.exit(drained.exit_code or PARTLY_DONE)


def _preview(app: App, on: date, only: Subscriber | None) -> None:
    from triage import store

    with app.database.read() as conn:
        active = store.subscribers.everyone(conn, [SubscriberState.ACTIVE])
    for subscriber in [only] if only else active:
        slate = app.new_nightly().preview(subscriber, on)
        click.echo(f"{subscriber.email}: {len(slate.impressions)} of {slate.n_candidates} papers")
        for shown in slate.impressions:
            click.echo(f"  {shown.position:>2} {shown.score:.2f}  {shown.paper.title}")
