"""`triage similar …`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from triage.cli.app_context import load_app
from triage.cli.search import filter_options, show_hits
from triage.errors import NotFound

if TYPE_CHECKING:
    from triage.store.search import Filters


@click.command("similar")
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@filter_options
def command(ids: tuple[str, ...], filters: Filters, limit: int, as_json: bool) -> None:
    """Find papers like all the given ones (arXiv ids, DOIs, links) together, best first."""
    from triage import store
    from triage.papers.search import Search

    app = load_app()
    with app.database.read() as conn:
        found = {id: store.papers.resolve(conn, id) for id in ids}
    missing = [id for id, paper_id in found.items() if paper_id is None]
    if missing:
        raise NotFound(
            f"there is no paper {missing[0][:80]!r}: import it with `triage papers import`"
        )
    given = [paper_id for paper_id in found.values() if paper_id is not None]
    show_hits(Search(app.database, app.workshop).similar(given, filters, limit), as_json=as_json)
