"""What several commands use: they open the program, and print tables and progress."""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
import structlog

from triage.app.application import App, open_app
from triage.domain.protocols import Progress, silent
from triage.domain.records import Subscriber
from triage.errors import ConfigError, NotFound

FILE = click.Path(dir_okay=False, path_type=Path)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
PARTLY_DONE = 3

Command = Callable[..., Any]


def options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return one decorator that applies several; the first is the outermost."""

    def decorate(command: Command) -> Command:
        for each in reversed(decorators):
            command = each(command)
        return command

    return decorate


def load_app(*, log_level: int = logging.WARNING) -> App:
    """Create the program from the config file of the current command line."""
    log_to_stderr(log_level)
    ctx = click.get_current_context()
    app = open_app(Path(ctx.find_root().obj))
    ctx.call_on_close(app.close)
    return app


def load_app_and_subscriber(email: str) -> tuple[App, Subscriber]:
    """Create the program, and load the subscriber with this address.

    Raises:
        NotFound: no subscriber has this address.
    """
    from triage.subscribers.subscriptions import find

    app = load_app()
    return app, find(app.database, email)


def find_papers(app: App, ids: Iterable[str]) -> list[int]:
    """Return the database ids of papers, which `ids` name by arXiv ids, DOIs or links.

    Raises:
        NotFound: a paper is not stored.
    """
    from triage import store

    papers = []
    with app.database.read() as conn:
        for id in ids:
            paper_id = store.papers.resolve(conn, id)
            if paper_id is None:
                raise NotFound(
                    f"there is no paper {id[:80]!r}: import it with `triage papers import`"
                )
            papers.append(paper_id)
    return papers


def freeze_garbage_collector() -> None:
    """Exclude all loaded objects from garbage collection.

    A collection stops all threads. With these objects it takes 50 ms and more, and a thread that
    writes to the database makes all other writers wait for this time.
    """
    gc.collect()
    gc.freeze()


def log_to_stderr(level: int) -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def warn(problem: object) -> None:
    """Print a problem to standard error."""
    click.echo(f"triage: {problem}", err=True)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, default=_as_text, ensure_ascii=False, indent=2))


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str = "none") -> None:
    """Print rows as JSON or as a table with headings; `empty` is printed if there are no rows."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        click.echo(empty)
        return
    names = list(rows[0])
    lines = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def show_fields(fields: Mapping[str, Any], *, as_json: bool, width: int) -> None:
    """Print one record as JSON, or with one line for each field, names padded to `width`."""
    if as_json:
        print_json([fields])
        return
    for name, value in fields.items():
        text = ", ".join(value) if isinstance(value, tuple) else value
        click.echo(f"{name:<{width}}{'-' if text in (None, '') else text}")


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else " ".join(_as_text(value).split())


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def write_page(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Yield a function that draws progress on a terminal, and does nothing without one."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn())
    time = rich.TimeElapsedColumn()
    with rich.Progress(*columns, time, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def draw(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total or None)
            bar.update(tasks[stage], completed=done, total=total or None)

        yield draw


def parse_date(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> date | None:
    """Parse the ISO date of an option."""
    try:
        return None if value is None else date.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a date such as 2026-03-02") from None
