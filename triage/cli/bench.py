"""`triage bench …`"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

import click

from triage.cli.app_context import FILE, progress_bar


@click.group("bench")
def command() -> None:
    """Measure the ranker on given data."""


@command.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder with papers, subscribers, feedback and slates, each as .jsonl.gz.",
)
@click.option("--out", required=True, type=FILE, help="The TREC run file to write.")
@click.option(
    "--alone",
    is_flag=True,
    help="Rank for each user as the only subscriber of a new installation.",
)
@click.option(
    "--ranker",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with a pretrained ranker to use instead of the one of this program.",
)
def rank(data: Path, out: Path, ranker: Path | None, *, alone: bool) -> None:
    """Train on a benchmark's feedback, rank its slates and write the run. Needs no config."""
    from triage.ranking.serving import pretrained_ranker
    from triage.ranking.serving.model_store import ModelStore
    from triage.training.evaluation import benchmark as benchmark_module

    benchmark = benchmark_module.read(data)
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        start = pretrained_ranker.load(ranker) if ranker else None
        models = ModelStore(Path(folder), secrets.token_bytes(32), start)
        scorer = benchmark_module.rank(benchmark, models, out, progress, alone=alone)
    click.echo(f"{len(benchmark.slates)} slates ranked by {scorer.version}: {out}")
