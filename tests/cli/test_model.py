"""A model's card, as an operator reads it and as a program does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.factories import NOON
from triage import store
from triage.app.application import open_app
from triage.cli import cli

CARD = {
    "taught_until": "2026-03-09",
    "promoted": True,
    "challenger_ndcg": 0.91234,
    "serving_ndcg": None,
    "looked_at": [1.0, 0.5],
    "ndcg_at_10": {"challenger": {"mean": 0.912, "low": 0.9, "high": None}},
    "parameters": {"trees": 20, "objective": "lambdarank"},
}


@pytest.fixture
def config(tmp_path: Path) -> str:
    """An installation that knows one model, and one whose files are gone."""
    CliRunner().invoke(cli, ["init", "--dir", str(tmp_path)], catch_exceptions=False)
    app = open_app(tmp_path / "triage.toml")
    with app.database.write() as conn:
        for version in ("lm-new", "lm-old"):
            store.model_versions.add(conn, version, "scorer", "enc-1", CARD, NOON)
        store.model_versions.mark_deleted(conn, "lm-old", NOON)
    app.close()
    return str(tmp_path / "triage.toml")


def said(config: str, *arguments: str) -> str:
    ended = CliRunner().invoke(cli, ["--config", config, "model", *arguments])
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_a_card_is_printed_to_be_read(config: str) -> None:
    lines = [" ".join(line.split()) for line in said(config, "show", "lm-new").splitlines()]
    for line in (
        "version: lm-new",
        "promoted: yes",
        "challenger ndcg: 0.912",
        "serving ndcg: unknown",
        "looked at: 1.000 0.500",
        "challenger 0.912 [0.900, unknown]",
        "objective lambdarank",
    ):
        assert line in lines


def test_a_card_is_json_when_asked(config: str) -> None:
    shown = json.loads(said(config, "show", "lm-new", "--json"))
    assert shown == {"version": "lm-new", "kind": "scorer", **CARD}


def test_the_list_tells_whose_files_are_gone(config: str) -> None:
    rows = {row["version"]: row["kept"] for row in json.loads(said(config, "list", "--json"))}
    assert rows == {"lm-new": True, "lm-old": False}
    assert json.loads(said(config, "show", "lm-old", "--json"))["deleted_at"] == NOON.isoformat()
