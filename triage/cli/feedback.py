"""`triage feedback …`"""

from __future__ import annotations

import sys
from typing import TextIO

import click

from triage.cli.app_context import (
    PARTLY_DONE,
    freeze_garbage_collector,
    json_option,
    load_app,
    load_app_and_subscriber,
    show,
    warn,
)


@click.group("feedback")
def command() -> None:
    """List, import and export votes."""


@command.command("list")
@click.option("--limit", type=int, default=50, show_default=True)
@click.option("--suspected", is_flag=True, help="Only votes that a mail scanner probably made.")
@json_option
def list_(limit: int, suspected: bool, as_json: bool) -> None:
    """List the newest votes. Suspected votes are not used until `believe` accepts them.

    `paper_id` is an id for `triage papers show`.
    """
    from triage import store
    from triage.domain.records import Origin

    origin = Origin.SUSPECTED_SCANNER if suspected else None
    with load_app().database.read() as conn:
        votes = store.events.listing(conn, limit, origin)
        papers = store.papers.load(conn, {each["paper_id"] for each in votes})
    rows = [
        {
            **vote,
            "paper_id": store.papers.outside_id(papers[vote["paper_id"]]),
            "title": papers[vote["paper_id"]].title,
        }
        for vote in votes
    ]
    show(rows, as_json=as_json, empty="no votes yet")


@command.command()
@click.argument("email")
def believe(email: str) -> None:
    """Accept the suspected votes of EMAIL as votes of a person."""
    from triage.subscribers.votes import believe as believe_votes

    app, subscriber = load_app_and_subscriber(email)
    click.echo(f"believed {believe_votes(app.database, subscriber)}")


@command.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8", errors="replace"))
def import_(file: TextIO) -> None:
    """Import votes from FILE: JSON lines with subscriber, paper_id, kind and at."""
    from triage.subscribers.votes import import_votes

    app = load_app()
    freeze_garbage_collector()
    report = import_votes(app.database, file, app.clock)
    for row in report.bad:
        warn(f"line {row.line}: {row.reason}")
    click.echo(
        f"read {report.read}, stored {report.stored}, known {report.known},"
        f" refused {len(report.bad)}"
    )
    if report.bad:
        sys.exit(PARTLY_DONE if report.stored or report.known else 1)


@command.command()
@click.argument("email", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "bibtex", "ris", "json", "csv"]),
    help="The format.  [default: bibtex with EMAIL, jsonl without]",
)
def export(email: str | None, form: str | None) -> None:
    """Print all votes as JSON lines for `import`, or the likes of EMAIL as a bibliography."""
    if email is None:
        if form not in (None, "jsonl"):
            raise click.UsageError(
                f"--format {form} exports the likes of one subscriber: add EMAIL"
            )
        from triage.subscribers.votes import export_votes

        for line in export_votes(load_app().database):
            click.echo(line)
        return
    if form == "jsonl":
        raise click.UsageError("jsonl exports the votes of all subscribers: leave EMAIL out")
    from triage.subscribers.bibliography.entries import write
    from triage.subscribers.library_import import likes

    app, subscriber = load_app_and_subscriber(email)
    click.echo(write(likes(app.database, subscriber), form or "bibtex"), nl=False)
