"""`triage fetch`"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import click

from triage.app.application import App
from triage.cli.app_context import (
    PARTLY_DONE,
    json_option,
    load_app,
    parse_date,
    progress_bar,
    show,
    warn,
)
from triage.domain.protocols import Source
from triage.domain.records import Verdict
from triage.domain.source_records import SourceDay
from triage.errors import ConfigError

# A fetch may repair days as long ago as the calendar of the report begins.
_REPAIRABLE = timedelta(days=90)


@click.command("fetch")
@click.option("--source", "name", help="Only this source.")
@click.option("--since", callback=parse_date, help="Read the days since this date again.")
@click.option("--date", "on", callback=parse_date, help="Run as if today were this date.")
@json_option
def command(name: str | None, since: date | None, on: date | None, as_json: bool) -> None:
    """Read what is new from the sources, and show the state of their days."""
    from triage.domain.announcement_calendar import arxiv_today
    from triage.papers.ingest import fetch

    app = load_app()
    today, last = on or arxiv_today(app.clock.now()), on or app.clock.now().date()
    if since is not None and since > last:
        raise click.BadParameter(f"{since} is after {last}", param_hint="--since")
    app.live_sources.on_wait = warn
    sources = _select(name, app.live_sources.sources(on, since=since))
    first = min(today, since or today)
    before = set(_load_days(app, sources, first, last))
    with progress_bar() as progress:
        problems = fetch(app.database, sources, app.clock, progress)
        if name is None:
            problems += app.enrich_recent_papers(progress).problems
    days = _select_days(before, _load_days(app, sources, first, last), first)
    rows = list(_nested_rows(days) if as_json else _flat_rows(days))
    show(rows, as_json=as_json, empty=f"nothing is known of {today}")
    failed = {day.source for day in days if day.verdict is Verdict.FAILED}
    failed |= {each.name for each in sources if any(f"source {each.name}:" in p for p in problems)}
    if (days or failed) and not as_json:
        verdicts = Counter(day.verdict for day in days if not day.category)
        click.echo(_closing_line(verdicts, sorted(map(_short, failed))))
    for problem in problems:
        warn(problem)
    if problems:
        sys.exit(PARTLY_DONE)


def _select(name: str | None, sources: Sequence[Source]) -> Sequence[Source]:
    """Return the source with this name, or all without a name.

    Raises:
        ConfigError: there is none; the message names the enabled sources.
    """
    if not sources:
        raise ConfigError(
            "no source is enabled: set categories under [sources.arxiv], or enable another source"
        )
    selected = [each for each in sources if name in (None, each.name, _short(each.name))]
    if not selected:
        names = ", ".join(_short(each.name) for each in sources)
        raise ConfigError(f"the source {name!r} is not enabled; enabled sources: {names}")
    return selected


def _load_days(app: App, sources: Sequence[Source], first: date, last: date) -> list[SourceDay]:
    from triage import store

    names = {source.name for source in sources}
    with app.database.read() as conn:
        days = store.sources.days(conn, first - _REPAIRABLE, last, by_category=True)
    return [day for day in days if day.source in names]


def _select_days(
    before: set[SourceDay], after: Sequence[SourceDay], first: date
) -> list[SourceDay]:
    """Return the days from `first` on, the newest of each source, and those that changed."""
    newest = {day.source: day.on for day in after}
    wanted = {
        (day.source, day.on)
        for day in after
        if day.on >= first or day.on == newest[day.source] or day not in before
    }
    return [day for day in after if (day.source, day.on) in wanted]


def _short(name: str) -> str:
    return name.removeprefix("feed:")


def _nested_rows(days: Sequence[SourceDay]) -> Iterator[dict[str, Any]]:
    """Yield a row for each source and day, with the rows of its categories in a list."""
    for day in days:
        if not day.category:
            categories = [
                {"category": each.category} | _state(each)
                for each in days
                if each.category and (each.source, each.on) == (day.source, day.on)
            ]
            yield {"source": day.source, "on": day.on} | _state(day) | {"categories": categories}


def _flat_rows(days: Sequence[SourceDay]) -> Iterator[dict[str, Any]]:
    """Yield a row for each source and day, and below it one for each category if there are more."""
    n_categories = Counter((day.source, day.on) for day in days if day.category)
    shown = [day for day in days if not day.category or n_categories[day.source, day.on] > 1]
    for day in sorted(shown, key=lambda day: (day.source, day.on, day.category)):
        yield {"source": day.source, "category": day.category, "on": day.on} | _state(day)


def _state(day: SourceDay) -> dict[str, Any]:
    return {name: getattr(day, name) for name in ("verdict", "expected", "got", "note")}


def _closing_line(counts: Counter[Verdict], failed: Sequence[str]) -> str:
    n = counts.total()
    verdicts = ", ".join(
        f"{k} {verdict.replace('_', ' ')}" for verdict, k in sorted(counts.items())
    )
    names = f"; failed: {', '.join(failed)}" if failed else ""
    return f"{n} {'day' if n == 1 else 'days'} of sources: {verdicts or 'none'}{names}"
