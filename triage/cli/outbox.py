"""`triage outbox …`"""

from __future__ import annotations

import click

from triage.cli._edge import PARTLY_DONE, json_option, opened, show
from triage.records import MessageState


@click.group("outbox")
def command() -> None:
    """List and hand over waiting messages."""


@command.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice([each.value for each in MessageState])
)
@click.option("--limit", type=int, help="The newest so many; all if left out.")
@json_option
@click.pass_context
def list_(ctx: click.Context, states: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """List messages, newest first."""
    from triage import store

    with opened(ctx).database.read() as conn:
        rows = store.messages.listing(conn, states, limit)
    show(rows, as_json=as_json, empty="no messages")


@command.command()
@click.pass_context
def drain(ctx: click.Context) -> None:
    """Hand over everything that is due now."""
    drained = opened(ctx).outbox().drain()
    click.echo(
        f"{drained.sent} sent, {drained.deferred} put off, {drained.failed} failed,"
        f" {drained.cancelled} cancelled, {drained.in_flight} with another sender"
    )
    if drained.broken:
        click.echo(f"triage: no mail can be sent: {drained.broken}", err=True)
        ctx.exit(PARTLY_DONE if drained.sent else 1)
    if drained.deferred or drained.failed or drained.in_flight:
        ctx.exit(PARTLY_DONE)
