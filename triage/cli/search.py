"""`triage search …`"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from triage.cli.app_context import json_option, opened, options, parse_date, show

if TYPE_CHECKING:
    from triage.papers.search import Hit
    from triage.store.search import Filters

MOST_HITS = 1000


_options = options(
    click.option("--since", callback=parse_date, help="Listed on this day or later."),
    click.option("--until", callback=parse_date, help="Listed on this day or before."),
    click.option("--category", "categories", multiple=True, help="As cs.CL, or cs for all of cs."),
    click.option("--source", "sources", multiple=True, help="As arxiv; several: any of them."),
    click.option("--author", default="", help="A name, or the last part of one."),
    click.option("--limit", type=click.IntRange(1, MOST_HITS), default=20, show_default=True),
    json_option,
)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what narrows a search down, which the command gets as one `filters`."""

    @wraps(command)
    def filtered(
        *args: Any,
        since: date | None,
        until: date | None,
        categories: tuple[str, ...],
        sources: tuple[str, ...],
        author: str,
        **others: Any,
    ) -> None:
        from triage.store.search import Filters

        command(*args, filters=Filters(since, until, categories, sources, author), **others)

    return _options(filtered)


@click.command("search")
@click.argument("query", nargs=-1, required=True)
@filter_options
@click.pass_context
def command(
    ctx: click.Context,
    query: tuple[str, ...],
    filters: Filters,
    limit: int,
    as_json: bool,
) -> None:
    """Find papers that say QUERY or mean it, best first.

    "Words in quotes" must stand so in a paper, -word must not; an arXiv id or a DOI gives that
    paper. Options stand before QUERY where it holds a minus: triage search --limit 5 -- cats -dogs
    """
    from triage.papers.search import Search

    app = opened(ctx)
    hits = Search(app.database, app.workshop).find(" ".join(query), filters, limit)
    show_hits(hits, as_json=as_json)


def show_hits(hits: Sequence[Hit], *, as_json: bool) -> None:
    from triage.store.papers import outside_id

    rows = [
        {
            "id": outside_id(hit.paper),
            "date": hit.paper.listed_on,
            "score": round(hit.score, 4),
            "title": hit.paper.title,
        }
        for hit in hits
    ]
    show(rows, as_json=as_json, empty="no papers found")
