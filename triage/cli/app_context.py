"""What the commands share: opening the program, showing rows, showing progress."""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog

from triage.app.application import open_app
from triage.domain.protocols import silent
from triage.errors import ConfigError

if TYPE_CHECKING:
    from triage.app.application import App
    from triage.domain.protocols import Progress

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
PARTLY_DONE = 3

Command = Callable[..., Any]


def options(*several: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return one decorator for several, of which the first is the outermost."""

    def decorate(command: Command) -> Command:
        for each in reversed(several):
            command = each(command)
        return command

    return decorate


def opened(ctx: click.Context, *, log_level: int = logging.WARNING) -> App:
    """Compose the program from the config file that the command line names."""
    log_to_stderr(log_level)
    app = open_app(Path(ctx.find_root().obj))
    ctx.call_on_close(app.close)
    return app


def freeze_garbage_collector() -> None:
    """Let the garbage collector pass over what was loaded: each look through it stops all threads.

    That takes 50 ms and more, which the one who writes keeps all others waiting for.
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


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str = "none") -> None:
    """Print rows as JSON or as a table with a line of headings."""
    if as_json:
        click.echo(json.dumps(list(rows), default=_as_text, ensure_ascii=False, indent=2))
        return
    if not rows:
        click.echo(empty)
        return
    names = list(rows[0])
    lines = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


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
    """Yield a progress that is drawn on a terminal and says nothing elsewhere."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def draw(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total or None)
            bar.update(tasks[stage], completed=done, total=total or None)

        yield draw


def parse_date(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> date | None:
    """Read an option's ISO date."""
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a date as in 2026-03-02") from None
