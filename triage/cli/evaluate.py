"""`triage evaluate …`"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from triage.cli.app_context import (
    FILE,
    json_option,
    load_app,
    options,
    parse_date,
    print_json,
    progress_bar,
    show,
    write_page,
)

if TYPE_CHECKING:
    from triage.app.application import App
    from triage.training.evaluation.bootstrap import Interval
    from triage.training.evaluation.past_slates import Span
    from triage.training.evaluation.replay import Replay

T = TypeVar("T")

_days_options = options(
    click.option(
        "--days",
        type=click.IntRange(min=1),
        default=30,
        show_default=True,
        help="The number of days.",
    ),
    click.option("--until", callback=parse_date, help="The last of these days; default: today."),
    json_option,
)
_replay_options = options(
    _days_options,
    click.option("--plot", type=FILE, help="Write a picture of the result (SVG) to this file."),
)


@click.group("evaluate")
def command() -> None:
    """Replay past days, to see whether another scorer would rank better and what was missed."""


@command.command()
@_replay_options
def replay(as_json: bool, plot: Path | None, **days: Any) -> None:
    """Replay past days with the active scorer, the pretrained ranker and the baselines.

    Profiles contain only what was known before a day, and all scorers rank the same papers of that
    day. Days on which a scorer was trained are shown separately: they are no evidence for it.
    """
    from triage.training.evaluation import replay as replay_module

    report = _replay(replay_module.replay, **days)
    _write_plot(plot, report)
    if as_json:
        print_json(_without_nan(asdict(report)))
    else:
        _show(report)


@command.command()
@click.argument("a")
@click.argument("b")
@_replay_options
def compare(a: str, b: str, as_json: bool, plot: Path | None, **days: Any) -> None:
    """Compare the scorers A and B on the same slates.

    Each is `serving`, `pretrained`, one of `asl`, `zotero`, `lr` and `text`, or a version that
    `triage model list` shows.
    """
    from triage.training.evaluation import replay as replay_module

    report = _replay(replay_module.compare, a, b, **days)
    _write_plot(plot, report.replay)
    if as_json:
        print_json(_without_nan(asdict(report)))
        return
    _show(report.replay)
    click.echo(f"\n{a} minus {b}, slate by slate:")
    differences = {
        "nDCG@10": report.ndcg,
        "recall@20": report.recall,
        "MRR": report.mrr,
        f"nDCG@10 on the {report.n_unseen} slates on which neither was trained": report.unseen,
    }
    for name, difference in differences.items():
        click.echo(f"  {_interval(difference, sign='+')}  {name}")
    click.echo(_verdict(a, b, report.unseen))


@command.command()
@_days_options
def recall(as_json: bool, **days: Any) -> None:
    """Account for the papers that subscribers liked: had a digest shown them, or why not.

    Recall is the share of shown papers among those that were shown or that had a rank. The others
    were filtered out, so no scorer could have shown them.
    """
    from triage.training.evaluation.recall import measure_recall

    app = load_app()
    with progress_bar() as progress:
        report = measure_recall(
            app.database, app.model_store, app.clock, _span(app, **days), progress
        )
    if as_json:
        print_json(_without_nan(asdict(report)))
        return
    click.echo(
        f"{report.first} to {report.until}: {report.n_liked} liked, {report.n_shown} of them shown"
        f" before; recall {_number(report.recall)}"
    )
    rows = [
        {
            "liked": each.liked_at,
            "subscriber": each.email,
            "paper": each.paper,
            "outcome": each.outcome.filter or each.outcome.outcome,
            "digest": each.outcome.on,
            "rank": each.outcome.rank,
            "of": each.outcome.of,
            "score": each.outcome.score,
        }
        for each in report.missed
    ]
    show(rows, as_json=False, empty="nothing that was liked was missed")


def _replay(replay: Callable[..., T], *scorers: str, days: int, until: date | None) -> T:
    app = load_app()
    span = _span(app, days, until)
    with progress_bar() as progress:
        return replay(app.database, app.model_store, app.clock, *scorers, span, progress)


def _span(app: App, days: int, until: date | None) -> Span:
    from triage.training.evaluation.past_slates import Span

    last = until or app.clock.now().date()
    return Span(last - timedelta(days=days - 1), last, app.settings.digest.max_age_days)


def _show(replay: Replay) -> None:
    click.echo(
        f"{replay.first} to {replay.until}: {replay.n_slates} slates of {replay.n_subscribers}"
        " subscribers"
    )
    show(
        [
            {
                "scorer": each.name,
                "nDCG@10": _interval(each.ndcg),
                "unseen days": _interval(each.unseen) if each.taught_until else "all",
                "recall@20": _interval(each.recall),
                "MRR": _interval(each.mrr),
                "coverage": _number(each.coverage),
                "diversity": _number(each.diversity.mean),
                "Brier": _number(each.calibration.brier) if each.calibration else None,
                "calibration error": (
                    _number(each.calibration.error) if each.calibration else None
                ),
                "better served": _interval(each.better) if each.better else None,
            }
            for each in replay.standings
        ],
        as_json=False,
    )
    click.echo(
        "\nIntervals are 95 % confidence intervals. Better served: the share of subscribers for"
        f" whom the scorer ranks better than {replay.standings[0].name}."
    )
    first = replay.standings[0]
    if first.calibration and first.calibration.bins:
        click.echo(f"\nChances by {first.name}, in ten groups of one size, and what was liked:")
        rows = [
            {
                "chance": f"{each.low:.3f} to {each.high:.3f}",
                "papers": each.n,
                "mean chance": f"{each.mean_chance:.3f}",
                "liked": f"{each.share_liked:.3f}",
            }
            for each in first.calibration.bins
        ]
        show(rows, as_json=False)
    for note in replay.notes:
        click.echo(f"- {note}")


def _verdict(a: str, b: str, difference: Interval) -> str:
    if math.isnan(difference.low):
        return "Too few slates to tell which is better."
    if difference.low > 0:
        return f"{a} is better than {b}, beyond chance."
    if difference.high < 0:
        return f"{b} is better than {a}, beyond chance."
    return "The difference may be chance."


def _interval(figure: Interval, *, sign: str = "") -> str:
    mean = _number(figure.mean, sign)
    return mean if math.isnan(figure.low) else f"{mean} [{figure.low:.3f}, {figure.high:.3f}]"


def _number(value: float, sign: str = "") -> str:
    return "unknown" if math.isnan(value) else f"{value:{sign}.3f}"


def _without_nan(value: Any) -> Any:
    """Return the value with null for each NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _write_plot(path: Path | None, replay: Replay) -> None:
    if path is None:
        return
    from triage.operations.replay_plot import draw_replay

    write_page(path, draw_replay(replay))
    click.echo(f"wrote {path}", err=True)
