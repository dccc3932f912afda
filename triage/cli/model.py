"""`triage model …`"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from triage.cli.app_context import json_option, load_app, print_json, show
from triage.errors import NotFound


@click.group("model")
def command() -> None:
    """List, show, promote and roll back models."""


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List encoders and scorers, and which of them are active."""
    from triage import store

    with load_app().database.read() as conn:
        versions = store.model_versions.everything(conn)
        history = store.model_versions.history(conn)
    serves = {history[0].scorer_version, history[0].encoder_version} if history else set()
    rows = [
        {
            "version": row.version,
            "kind": row.kind,
            "encoder": row.encoder_version,
            "serves": row.version in serves,
            "kept": "deleted_at" not in row.metrics,
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
@json_option
def show_(version: str, as_json: bool) -> None:
    """Show the card of one model: its training data, its evaluation and its parts."""
    from triage import store

    with load_app().database.read() as conn:
        row = store.model_versions.get(conn, version)
    if row is None:
        raise NotFound(f"there is no model {version}: `triage model list` shows all models")
    card = {"version": row.version, "kind": row.kind, **row.metrics}
    if as_json:
        print_json(card)
    else:
        click.echo("\n".join(_lines(card)))


def _lines(card: Mapping[str, Any]) -> Iterator[str]:
    """Yield a card as text lines: single values first, then one block for each part."""
    parts = {name: value for name, value in card.items() if isinstance(value, dict)}
    for name, value in card.items():
        if name not in parts:
            yield f"{_words(name)}: {_value(value)}"
    for name, part in parts.items():
        yield ""
        yield _words(name)
        width = max((len(key) for key in part), default=0)
        for key, value in part.items():
            yield f"  {_words(key):<{width}}  {_value(value)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: object) -> str:
    if isinstance(value, dict) and {"mean", "low", "high"} <= value.keys():
        return f"{_value(value['mean'])}  [{_value(value['low'])}, {_value(value['high'])}]"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return " ".join(_value(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


@command.command()
@click.argument("version")
def promote(version: str) -> None:
    """Make the scorer VERSION active, with the encoder with which it was trained."""
    from triage.ranking.serving.model_versions import promote_version

    app = load_app()
    promote_version(app.database, app.model_store, app.clock, version)
    click.echo(f"{version} serves now")


@command.command()
def rollback() -> None:
    """Make the previous encoder and scorer active again."""
    from triage.ranking.serving.model_versions import rollback as roll_back

    app = load_app()
    pair = roll_back(app.database, app.model_store, app.clock)
    click.echo(f"{pair.scorer.version} on {pair.encoder.version} serves again")
