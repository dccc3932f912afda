"""`triage papers …`"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triage.app.application import App
from triage.cli.app_context import (
    PARTLY_DONE,
    find_papers,
    freeze_garbage_collector,
    json_option,
    load_app,
    load_app_and_subscriber,
    parse_date,
    print_json,
    progress_bar,
    show_fields,
    warn,
)
from triage.errors import NotFound, SourceError

if TYPE_CHECKING:
    from triage.domain.paper_outcome import PaperOutcome

REASONS_SHOWN = 5


@click.group("papers")
def command() -> None:
    """Import papers from files, show one and what became of it, split and merge."""


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--date", "on", callback=parse_date, help="The listing date of papers that have none."
)
def import_(files: tuple[Path, ...], on: date | None) -> None:
    """Import FILES: JSONL(.gz), Daily Papers pages saved as text, lists of arXiv ids.

    Importing a file again changes nothing. Records that cannot be used go to the quarantine. Papers
    that a list names are requested from arXiv, bioRxiv and Crossref: up to 200 now, the others soon
    by the scheduler.
    """
    from triage.papers.ingest import IngestReport, ingest
    from triage.sources.files.detect import open_source
    from triage.subscribers.named_papers import fetch_ids

    app = load_app()
    freeze_garbage_collector()
    total = IngestReport()
    failed = 0
    with progress_bar() as progress:
        for path in files:
            report = IngestReport()
            try:
                source = open_source(path, on or app.clock.now().date())
                for report in ingest(app.database, source, app.clock, resume=False):
                    progress(f"import {path.name}", report.read, 0)
            except SourceError as error:
                warn(error)
                failed += 1
            total += report
            if report.quarantined:
                _warn_of_quarantined(app, source.name)
        if total.unknown:
            lookups = app.live_sources.lookups()
            looked_up, left = fetch_ids(app.database, lookups, app.clock, total.unknown, progress)
            for problem in looked_up.problems:
                warn(problem)
            n_known = total.known + len(total.unknown) - len(left) - looked_up.stored
            n_stored = total.stored + looked_up.stored
            total = replace(total, stored=n_stored, known=n_known, unknown=left)
    click.echo(str(total))
    if failed:
        sys.exit(PARTLY_DONE if total.read else 1)


def _warn_of_quarantined(app: App, origin: str) -> None:
    """Print the first few records in quarantine, with the reasons."""
    from triage import store

    with app.database.read() as conn:
        records = store.sources.quarantined(conn, origin)
    for record in records[:REASONS_SHOWN]:
        warn(f"{origin} {record.where}: {record.reason}")
    if len(records) > REASONS_SHOWN:
        warn(f"and {len(records) - REASONS_SHOWN} more")


@command.command("show")
@click.argument("id")
@json_option
def show_(id: str, as_json: bool) -> None:
    """Show the paper with this ID (an arXiv id, a DOI, a link) and its sources."""
    from triage import store
    from triage.papers.deduplicate import provenance

    app = load_app()
    [paper_id] = find_papers(app, [id])
    with app.database.read() as conn:
        paper = store.papers.load(conn, [paper_id])[paper_id]
        state = store.works.columns(conn, [paper_id])[paper_id]
        records = provenance(conn, paper_id)
    origins = [f"{each.origin} ({each.received_at:%Y-%m-%d})" for each in records]
    ids = [f"{each.id} ({each.why})" if each.why else each.id for each in records]
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
    show_fields(fields, as_json=as_json, width=11)


@command.command()
@click.argument("id")
@click.argument("email")
@json_option
def why(id: str, email: str, as_json: bool) -> None:
    """Show why the paper with this ID was or was not in a digest of EMAIL.

    It was shown on a date, or it had a rank in the last digest that could have had it, or a filter
    kept it out. The rank is that of the current models and preferences.
    """
    from dataclasses import asdict

    from triage import store
    from triage.domain.paper_outcome import Outcome, PaperOutcome
    from triage.ranking.serving.active_models import encode_new, ensure_active_models

    try:
        app, subscriber = load_app_and_subscriber(email)
        [paper_id] = find_papers(app, [id])
    except NotFound:
        if as_json:
            print_json(asdict(PaperOutcome(Outcome.UNKNOWN)))
        raise
    with app.database.read() as conn:
        row = store.papers.resolve_row(conn, id) or paper_id
    found = app.find_outcome(subscriber, row)
    if found.outcome is Outcome.UNKNOWN:
        # There are no models yet, or the paper has come since the last digests.
        on = app.clock.now().date()
        with progress_bar() as progress:
            pair = ensure_active_models(app.database, app.model_store, app.clock, on)
            encode_new(app.database, pair.encoder, progress)
        found = app.find_outcome(subscriber, row)
    if as_json:
        print_json(asdict(found))
        return
    click.echo(_describe_outcome(found))
    for reason in found.reasons:
        click.echo(f"  {reason}")


def _describe_outcome(found: PaperOutcome) -> str:
    score = "" if found.score is None else f", score {found.score:.3f}"
    if found.outcome == "shown":
        return f"shown in the digest of {found.on}{score}"
    digest = f"the digest of {found.on}" if found.on else "every digest"
    if found.outcome == "filtered":
        return f"not shown: the filter “{found.filter}” keeps it out of {digest}"
    if found.outcome == "ranked":
        return f"not shown: rank {found.rank} of {found.of} for {digest}{score}"
    return f"unknown: it could not be ranked for {digest}"


@command.command()
@click.argument("id")
def split(id: str) -> None:
    """Separate ID from the papers with which it was merged, permanently.

    ID is the record that does not belong there: an arXiv id, a DOI, or `title:` and the title of a
    record without id. `triage papers show` lists them.
    """
    from triage.papers.deduplicate import split as split_work

    app = load_app()
    parted = split_work(app.database, id, app.clock)
    click.echo(
        f"parted from {len(parted)}"
        if parted
        else "it is not merged with others: nothing was changed"
    )


@command.command()
@click.argument("id")
@click.argument("other")
def merge(id: str, other: str) -> None:
    """Merge ID and OTHER into one paper. `triage papers split` undoes this."""
    from triage.papers.deduplicate import merge as merge_works

    app = load_app()
    merged = merge_works(app.database, id, other, app.clock)
    click.echo("merged" if merged else "they are one paper already: nothing was changed")
