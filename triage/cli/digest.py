"""`triage digest …`"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from triage.cli.app_context import json_option, opened, parse_date, show
from triage.errors import NotFound

date_option = click.option("--date", "on", callback=parse_date, help="Today if left out.")


@click.group("digest")
def command() -> None:
    """Preview, show and list digests."""


@command.command()
@click.argument("email")
@date_option
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the message here (.eml) instead of printing its text.",
)
@click.pass_context
def preview(ctx: click.Context, email: str, on: date | None, to: Path | None) -> None:
    """Show the digest that EMAIL would get; none is made or sent."""
    from triage.digest.message import part_of
    from triage.subscribers.subscriptions import find

    app = opened(ctx)
    now = app.clock.now()
    slate = app.nightly().preview(find(app.database, email), on or now.date())
    if not slate.impressions:
        click.echo(f"no papers: {slate.day_report}")
        return
    mime = app.compose(slate, now).message.mime
    if to is None:
        click.echo(part_of(mime, "plain"))
    else:
        to.write_bytes(mime)
        click.echo(f"wrote {to}")


@command.command("show")
@click.argument("email")
@date_option
@click.pass_context
def show_(ctx: click.Context, email: str, on: date | None) -> None:
    """Show the digest that EMAIL was made for a date, with scores and reasons."""
    from triage import store
    from triage.subscribers.subscriptions import find

    app = opened(ctx)
    on = on or app.clock.now().date()
    subscriber = find(app.database, email)
    with app.database.read() as conn:
        slate = store.slates.by_day(conn, subscriber.id, on)
    if slate is None:
        raise NotFound(f"no digest was made for {on}: `triage digest list` shows those that were")
    click.echo(f"{slate.day_report}\nranked by {slate.scorer_version} on {slate.encoder_version}")
    for shown in slate.impressions:
        click.echo(f"{shown.position:>2} {shown.score:.3f} {shown.policy}  {shown.paper.title}")
        click.echo(f"   {'; '.join(reason.text for reason in shown.reasons)}")


@command.command("list")
@click.option("--limit", type=int, default=30, show_default=True)
@json_option
@click.pass_context
def list_(ctx: click.Context, limit: int, as_json: bool) -> None:
    """List the newest digests."""
    from triage import store

    with opened(ctx).database.read() as conn:
        rows = store.slates.listing(conn, limit)
    show(rows, as_json=as_json, empty="no digests yet: `triage run` makes them")
