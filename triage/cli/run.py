"""`triage run`"""

from __future__ import annotations

import logging
from datetime import date
from typing import TYPE_CHECKING

import click

from triage.app.application import LONGEST_FETCH
from triage.cli.app_context import PARTLY_DONE, opened, parse_date, progress_bar

if TYPE_CHECKING:
    from triage.app.application import App
    from triage.domain.records import Subscriber


@click.command("run")
@click.option("--date", "on", callback=parse_date, help="Act as if this were today.")
@click.option("--subscriber", "email", help="Only this subscriber's digest.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent; make and send no digest.")
@click.option("--force", is_flag=True, help="Send though something that mail needs is red.")
@click.pass_context
def command(
    ctx: click.Context, on: date | None, email: str | None, dry_run: bool, force: bool
) -> None:
    """Make the digest of everyone who is due, and send what waits.

    Each subscriber gets one digest a date, however often this is run; a run that died is simply
    run again. No digest is made or sent by SMTP while `triage doctor` finds red what mail needs.
    """
    from triage.subscribers.subscriptions import find

    app = opened(ctx, log_level=logging.WARNING if dry_run else logging.INFO)
    now = app.clock.now()
    sources = app.upstreams.sources(on, now + LONGEST_FETCH)
    on = on or now.date()
    only = find(app.database, email) if email else None
    if dry_run:
        _preview(app, on, only)
        return
    with progress_bar() as progress:
        report = app.nightly().run(
            on,
            sources,
            app.outbox(red=(lambda: "") if force else None),
            only={only.id} if only else None,
            progress=progress,
        )
    drained = report.drained
    click.echo(
        f"{on}: {report.queued} made, {report.skipped} without papers, {drained.sent} sent,"
        f" {drained.deferred} put off, {drained.failed} failed, {drained.cancelled} cancelled"
    )
    for problem in report.problems:
        click.echo(f"triage: {problem}", err=True)
    if drained.broken:
        click.echo(f"triage: no mail can be sent: {drained.broken}", err=True)
    if drained.in_flight:
        click.echo(
            f"triage: {drained.in_flight} are in doubt or in the hands of another sender: run again"
            " in a few minutes, or look at `triage outbox list`",
            err=True,
        )
    if drained.held:
        click.echo(
            f"triage: of {drained.held} nobody knows whether they arrived: `triage outbox resolve`"
            " decides",
            err=True,
        )
    if drained.broken and not drained.sent:
        ctx.exit(1)
    trouble = drained.deferred or drained.failed or drained.held or drained.in_flight
    if report.problems or drained.broken or trouble:
        ctx.exit(PARTLY_DONE)


def _preview(app: App, on: date, only: Subscriber | None) -> None:
    from triage import store
    from triage.domain.records import SubscriberState

    with app.database.read() as conn:
        active = store.subscribers.everyone(conn, [SubscriberState.ACTIVE])
    for subscriber in [only] if only else active:
        slate = app.nightly().preview(subscriber, on)
        click.echo(f"{subscriber.email}: {len(slate.impressions)} of {slate.n_candidates} papers")
        for shown in slate.impressions:
            click.echo(f"  {shown.position:>2} {shown.score:.2f}  {shown.paper.title}")
