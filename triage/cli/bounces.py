"""`triage bounces …`"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triage.cli.app_context import PARTLY_DONE, json_option, opened, show
from triage.errors import ConfigError, TriageError

if TYPE_CHECKING:
    from triage.app.application import App

KINDS = (
    "hard soft policy notice complaint auto_reply unsubscribe unknown forged".split()
)  # as in `returned`, which is too slow to load for `--help`


@click.group("bounces")
def command() -> None:
    """Read what came back, and stop mail that must not go on."""


@command.command()
@click.argument("files", metavar="[FILE | -]…", nargs=-1)
@click.option("--maildir", metavar="DIR", help="Read what is new in this Maildir.")
@click.option("--imap", "configured", is_flag=True, help="Read the mailboxes of the config file.")
@click.pass_context
def intake(
    ctx: click.Context, files: tuple[str, ...], maildir: str | None, configured: bool
) -> None:
    """Take in messages that came back: each FILE holds one, - is standard input.

    Whatever a message is, it is kept, and the exit status is 0: a mail server that pipes messages
    in would bounce them otherwise. If one from standard input cannot be stored, the exit status is
    75, upon which mail servers try again later.
    """
    if not (files or maildir or configured):
        raise click.UsageError("name a file, - for standard input, --maildir or --imap")
    problems: list[str] = []
    try:
        app = opened(ctx)
        report = app.intake().take_all(_messages(app, files, maildir, configured, problems))
    except TriageError as error:
        if "-" not in files:
            raise
        click.echo(f"triage: {error}", err=True)
        ctx.exit(os.EX_TEMPFAIL)
    click.echo(str(report))
    for problem in problems:
        click.echo(f"triage: {problem}", err=True)
    if problems:
        ctx.exit(PARTLY_DONE if report.kinds or report.known else 1)


def _messages(
    app: App, files: tuple[str, ...], maildir: str | None, configured: bool, problems: list[str]
) -> Iterator[bytes]:
    for name in files:
        if name == "-":
            yield sys.stdin.buffer.read()
            continue
        try:
            yield Path(name).read_bytes()
        except OSError as error:
            problems.append(f"{name} cannot be read: {error.strerror}")
    if maildir:
        from triage.delivery.bounces.mailboxes import read_maildir

        yield from read_maildir(Path(maildir))
    if configured:
        if not (app.settings.bounces.maildir or app.settings.bounces.imap_host):
            raise ConfigError("the config names no mailbox: set [bounces] imap_host and username")
        yield from app.unread_bounces()


@command.command("list")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="Of this kind; may be repeated.",
)
@click.option("--limit", type=int, help="The newest so many; all if left out.")
@json_option
@click.pass_context
def list_(ctx: click.Context, kinds: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """List what came back, newest first; `on` is the date of the digest."""
    from triage import store

    with opened(ctx).database.read() as conn:
        rows: list[dict[str, Any]] = store.bounces.listing(conn, kinds, limit)
    show(rows, as_json=as_json, empty="no mail came back")


@command.command("show")
@click.argument("id", type=int)
@click.pass_context
def show_(ctx: click.Context, id: int) -> None:
    """Print the message with that ID of the list as it was received."""
    from triage import store
    from triage.errors import NotFound

    with opened(ctx).database.read() as conn:
        raw = store.bounces.raw(conn, id)
    if raw is None:
        raise NotFound(
            "no such message, or its bytes were dropped: `triage bounces list` shows all of them"
        )
    click.echo(raw, nl=False)
