"""`triage outbox …`"""

from __future__ import annotations

import click

from triage.cli.app_context import PARTLY_DONE, json_option, opened, show
from triage.domain.records import MessageState


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
        holds = store.sending_holds.reasons(conn)
    show(rows, as_json=as_json, empty="no messages")
    for name, why in holds.items():
        click.echo(f"triage: nothing is sent ({name}): {why}", err=True)


@command.command()
@click.pass_context
def drain(ctx: click.Context) -> None:
    """Hand over everything that is due now."""
    drained = opened(ctx).outbox().drain()
    click.echo(
        f"{drained.sent} sent, {drained.deferred} put off, {drained.failed} failed,"
        f" {drained.cancelled} cancelled, {drained.held} held, {drained.in_flight} in doubt or with"
        " another sender"
    )
    if drained.broken:
        click.echo(f"triage: no mail can be sent: {drained.broken}", err=True)
        ctx.exit(PARTLY_DONE if drained.sent else 1)
    if drained.deferred or drained.failed or drained.held or drained.in_flight:
        ctx.exit(PARTLY_DONE)


_ids = click.argument("message_ids", metavar="[ID]…", nargs=-1)


@command.command()
@_ids
@click.pass_context
def retry(ctx: click.Context, message_ids: tuple[str, ...]) -> None:
    """Let messages that were put off go with the next drain; all of them if none is named."""
    from triage.delivery.recovery import retry as retry_put_off

    app = opened(ctx)
    _report(ctx, retry_put_off(app.database, app.clock, message_ids), message_ids, "are due now")


@command.command()
@_ids
@click.option("--sent", "decision", flag_value="sent", help="They arrived.")
@click.option("--resend", "decision", flag_value="rendered", help="They did not: send them again.")
@click.option("--cancel", "decision", flag_value="cancelled", help="They need not arrive.")
@click.pass_context
def resolve(ctx: click.Context, message_ids: tuple[str, ...], decision: str | None) -> None:
    """Decide what became of held messages; of all of them if none is named.

    A message is held when the connection was lost before the receiver's last answer, and nobody
    knows whether it arrived. `triage outbox list --state held` shows them.
    """
    from triage.delivery.recovery import resolve as resolve_held

    if decision is None:
        raise click.UsageError("say what became of them: --sent, --resend or --cancel")
    app = opened(ctx)
    resolved = resolve_held(
        app.database, app.clock, MessageState(decision), message_ids, app.journal
    )
    _report(ctx, resolved, message_ids, "resolved")


@command.command()
@click.option(
    "--without-journal",
    type=click.Choice(["send", "skip"]),
    help="If the sent journal is lost or damaged: send what waits, or skip what was due until now.",
)
@click.pass_context
def reconcile(ctx: click.Context, without_journal: str | None) -> None:
    """Mark as sent what the sent journal and the log of the mail server say was sent.

    After a restore the database does not know of the mail that went out since it was copied; the
    journal does. Then the log of the mail server is asked what became of held messages.
    """
    from triage.delivery.sent_log_check import WithoutJournal
    from triage.delivery.sent_log_check import reconcile as reconcile_journal

    app = opened(ctx)
    without = WithoutJournal(without_journal) if without_journal else None
    agreed = reconcile_journal(app.database, app.journal, app.clock, without)
    click.echo(
        f"the sent journal: {agreed.marked} that waited were sent, {agreed.tombstones} sent digests"
        f" were not known, {agreed.skipped} are skipped"
    )
    found = app.outbox().reconcile()
    click.echo(
        f"{found.sent} had arrived, {found.waiting} had not and are sent again,"
        f" {found.unknown} are still held"
    )
    if found.unknown:
        ctx.exit(PARTLY_DONE)


@command.command()
@click.argument("email")
@click.option("--lift", is_flag=True, help="Let it receive again.")
@click.pass_context
def suppress(ctx: click.Context, email: str, lift: bool) -> None:
    """Send nothing to EMAIL any more, whoever asks for it."""
    from triage.delivery.bounces import intake

    app = opened(ctx)
    change = intake.lift if lift else intake.suppress
    done = change(app.database, email, app.clock, app.address_hash)
    state = "may receive again" if lift else "suppressed"
    click.echo(state if done else f"{'not suppressed' if lift else state} already: nothing changed")


def _report(ctx: click.Context, done: int, asked: tuple[str, ...], what: str) -> None:
    click.echo(f"{done} {what}")
    if done < len(set(asked)):
        click.echo(f"triage: {len(set(asked)) - done} are not in that state", err=True)
        ctx.exit(PARTLY_DONE if done else 1)
