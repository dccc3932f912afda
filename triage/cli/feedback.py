"""`triage feedback …`"""

from __future__ import annotations

from typing import TextIO

import click

from triage.cli.app_context import PARTLY_DONE, json_option, opened, show


@click.group("feedback")
def command() -> None:
    """List, import and export votes."""


@command.command("list")
@click.option("--limit", type=int, default=50, show_default=True)
@click.option("--suspected", is_flag=True, help="Only what seems to be mail scanners' doing.")
@json_option
@click.pass_context
def list_(ctx: click.Context, limit: int, suspected: bool, as_json: bool) -> None:
    """List the newest votes. Suspected ones count for nothing until they are believed."""
    from triage import store
    from triage.domain.records import Origin

    origin = Origin.SUSPECTED_SCANNER if suspected else None
    with opened(ctx).database.read() as conn:
        rows = store.events.listing(conn, limit, origin)
    show(rows, as_json=as_json, empty="no votes yet")


@command.command()
@click.argument("email")
@click.pass_context
def believe(ctx: click.Context, email: str) -> None:
    """Let the suspected votes of EMAIL count after all."""
    from triage.subscribers.subscriptions import find
    from triage.subscribers.votes import believe as believe_votes

    database = opened(ctx).database
    click.echo(f"believed {believe_votes(database, find(database, email))}")


@command.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8", errors="replace"))
@click.pass_context
def import_(ctx: click.Context, file: TextIO) -> None:
    """Import votes from FILE, JSON lines of subscriber, paper_id, kind and at."""
    from triage.subscribers.votes import import_votes

    app = opened(ctx)
    imported = import_votes(app.database, file, app.clock)
    for row in imported.bad:
        click.echo(f"triage: line {row.line}: {row.reason}", err=True)
    click.echo(
        f"read {imported.read}, stored {imported.stored}, known {imported.known},"
        f" refused {len(imported.bad)}"
    )
    if imported.bad:
        ctx.exit(PARTLY_DONE if imported.stored or imported.known else 1)


@command.command()
@click.argument("email", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "bibtex", "ris", "json", "csv"]),
    help="How the likes of EMAIL are written.  [default: bibtex; without EMAIL jsonl]",
)
@click.pass_context
def export(ctx: click.Context, email: str | None, form: str | None) -> None:
    """Print all votes as the JSON lines that `import` reads, or the likes of EMAIL as a library."""
    if email is None:
        if form not in (None, "jsonl"):
            raise click.UsageError(f"--format {form} is for the likes of one: name their EMAIL")
        from triage.subscribers.votes import export_votes

        for line in export_votes(opened(ctx).database):
            click.echo(line)
        return
    if form == "jsonl":
        raise click.UsageError("jsonl is for the votes of all: leave EMAIL away")
    from triage.subscribers.bibliography.entries import written
    from triage.subscribers.library_import import likes
    from triage.subscribers.subscriptions import find

    app = opened(ctx)
    click.echo(written(likes(app.database, find(app.database, email)), form or "bibtex"), nl=False)
