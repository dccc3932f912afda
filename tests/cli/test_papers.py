"""What an operator sees of a paper that several sources have, and how they part and join it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.installation import fetched, take_in
from triage.app.application import open_app
from triage.cli import cli

ABSTRACT = (
    "We study drafts of length one. They make decoding faster at no loss, as nine experiments with"
    " large and small models on three kinds of machines show beyond all doubt."
)
PREPRINT = fetched(1, abstract=ABSTRACT)
ARTICLE = replace(PREPRINT, source="doi", source_id="10.1000/x", version=None, venue="Letters")


@pytest.fixture
def config(tmp_path: Path) -> str:
    CliRunner().invoke(cli, ["init", "--dir", str(tmp_path)], catch_exceptions=False)
    app = open_app(tmp_path / "triage.toml")
    take_in(app.database, [PREPRINT], origin="arxiv")
    take_in(app.database, [ARTICLE], origin="crossref")
    app.close()
    return str(tmp_path / "triage.toml")


def said(config: str, *arguments: str, code: int = 0) -> str:
    ended = CliRunner().invoke(cli, ["--config", config, "papers", *arguments])
    assert ended.exit_code == code, ended.output
    return ended.output


def shown(config: str, id: str) -> dict[str, str]:
    [row] = json.loads(said(config, "show", id, "--json"))
    return dict(row)


def test_a_paper_tells_under_which_ids_it_is_known_and_why(config: str) -> None:
    for id in ("2603.00001", "10.1000/x"):
        row = shown(config, id)
        assert row["id"] == "2603.00001"
        assert row["venue"] == "Letters"
        assert row["known as"] == (
            "arxiv:2603.00001; doi:10.1000/x (title, authors and abstract are the same)"
        )
        assert [part.split(" ")[0] for part in row["origins"].split("; ")] == ["arxiv", "crossref"]
    assert "known as   arxiv:2603.00001; doi:10.1000/x" in said(config, "show", "2603.00001")


def test_a_paper_is_parted_and_joined_again(config: str) -> None:
    assert said(config, "split", "10.1000/x") == "parted from 1\n"
    assert shown(config, "2603.00001")["known as"] == "arxiv:2603.00001"
    assert shown(config, "10.1000/x")["id"] == "10.1000/x"
    assert "nothing was changed" in said(config, "split", "10.1000/x")
    assert said(config, "merge", "10.1000/x", "2603.00001") == "merged\n"
    assert "said so by hand" in shown(config, "10.1000/x")["known as"]
    assert "nothing was changed" in said(config, "merge", "10.1000/x", "2603.00001")


@pytest.mark.parametrize("arguments", [("split", "2603.9"), ("merge", "2603.00001", "10.1/none")])
def test_what_is_not_stored_is_said(config: str, arguments: tuple[str, ...]) -> None:
    assert "no paper" in str(
        CliRunner().invoke(cli, ["--config", config, "papers", *arguments]).exception
    )
