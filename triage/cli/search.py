"""`triage search …`"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from triage.cli.app_context import json_option, load_app, options, parse_date, show

if TYPE_CHECKING:
    from triage.papers.search import Hit

MOST_HITS = 1000

filter_options = options(
    click.option("--since", callback=parse_date, help="Listed on this day or later."),
    click.option("--until", callback=parse_date, help="Listed on this day or before."),
    click.option(
        "--category",
        "categories",
        multiple=True,
        help="Such as cs.CL, or cs for all of cs; may be repeated.",
    ),
    click.option("--source", "sources", multiple=True, help="Such as arxiv; may be repeated."),
    click.option("--author", default="", help="A full name or a family name."),
    click.option("--limit", type=click.IntRange(1, MOST_HITS), default=20, show_default=True),
    json_option,
)
"""Adds options for the fields of `Filters`, and --limit and --json."""


@click.command("search")
@click.argument("query", nargs=-1, required=True)
@filter_options
def command(query: tuple[str, ...], limit: int, as_json: bool, **filters: Any) -> None:
    """Find papers by the words and the meaning of QUERY, best first.

    A paper must have "words in quotes" as they are, and must not have a -word. An arXiv id or a DOI
    finds that paper. Write -- before a QUERY with a -word: triage search --limit 5 -- cats -dogs
    """
    from triage.store.search import Filters

    app = load_app()
    search = app.new_search()
    show_hits(search.find(" ".join(query), Filters(**filters), limit), as_json=as_json)


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
