"""What an operator sees of a paper that several sources have, and how they part and join it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.installation import fetched, take_in
from triage.app.application import open_app
from triage.cli import cli
from triage.errors import NotFound
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add

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


# -- what became of it -----------------------------------------------------------------------------

WHY_KEYS = ["outcome", "on", "rank", "of", "score", "reasons", "filter"]


@pytest.fixture
def with_reader(config: str) -> str:
    app = open_app(Path(config))
    wanted = SubscriberPreferences(interests="decoding", exclude_keywords=("yarn",))
    add(app.database, "ada@example.org", app.clock, wanted)
    today = app.clock.now().date()
    take_in(
        app.database,
        [
            fetched(7, title="Faster decoding of speech", listed_on=today),
            fetched(8, title="The strength of yarn", listed_on=today),
            fetched(9, title="Decoding by machines of long ago", listed_on=date(1998, 3, 2)),
        ],
    )
    app.close()
    return config


def why(config: str, id: str) -> dict[str, Any]:
    return dict(json.loads(said(config, "why", id, "ada@example.org", "--json")))


def test_a_paper_of_today_has_a_rank_before_the_first_digest(with_reader: str) -> None:
    found = why(with_reader, "2603.00007")
    assert list(found) == WHY_KEYS
    assert (found["outcome"], found["rank"], found["of"]) == ("ranked", 1, 1)
    assert 0 < found["score"] < 1
    assert found["reasons"]
    text = said(with_reader, "why", "2603.00007", "ada@example.org")
    assert text.startswith(f"not shown: rank 1 of 1 for the digest of {found['on']}, score 0.")
    assert found["reasons"][0] in text


@pytest.mark.parametrize(
    ("id", "why_not", "reason"),
    [
        ("2603.00008", "keyword", "it has the excluded keyword “yarn”"),
        ("2603.00009", "date", "it was listed on 1998-03-02"),
        ("10.1000/x", "merged", "digests show this work as 2603.00001"),
    ],
)
def test_a_filtered_paper_tells_its_filter(
    with_reader: str, id: str, why_not: str, reason: str
) -> None:
    found = why(with_reader, id)
    assert (found["outcome"], found["filter"], found["rank"]) == ("filtered", why_not, None)
    assert found["reasons"][0].startswith(reason)
    text = said(with_reader, "why", id, "ada@example.org")
    assert text.startswith(f"not shown: the filter “{why_not}” keeps it out of ")


def test_a_new_paper_by_the_subscriber_is_no_news(with_reader: str) -> None:
    ran = CliRunner().invoke(
        cli,
        ["--config", with_reader, "subscriber", "import", "ada@example.org",
         "--author", "Lovelace, Ada"],
    )  # fmt: skip
    assert ran.exit_code == 0
    app = open_app(Path(with_reader))
    today = app.clock.now().date()
    take_in(app.database, [fetched(10, authors=("Jo Doe", "Ada Lovelace"), listed_on=today),
                           fetched(11, authors=("Jo Doe",), listed_on=today)])  # fmt: skip
    app.close()
    found = why(with_reader, "2603.00010")
    assert (found["outcome"], found["filter"]) == ("filtered", "own paper")
    assert found["reasons"][0].startswith("it is by the subscriber")
    assert why(with_reader, "2603.00007")["filter"] == "seen"
    # The pool has one paper now, and its co-author is on no liked paper.
    assert why(with_reader, "2603.00011")["rank"] == 1


def test_a_shown_paper_tells_the_date_and_the_reasons(with_reader: str) -> None:
    app = open_app(Path(with_reader))
    on = app.clock.now().date()
    app.new_nightly().queue(on)
    app.close()
    found = why(with_reader, "2603.00007")
    assert (found["outcome"], found["on"], found["filter"]) == ("shown", str(on), None)
    assert found["reasons"]
    text = said(with_reader, "why", "2603.00007", "ada@example.org")
    assert text.startswith(f"shown in the digest of {on}, score 0.")


@pytest.mark.parametrize(
    ("id", "email", "error"),
    [
        ("2603.99999", "ada@example.org", "there is no paper '2603.99999'"),
        ("2603.00007", "nobody@example.org", "no such subscriber"),
    ],
)
def test_an_unknown_id_or_address_is_an_error_and_its_outcome_is_unknown(
    with_reader: str, id: str, email: str, error: str
) -> None:
    arguments = ["--config", with_reader, "papers", "why", id, email, "--json"]
    ended = CliRunner().invoke(cli, arguments)
    assert json.loads(ended.stdout) == dict.fromkeys(WHY_KEYS) | {
        "outcome": "unknown",
        "reasons": [],
    }
    assert isinstance(ended.exception, NotFound)
    assert ended.exception.exit_code == 1
    assert error in str(ended.exception)
