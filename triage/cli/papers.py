"""`triage papers …`"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triage.cli.app_context import PARTLY_DONE, json_option, opened, parse_date, progress_bar, show
from triage.errors import NotFound, SourceError

if TYPE_CHECKING:
    from triage.app.application import App

REASONS_SHOWN = 5


@click.group("papers")
def command() -> None:
    """Import papers from files, look at one, part and join."""


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--date", "on", callback=parse_date, help="The day that undated papers count for.")
@click.pass_context
def import_(ctx: click.Context, files: tuple[Path, ...], on: date | None) -> None:
    """Import FILES: JSONL(.gz), Daily Papers pages saved as text, lists of arXiv ids.

    Importing a file again changes nothing. What cannot be used is kept aside with its reason.
    """
    from triage.papers.ingest import IngestReport, ingest
    from triage.sources.files.detect import open_source

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
    from triage.papers.deduplicate import provenance

    with opened(ctx).database.read() as conn:
        paper_id = store.papers.resolve(conn, id)
        if paper_id is None:
            raise NotFound(f"no paper {id[:80]!r}: `triage papers import` brings papers in")
        paper = store.papers.load(conn, [paper_id])[paper_id]
        state = store.works.columns(conn, [paper_id])[paper_id]
        told = provenance(conn, paper_id)
    origins = [f"{each.origin} ({each.received_at:%Y-%m-%d})" for each in told]
    ids = [f"{each.id} ({each.why})" if each.why else each.id for each in told]
    fields = {
        "id": store.papers.outside_id(paper),
        "title": paper.title,
        "authors": ", ".join(paper.authors),
        "categories": " ".join(paper.categories),
        "listed": paper.listed_on,
        "revised": state["revised_on"],
        "withdrawn": state["withdrawn_at"] and state["withdrawn_at"].date(),
        "venue": paper.venue,
        "citations": paper.citations,
        "upvotes": paper.upvotes,
        "known as": "; ".join(dict.fromkeys(ids)),
        "origins": "; ".join(dict.fromkeys(origins)),
        "abstract": paper.abstract,
    }
    if as_json:
        show([fields], as_json=True)
        return
    for name, value in fields.items():
        click.echo(f"{name:<11}{'-' if value in (None, '') else value}")


@command.command()
@click.argument("id")
@click.pass_context
def split(ctx: click.Context, id: str) -> None:
    """Part ID from the papers that it was merged with, for good.

    ID is the one that does not belong: an arXiv id, a DOI, or `title:` and the title of a record
    that has no id. `triage papers show` lists them.
    """
    from triage.papers.deduplicate import split as split_work

    app = opened(ctx)
    parted = split_work(app.database, id, app.clock)
    click.echo(f"parted from {len(parted)}" if parted else "it stands alone: nothing was changed")


@command.command()
@click.argument("id")
@click.argument("other")
@click.pass_context
def merge(ctx: click.Context, id: str, other: str) -> None:
    """Make ID and OTHER one paper; `triage papers split` takes it back."""
    from triage.papers.deduplicate import merge as merge_works

    app = opened(ctx)
    merged = merge_works(app.database, id, other, app.clock)
    click.echo("merged" if merged else "they are one already: nothing was changed")
