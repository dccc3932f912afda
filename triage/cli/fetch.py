"""`triage fetch`"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import click

from triage.cli.app_context import PARTLY_DONE, json_option, opened, parse_date, progress_bar, show
from triage.errors import ConfigError

if TYPE_CHECKING:
    from triage.domain.protocols import Source
    from triage.domain.records import Verdict
    from triage.domain.source_records import SourceDay
    from triage.store import Database

# A fetch may mend days as long ago as the report's calendar reaches.
_MENDED = timedelta(days=90)


@click.command("fetch")
@click.option("--source", "name", help="Only this source.")
@click.option("--since", callback=parse_date, help="Read the days from this one on again.")
@click.option("--date", "on", callback=parse_date, help="Act as if this were today.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, name: str | None, since: date | None, on: date | None, as_json: bool
) -> None:
    """Read what is new from the sources, and say how their days stand."""
    from triage.domain.announcement_calendar import arxiv_today
    from triage.papers.ingest import fetch

    app = opened(ctx, log_level=logging.WARNING)
    today, last = on or arxiv_today(app.clock.now()), on or app.clock.now().date()
    if since is not None and since > last:
        raise click.BadParameter(f"{since} is after {last}", param_hint="--since")
    sources = _named(name, app.upstreams.sources(on, since=since))
    first = min(today, since or today)
    before = set(_known(app.database, sources, first, last))
    with progress_bar() as progress:
        problems = fetch(app.database, sources, app.clock, progress)
        if name is None:
            problems += app.enrich(progress).problems
    days = _told(before, _known(app.database, sources, first, last), first)
    rows = list(_with_categories(days) if as_json else _a_line_each(days))
    show(rows, as_json=as_json, empty=f"nothing is known of {today}")
    if days and not as_json:
        click.echo(_closing_line([day.verdict for day in days if not day.category]))
    for problem in problems:
        click.echo(f"triage: {problem}", err=True)
    if problems:
        ctx.exit(PARTLY_DONE)


def _named(name: str | None, sources: Sequence[Source]) -> Sequence[Source]:
    """Return the source of a name, or all.

    Raises:
        ConfigError: there is none; the message names those that there are.
    """
    if not sources:
        raise ConfigError(
            "no source is switched on: name categories under [sources.arxiv], or enable another"
        )
    found = [each for each in sources if name in (None, each.name, _short(each.name))]
    if not found:
        names = ", ".join(_short(each.name) for each in sources)
        raise ConfigError(f"no source {name!r} is switched on; those that are: {names}")
    return found


def _known(
    database: Database, sources: Sequence[Source], first: date, last: date
) -> list[SourceDay]:
    from triage import store

    names = {source.name for source in sources}
    with database.read() as conn:
        days = store.sources.days(conn, first - _MENDED, last, by_category=True)
    return [day for day in days if day.source in names]


def _told(before: set[SourceDay], after: list[SourceDay], first: date) -> list[SourceDay]:
    """Return the days from `first` on, the newest of each source, and those that changed."""
    newest = {day.source: day.on for day in after}
    told = {
        (day.source, day.on)
        for day in after
        if day.on >= first or day.on == newest[day.source] or day not in before
    }
    return [day for day in after if (day.source, day.on) in told]


def _short(name: str) -> str:
    return name.removeprefix("feed:")


def _with_categories(days: Sequence[SourceDay]) -> Iterator[dict[str, Any]]:
    """Yield a row for each source and day; what is known of its categories stands within."""
    for day in days:
        if not day.category:
            parts = [
                each
                for each in days
                if each.category and (each.source, each.on) == (day.source, day.on)
            ]
            categories = [{"category": part.category} | _stand(part) for part in parts]
            yield {"source": day.source, "on": day.on} | _stand(day) | {"categories": categories}


def _a_line_each(days: Sequence[SourceDay]) -> Iterator[dict[str, Any]]:
    """Yield a line for each source and day, and one below it for each of several categories."""
    n_parts = Counter((day.source, day.on) for day in days if day.category)
    shown = [day for day in days if not day.category or n_parts[day.source, day.on] > 1]
    for day in sorted(shown, key=lambda day: (day.source, day.on, day.category)):
        yield {"source": day.source, "category": day.category, "on": day.on} | _stand(day)


def _stand(day: SourceDay) -> dict[str, Any]:
    return {
        "verdict": day.verdict, "expected": day.expected, "got": day.got, "note": day.note
    }  # fmt: skip


def _closing_line(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(verdicts)
    told = ", ".join(f"{n} {verdict.replace('_', ' ')}" for verdict, n in sorted(counts.items()))
    return f"{len(verdicts)} {'day' if len(verdicts) == 1 else 'days'} of sources: {told}"
