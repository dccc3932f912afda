"""Searching from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner

from tests.support.factories import DAY
from tests.support.fakes import StoppedClock
from tests.support.installation import add_papers
from tests.support.topics import literature
from triage.app.application import open_app
from triage.cli import cli
from triage.errors import NotFound
from triage.ranking.serving.active_models import encode_new, ensure_active_models


@dataclass(frozen=True)
class Installation:
    config: Path

    def learn(self) -> None:
        app = open_app(self.config)
        pair = ensure_active_models(app.database, app.model_store, StoppedClock(), DAY)
        encode_new(app.database, pair.encoder)
        app.close()

    def says(self, *arguments: str, fails: bool = False) -> Any:
        command = ["--config", str(self.config), *arguments]
        ended = CliRunner().invoke(cli, command, catch_exceptions=fails)
        if fails:
            return ended
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.output) if "--json" in arguments else ended.output


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An installation with papers on four topics and no encoder yet."""
    assert CliRunner().invoke(cli, ["init", "--dir", str(tmp_path)]).exit_code == 0
    app = open_app(tmp_path / "triage.toml")
    add_papers(app.database, literature())
    app.close()
    yield Installation(tmp_path / "triage.toml")
    structlog.reset_defaults()


def test_before_any_training_words_find_papers(installation: Installation) -> None:
    rows = installation.says("search", "--json", "protein folding")
    assert rows
    assert [*rows[0]] == ["id", "date", "score", "title"]
    assert all("Protein" in row["title"] or "protein" in row["title"] for row in rows[:5])
    similar = installation.says("similar", "--json", rows[0]["id"])
    assert similar
    assert rows[0]["id"] not in [row["id"] for row in similar]


def test_words_need_no_quotes_of_the_shell(installation: Installation) -> None:
    installation.learn()
    one = installation.says("search", "--json", "protein folding")
    assert installation.says("search", "--json", "protein", "folding") == one


def test_a_search_is_a_table_with_what_names_a_paper(installation: Installation) -> None:
    lines = installation.says("search", "2603.00016").splitlines()
    assert lines[0].split() == ["id", "date", "score", "title"]
    assert lines[1].split()[:3] == ["2603.00016", "2026-03-02", "1"]
    assert literature()[15].title in lines[1]
    assert len(lines) == 2
    assert installation.says("search", "nowhere") == "no papers found\n"
    assert installation.says("search", "--json", "nowhere") == []


def test_filters_and_limit(installation: Installation) -> None:
    installation.learn()
    narrow = ("--category", "cs.RO", "--author", "robots 1", "--source", "arxiv")
    rows = installation.says("search", "study", *narrow, "--json")
    expected = {
        paper.source_id
        for paper in literature()
        if paper.categories == ("cs.RO",) and "Author Robots 1" in paper.authors
    }
    assert {row["id"] for row in rows} == expected
    assert installation.says("search", "--until", "2026-03-01", "--json", "study") == []
    assert installation.says("similar", "--since", "2026-03-03", "--json", "2603.00001") == []
    assert len(installation.says("similar", "--limit", "3", "--json", "2603.00001")) == 3


def test_more_like_several(installation: Installation) -> None:
    installation.learn()
    given = ["2603.00001", "https://arxiv.org/abs/2603.00003v1", "arXiv:2603.00009"]
    rows = installation.says("similar", *given, "--json")
    assert rows
    assert not {"2603.00001", "2603.00003", "2603.00009"} & {row["id"] for row in rows}


def test_an_unknown_paper_is_named(installation: Installation) -> None:
    ended = installation.says("similar", "2603.00001", "2603.99999", fails=True)
    assert isinstance(ended.exception, NotFound)
    assert "'2603.99999'" in str(ended.exception)


def test_what_cannot_be_asked_is_a_usage_error(installation: Installation) -> None:
    for wrong in (["--limit", "0"], ["--since", "yesterday"], ["--limit", "5000"]):
        assert installation.says("search", *wrong, "x", fails=True).exit_code == 2
    assert installation.says("search", fails=True).exit_code == 2
