"""`triage model …`"""

from __future__ import annotations

import json

import click

from triage.cli._edge import json_option, opened, show
from triage.errors import NotFound


@click.group("model")
def command() -> None:
    """List, show, promote and roll back models."""


@command.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List encoders and scorers, and which pair serves."""
    from triage import store

    with opened(ctx).database.read() as conn:
        versions = store.versions.everything(conn)
        history = store.versions.history(conn)
    serves = {history[0].scorer_version, history[0].encoder_version} if history else set()
    rows = [
        {
            "version": row.version,
            "kind": row.kind,
            "encoder": row.encoder_version,
            "serves": row.version in serves,
            "created_at": row.created_at,
        }
        for row in versions
    ]
    show(rows, as_json=as_json, empty="no models yet: `triage run` fits the first encoder")
    if history and not as_json:
        serving = history[0]
        click.echo(
            f"serving: {serving.scorer_version} on {serving.encoder_version}"
            f" since {serving.at:%Y-%m-%d %H:%M} ({serving.why})"
        )


@command.command("show")
@click.argument("version")
@click.pass_context
def show_(ctx: click.Context, version: str) -> None:
    """Show the figures of one model as JSON."""
    from triage import store

    with opened(ctx).database.read() as conn:
        row = store.versions.get(conn, version)
    if row is None:
        raise NotFound(f"there is no model {version}: `triage model list` shows them")
    click.echo(json.dumps({"version": row.version, "kind": row.kind, **row.metrics}, indent=2))


@command.command()
@click.argument("version")
@click.pass_context
def promote(ctx: click.Context, version: str) -> None:
    """Let the scorer VERSION serve from now on, with the encoder that it is bound to."""
    from triage.train import promote_version

    app = opened(ctx)
    promote_version(app.database, app.workshop, app.clock, version)
    click.echo(f"{version} serves now")


@command.command()
@click.pass_context
def rollback(ctx: click.Context) -> None:
    """Let the pair serve again that served before the present one."""
    from triage.train import rollback as roll_back

    app = opened(ctx)
    pair = roll_back(app.database, app.workshop, app.clock)
    click.echo(f"{pair.scorer.version} on {pair.encoder.version} serves again")
