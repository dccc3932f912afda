"""`triage train`"""

from __future__ import annotations

import click

from triage.cli.app_context import load_app


@click.command("train")
def command() -> None:
    """Train a new ranker on all votes. It is used only if it is better on later digests."""
    from triage.training.train import train

    app = load_app()
    report = train(app.database, app.model_store, app.clock)
    click.echo(
        f"{report.version}: {report.n_impressions} shown papers, {report.n_votes} votes,"
        f" {report.n_slates} digests"
    )
    click.echo(f"{'promoted' if report.promoted else 'not promoted'}: {report.why}")
    click.echo(f"`triage model show {report.version}` shows its card")
