"""`triage fetch`"""

from __future__ import annotations

import logging
from datetime import date

import click

from triage.cli._edge import PARTLY_DONE, json_option, opened, parse_date, progress_bar, show
from triage.errors import ConfigError


@click.command("fetch")
@click.option("--source", "name", help="Only this source.")
@click.option("--date", "on", callback=parse_date, help="Act as if this were today.")
@json_option
@click.pass_context
def command(ctx: click.Context, name: str | None, on: date | None, as_json: bool) -> None:
    """Read what is new from the sources, and say how their days stand."""
    from triage import store
    from triage.announcements import arxiv_today
    from triage.fetch import fetch

    app = opened(ctx, log_level=logging.WARNING)
    sources = [each for each in app.sources(on) if name in (None, each.name)]
    if not sources:
        raise ConfigError(
            f"no source {name!r} is switched on" if name else
            "no source is switched on: name categories under [sources.arxiv], or enable another"
        )  # fmt: skip
    with progress_bar() as progress:
        problems = fetch(app.database, sources, app.clock, progress)
        if name is None:
            problems += app.enrich(progress).problems
    today = on or arxiv_today(app.clock.now())
    with app.database.read() as conn:
        days = store.sources.days(conn, today, on or app.clock.now().date())
    wanted = {source.name for source in sources}
    rows = [
        {
            "source": day.source,
            "on": day.on,
            "verdict": day.verdict,
            "expected": day.expected,
            "got": day.got,
            "note": day.note,
        }
        for day in days
        if day.source in wanted
    ]
    show(rows, as_json=as_json, empty=f"nothing is known of {today}")
    for problem in problems:
        click.echo(f"triage: {problem}", err=True)
    if problems:
        ctx.exit(PARTLY_DONE)
