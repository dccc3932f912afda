"""`triage digest …`"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import click

from triage.cli.app_context import (
    FILE,
    json_option,
    load_app,
    load_app_and_subscriber,
    parse_date,
    show,
    warn,
)
from triage.errors import NotFound

date_option = click.option("--date", "on", callback=parse_date, help="The date; default: today.")


@click.group("digest")
def command() -> None:
    """Preview, show and list digests."""


@command.command()
@click.argument("email")
@date_option
@click.option("--to", type=FILE, help="Write the mail to this .eml file; do not print its text.")
def preview(email: str, on: date | None, to: Path | None) -> None:
    """Show the digest that EMAIL would get. Nothing is stored or sent."""
    from triage.digest.message import part_of

    app, subscriber = load_app_and_subscriber(email)
    now = app.clock.now()
    slate = app.new_nightly().preview(subscriber, on or now.date())
    if not slate.impressions:
        click.echo(f"no papers: {slate.day_report}")
        return
    mime = app.build_message(slate, now).message.mime
    if to is None:
        click.echo(part_of(mime, "plain"))
    else:
        to.write_bytes(mime)
        click.echo(f"wrote {to}")


@command.command("show")
@click.argument("email")
@date_option
def show_(email: str, on: date | None) -> None:
    """Show the stored digest of EMAIL for a date, with scores and reasons."""
    from triage import store

    app, subscriber = load_app_and_subscriber(email)
    on = on or app.clock.now().date()
    with app.database.read() as conn:
        slate = store.slates.by_day(conn, subscriber.id, on)
    if slate is None:
        raise NotFound(f"there is no digest for {on}: `triage digest list` shows all digests")
    click.echo(f"{slate.day_report}\nranked by {slate.scorer_version} on {slate.encoder_version}")
    for shown in slate.impressions:
        click.echo(f"{shown.position:>2} {shown.score:.3f} {shown.policy}  {shown.paper.title}")
        click.echo(f"   {'; '.join(reason.text for reason in shown.reasons)}")


@command.command()
@click.argument("email")
@click.option(
    "--date", "on", callback=parse_date, help="The date; default: the newest that was sent."
)
def resend(email: str, on: date | None) -> None:
    """Send EMAIL a digest once more, and with it all other mail that is due.

    The mail is made anew, with the same papers. `triage audit` counts it apart.
    """
    from triage import store
    from triage.digest.resend import queue_resend
    from triage.domain.records import MessageState

    app, subscriber = load_app_and_subscriber(email)
    queued = queue_resend(
        app.database, app.clock, app.build_message, subscriber, app.address_hash, on
    )
    drained = app.new_outbox().drain()
    with app.database.read() as conn:
        [message] = store.messages.in_states(conn, list(MessageState), [queued.message_id])
    if message.state is MessageState.SENT:
        click.echo(f"sent once more: {message.message_id}")
        return
    why = drained.broken or message.last_reply
    warn(f"{message.message_id} is {message.state}" + (f": {why}" if why else ""))
    warn("`triage outbox list` shows what becomes of it")
    sys.exit(1)


@command.command("list")
@click.option("--limit", type=int, default=30, show_default=True)
@json_option
def list_(limit: int, as_json: bool) -> None:
    """List the newest digests."""
    from triage import store

    with load_app().database.read() as conn:
        rows = store.slates.listing(conn, limit)
    show(rows, as_json=as_json, empty="no digests yet: `triage run` makes them")
