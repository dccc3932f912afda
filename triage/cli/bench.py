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
def rank(data: Path, out: Path) -> None:
    """Train on a benchmark's feedback, rank its slates and write the run. Needs no config."""
    from triage.ranking.serving.model_store import ModelStore
    from triage.training.evaluation import benchmark as benchmark_module

    benchmark = benchmark_module.read(data)
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        models = ModelStore(Path(folder), secrets.token_bytes(32))
        scorer = benchmark_module.rank(benchmark, models, out, progress)
    click.echo(f"{len(benchmark.slates)} slates ranked by {scorer.version}: {out}")
