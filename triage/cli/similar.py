"""`triage similar …`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from triage.cli.app_context import opened
from triage.cli.search import filter_options, show_hits
from triage.errors import NotFound

if TYPE_CHECKING:
    from triage.store.search import Filters


@click.command("similar")
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@filter_options
@click.pass_context
def command(
    ctx: click.Context,
    ids: tuple[str, ...],
    filters: Filters,
    limit: int,
    as_json: bool,
) -> None:
    """Find papers like all of those known as ID (arXiv ids, DOIs, links) together, best first."""
    from triage import store
    from triage.papers.search import Search

    app = opened(ctx)
    with app.database.read() as conn:
        found = {id: store.papers.resolve(conn, id) for id in ids}
    missing = [id for id, paper_id in found.items() if paper_id is None]
    if missing:
        raise NotFound(f"no paper {missing[0][:80]!r}: `triage papers import` brings papers in")
    given = [paper_id for paper_id in found.values() if paper_id is not None]
    show_hits(Search(app.database, app.workshop).similar(given, filters, limit), as_json=as_json)
