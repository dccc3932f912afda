"""`triage similar …`"""

from __future__ import annotations

from typing import Any

import click

from triage.cli.app_context import find_papers, load_app
from triage.cli.search import filter_options, show_hits


@click.command("similar")
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@filter_options
def command(ids: tuple[str, ...], limit: int, as_json: bool, **filters: Any) -> None:
    """Find papers like all the given ones (arXiv ids, DOIs, links) together, best first."""
    from triage.store.search import Filters

    app = load_app()
    papers = find_papers(app, dict.fromkeys(ids))
    hits = app.new_search().similar(papers, Filters(**filters), limit)
    show_hits(hits, as_json=as_json)
