"""`triage evaluate …`"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from triage.cli.app_context import (
    json_option,
    opened,
    options,
    parse_date,
    progress_bar,
    show,
    write_page,
)

if TYPE_CHECKING:
    from triage.training.evaluation.bootstrap import Interval
    from triage.training.evaluation.replay import Replay

T = TypeVar("T")

DAYS = 30

_replay_options = options(
    click.option(
        "--days",
        type=click.IntRange(min=1),
        default=DAYS,
        show_default=True,
        help="How many days are replayed.",
    ),
    click.option("--until", callback=parse_date, help="The last of them; today if unset."),
    json_option,
    click.option(
        "--plot",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write a picture of it (SVG) here.",
    ),
)


@click.group("evaluate")
def command() -> None:
    """Replay past days to see whether another scorer would have ranked better."""


@command.command()
@_replay_options
@click.pass_context
def replay(ctx: click.Context, /, as_json: bool, plot: Path | None, **days: Any) -> None:
    """Replay past days for what serves, the cold-start scorer, and other programs' rankers.

    Everything known before a day makes the profile, and all rank the same papers of that day. Days
    that a scorer has learned from are told apart: they are no evidence for it.
    """
    from triage.training.evaluation import replay as replay_module

    told = _replayed(ctx, replay_module.replay, **days)
    _write_plot(plot, told)
    if as_json:
        _echo_json(asdict(told))
        return
    _show(told)


@command.command()
@click.argument("a")
@click.argument("b")
@_replay_options
@click.pass_context
def compare(
    ctx: click.Context, /, a: str, b: str, as_json: bool, plot: Path | None, **days: Any
) -> None:
    """Compare the scorers A and B on the same slates.

    Each is `serving`, `cold`, one of `asl`, `zotero`, `lr` and `text`, or a version that
    `triage model list` shows.
    """
    from triage.training.evaluation import replay as replay_module

    told = _replayed(ctx, replay_module.compare, a, b, **days)
    _write_plot(plot, told.replay)
    if as_json:
        _echo_json(asdict(told))
        return
    _show(told.replay)
    click.echo(f"\n{a} minus {b}, slate by slate:")
    gaps = {
        "nDCG@10": told.ndcg,
        "recall@20": told.recall,
        "MRR": told.mrr,
        f"nDCG@10 on the {told.n_unseen} slates that neither learned from": told.unseen,
    }
    for name, gap in gaps.items():
        click.echo(f"  {_in_words(gap, signed=True)}  {name}")
    click.echo(_verdict(a, b, told.unseen))


def _replayed(
    ctx: click.Context, replay: Callable[..., T], *scorers: str, days: int, until: date | None
) -> T:
    from triage.training.evaluation.past_slates import Span

    app = opened(ctx)
    last = until or app.clock.now().date()
    span = Span(last - timedelta(days=days - 1), last, app.settings.digest.max_age_days)
    with progress_bar() as progress:
        return replay(app.database, app.workshop, app.clock, *scorers, span, progress)


def _show(told: Replay) -> None:
    click.echo(
        f"{told.first} to {told.until}: {told.n_slates} slates of {told.n_subscribers} subscribers"
    )
    show(
        [
            {
                "scorer": each.name,
                "nDCG@10": _in_words(each.ndcg),
                "unseen days": _in_words(each.unseen) if each.taught_until else "all",
                "recall@20": _in_words(each.recall),
                "MRR": _in_words(each.mrr),
                "coverage": _number(each.coverage),
                "diversity": _number(each.diversity.mean),
                "calibration error": (
                    _number(each.calibration.error) if each.calibration else None
                ),
                "better served": _in_words(each.better) if each.better else None,
            }
            for each in told.standings
        ],
        as_json=False,
    )
    click.echo(
        "\nIntervals are of 95 %. Better served: the share of subscribers whom it ranks better for"
        f" than {told.standings[0].name}."
    )
    for note in told.notes:
        click.echo(f"- {note}")


def _verdict(a: str, b: str, gap: Interval) -> str:
    if math.isnan(gap.low):
        return "Too few slates to tell which is better."
    if gap.low > 0:
        return f"{a} is better than {b}, beyond chance."
    if gap.high < 0:
        return f"{b} is better than {a}, beyond chance."
    return "The difference may be chance."


def _in_words(figure: Interval, *, signed: bool = False) -> str:
    if math.isnan(figure.mean):
        return "unknown"
    mean = f"{figure.mean:+.3f}" if signed else f"{figure.mean:.3f}"
    return mean if math.isnan(figure.low) else f"{mean} [{figure.low:.3f}, {figure.high:.3f}]"


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3f}"


def _echo_json(told: dict[str, Any]) -> None:
    click.echo(json.dumps(_plain(told), ensure_ascii=False, indent=2))


def _plain(value: Any) -> Any:
    """Return what JSON can hold: dates as text, what is undefined as null."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and math.isnan(value) else value


def _write_plot(path: Path | None, told: Replay) -> None:
    if path is None:
        return
    from triage.operations.replay_plot import draw_replay

    write_page(path, draw_replay(told))
    click.echo(f"wrote {path}", err=True)
