"""`triage papers …`"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triage.cli._edge import PARTLY_DONE, json_option, opened, parse_date, progress_bar, show
from triage.errors import NotFound, SourceError

if TYPE_CHECKING:
    from triage.app import App

REASONS_SHOWN = 5


@click.group("papers")
def command() -> None:
    """Import papers from files, and look at one."""


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--date", "on", callback=parse_date, help="The day that undated papers count for.")
@click.pass_context
def import_(ctx: click.Context, files: tuple[Path, ...], on: date | None) -> None:
    """Import FILES: JSONL(.gz), Daily Papers pages saved as text, lists of arXiv ids.

    Importing a file again changes nothing. What cannot be used is kept aside with its reason.
    """
    from triage.ingest import IngestReport, ingest
    from triage.sources.files import open_source

    app = opened(ctx)
    total = IngestReport()
    failed = 0
    with progress_bar() as progress:
        for path in files:
            so_far = IngestReport()
            try:
                source = open_source(path, on or app.clock.now().date())
                for so_far in ingest(app.database, source, app.clock, resume=False):
                    progress(f"import {path.name}", so_far.read, 0)
            except SourceError as error:
                click.echo(f"triage: {error}", err=True)
                failed += 1
            total += so_far
            if so_far.quarantined:
                _say_why(app, source.name)
    click.echo(str(total))
    if failed:
        ctx.exit(PARTLY_DONE if total.read else 1)


def _say_why(app: App, origin: str) -> None:
    """Name the first few records that were kept aside."""
    from triage import store

    with app.database.read() as conn:
        kept = store.sources.quarantined(conn, origin)
    for record in kept[:REASONS_SHOWN]:
        click.echo(f"triage: {origin} {record.where}: {record.reason}", err=True)
    if len(kept) > REASONS_SHOWN:
        click.echo(f"triage: and {len(kept) - REASONS_SHOWN} more", err=True)


@command.command("show")
@click.argument("id")
@json_option
@click.pass_context
def show_(ctx: click.Context, id: str, as_json: bool) -> None:
    """Show the paper known as ID (an arXiv id, a DOI, a link) and where it came from."""
    from triage import store

    with opened(ctx).database.read() as conn:
        paper_id = store.papers.resolve(conn, id)
        if paper_id is None:
            raise NotFound(f"no paper {id[:80]!r}: `triage papers import` brings papers in")
        paper = store.papers.load(conn, [paper_id])[paper_id]
        records = store.papers.records_of(conn, paper_id)
    origins = [f"{record['origin']} ({record['received_at']:%Y-%m-%d})" for record in records]
    fields = {
        "id": store.papers.outside_id(paper),
        "title": paper.title,
        "authors": ", ".join(paper.authors),
        "categories": " ".join(paper.categories),
        "listed": paper.listed_on,
        "upvotes": paper.upvotes,
        "origins": "; ".join(dict.fromkeys(origins)),
        "abstract": paper.abstract,
    }
    if as_json:
        show([fields], as_json=True)
        return
    for name, value in fields.items():
        click.echo(f"{name:<11}{'-' if value in (None, '') else value}")
