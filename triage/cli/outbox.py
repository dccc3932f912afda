"""`triage outbox …`"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Literal

import click

from triage.cli.app_context import PARTLY_DONE, json_option, load_app, show, warn
from triage.domain.records import MessageState


@click.group("outbox")
def command() -> None:
    """List and send waiting messages."""


@command.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice([each.value for each in MessageState])
)
@click.option("--limit", type=int, help="The number of newest messages; all without it.")
@json_option
def list_(states: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """List messages, newest first."""
    from triage import store

    with load_app().database.read() as conn:
        rows = store.messages.listing(conn, states, limit)
        holds = store.sending_holds.reasons(conn)
    show(rows, as_json=as_json, empty="no messages")
    for name, why in holds.items():
        warn(f"nothing is sent ({name}): {why}")


@command.command()
def drain() -> None:
    """Send all messages that are due now."""
    drained = load_app().new_outbox().drain()
    click.echo(
        f"{drained.sent} sent, {drained.deferred} put off, {drained.failed} failed,"
        f" {drained.cancelled} cancelled, {drained.held} held, {drained.in_flight} in doubt or with"
        " another sender"
    )
    if drained.broken:
        warn(f"no mail can be sent: {drained.broken}")
    if drained.crashed:
        warn(f"{drained.crashed} wait after an unexpected error: see the log")
    sys.exit(drained.exit_code)


@command.command()
def resume() -> None:
    """Send again after too many messages were refused and sending was stopped.

    Until half a day has passed, refusals do not stop it again.
    """
    from triage.delivery.recovery import resume as resume_sending

    app = load_app()
    resumed = resume_sending(app.database, app.clock)
    click.echo("sending goes on" if resumed else "sending was not stopped: nothing changed")


_ids = click.argument("message_ids", metavar="[ID]…", nargs=-1)


@command.command()
@_ids
def retry(message_ids: tuple[str, ...]) -> None:
    """Make deferred messages due now: those with these IDs, or all."""
    from triage.delivery.recovery import retry as retry_put_off

    app = load_app()
    _report(retry_put_off(app.database, app.clock, message_ids), message_ids, "are due now")


@command.command()
@_ids
@click.option("--sent", "decision", flag_value="sent", help="They arrived.")
@click.option(
    "--resend", "decision", flag_value="rendered", help="They did not arrive: send them again."
)
@click.option("--cancel", "decision", flag_value="cancelled", help="Do not send them.")
def resolve(message_ids: tuple[str, ...], decision: str | None) -> None:
    """Decide whether held messages arrived: those with these IDs, or all.

    A message is held if the connection was lost before the receiver's last answer: then it is
    unknown whether it arrived. `triage outbox list --state held` shows these messages.
    """
    from triage.delivery.recovery import resolve as resolve_held

    if decision is None:
        raise click.UsageError("choose what to do with them: --sent, --resend or --cancel")
    app = load_app()
    resolved = resolve_held(
        app.database, app.clock, MessageState(decision), message_ids, app.sent_log
    )
    _report(resolved, message_ids, "resolved")


@command.command()
@click.option(
    "--without-journal",
    type=click.Choice(["send", "skip"]),
    help="If the sent journal is lost or damaged: send waiting mail, or skip all that was due.",
)
def reconcile(without_journal: Literal["send", "skip"] | None) -> None:
    """Mark messages as sent that the sent journal or the mail server's log has as sent.

    A restored database does not have the mail that was sent after the copy was made, but the
    journal has it. The log of the mail server shows whether held messages arrived.
    """
    from triage.delivery.sent_log_check import reconcile as reconcile_journal

    app = load_app()
    report = reconcile_journal(app.database, app.sent_log, app.clock, without_journal)
    click.echo(
        f"the sent journal: {report.marked} that waited were sent, {report.tombstones} sent digests"
        f" were not known, {report.skipped} are skipped"
    )
    found = app.new_outbox().reconcile()
    click.echo(
        f"{found.sent} had arrived, {found.waiting} had not and are sent again,"
        f" {found.unknown} are still held"
    )
    if found.unknown:
        sys.exit(PARTLY_DONE)


@command.command()
@click.argument("email", required=False)
@click.option("--lift", is_flag=True, help="Allow mail to it again.")
@click.option(
    "--since",
    type=click.DateTime(),
    help="With --lift: all addresses that servers refused since then (UTC), instead of one.",
)
@click.option("--dry-run", is_flag=True, help="With --since: only count them.")
def suppress(email: str | None, lift: bool, since: datetime | None, dry_run: bool) -> None:
    """Block all mail to EMAIL, even if somebody subscribes it again.

    `--lift --since WHEN` undoes what a bad night did: addresses that were blocked since then
    because servers refused mail to them may receive again, and what was refused since then counts
    against nobody. Those of complaints stay blocked.
    """
    from triage.delivery.bounces import intake
    from triage.delivery.recovery import lift_refused_since

    if (email is None) != (since is not None) or (since and not lift) or (dry_run and not since):
        raise click.UsageError("name one EMAIL, or use --lift --since WHEN [--dry-run]")
    app = load_app()
    if email is None:
        assert since is not None  # noqa: S101 - checked above
        at = since.replace(tzinfo=UTC)
        n_addresses, n_refusals = lift_refused_since(
            app.database, app.clock, at, app.address_hash, dry_run=dry_run
        )
        click.echo(f"{n_addresses} {'would be able to' if dry_run else 'may'} receive again")
        if n_refusals:
            verb = "would no longer count" if dry_run else "no longer count"
            click.echo(f"{n_refusals} refusals {verb}")
        return
    change = intake.lift if lift else intake.suppress
    done = change(app.database, email, app.clock, app.address_hash)
    state = "may receive again" if lift else "suppressed"
    click.echo(state if done else f"{'not suppressed' if lift else state} already: nothing changed")


def _report(done: int, ids: tuple[str, ...], what: str) -> None:
    click.echo(f"{done} {what}")
    if n_others := max(len(set(ids)) - done, 0):
        warn(f"{n_others} are not in that state")
        sys.exit(PARTLY_DONE if done else 1)
