"""`triage bounces …`"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from triage.app.application import App
from triage.cli.app_context import PARTLY_DONE, json_option, load_app, show, warn
from triage.errors import ConfigError, TriageError

# The kinds of `delivery/bounces/classify.py`, which takes too long to import for `--help`.
KINDS = (
    "hard soft policy notice complaint auto_reply unsubscribe vote ignored_vote unknown forged"
).split()


@click.group("bounces")
def command() -> None:
    """Read returned mail and votes by mail, and stop mail to who must not get more."""


@command.command()
@click.argument("files", metavar="[FILE | -]…", nargs=-1)
@click.option("--maildir", metavar="DIR", help="Read the new messages in this Maildir.")
@click.option("--imap", "configured", is_flag=True, help="Read the mailboxes of the config file.")
def intake(files: tuple[str, ...], maildir: str | None, configured: bool) -> None:
    """Store and evaluate returned messages. Each FILE is one message; - is standard input.

    Every message is stored, and the exit status is 0, whatever the message contains: otherwise a
    mail server that pipes messages in would bounce them. If a message from standard input cannot
    be stored, the exit status is 75, and the mail server tries again later.
    """
    if not (files or maildir or configured):
        raise click.UsageError("name a file, - for standard input, --maildir or --imap")
    problems: list[str] = []
    try:
        app = load_app()
        report = app.new_bounce_intake().take_all(
            _messages(app, files, maildir, configured, problems)
        )
    except TriageError as error:
        if "-" not in files:
            raise
        warn(error)
        sys.exit(os.EX_TEMPFAIL)
    click.echo(str(report))
    if "ignored_vote" in report.kinds:
        click.echo("`triage bounces list --kind ignored_vote` says why a vote does not count")
    for problem in problems:
        warn(problem)
    if problems:
        sys.exit(PARTLY_DONE if report.kinds or report.known else 1)


def _messages(
    app: App, files: tuple[str, ...], maildir: str | None, configured: bool, problems: list[str]
) -> Iterator[bytes]:
    """Yield all messages; a file that cannot be read is added to `problems`."""
    for name in files:
        try:
            yield sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            problems.append(f"{name} cannot be read: {error.strerror}")
    if maildir:
        from triage.delivery.bounces.mailboxes import read_maildir

        yield from read_maildir(Path(maildir))
    if configured:
        if not (app.settings.bounces.maildir or app.settings.bounces.imap_host):
            raise ConfigError(
                "the config file has no mailbox: set imap_host and username under [bounces]"
            )
        yield from app.read_new_bounces()


@command.command("list")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="A kind; may be repeated."
)
@click.option("--limit", type=int, help="The number of newest messages; all without it.")
@json_option
def list_(kinds: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """List returned mail, newest first; `on` is the date of the digest.

    The status of an ignored vote says why it does not count.
    """
    from triage import store

    with load_app().database.read() as conn:
        rows = store.bounces.listing(conn, kinds, limit)
    show(rows, as_json=as_json, empty="no mail came back")


@command.command("show")
@click.argument("id", type=int)
def show_(id: int) -> None:
    """Print the message with this ID of the list, as it was received."""
    from triage import store
    from triage.errors import NotFound

    with load_app().database.read() as conn:
        raw = store.bounces.raw(conn, id)
    if raw is None:
        raise NotFound(
            "there is no such message, or its content was deleted: `triage bounces list` shows all"
        )
    click.echo(raw, nl=False)
