"""The commands that take a reader's library in and give out what is theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import triage

LIBRARY = """@misc{a, title={One of them}, author={Curie, Marie}, eprint={1706.03762},
 abstract={We propose it.}}
@misc{b, eprint={2501.00001}}
@book{c, title={Of Mice and Men}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    assert triage("init", "--dir", tmp_path).code == 0
    config = tmp_path / "triage.toml"
    assert triage("subscriber", "add", "ada@example.org", config=config).code == 0
    return config


def test_a_library_goes_in_and_comes_out(config: Path) -> None:
    file = config.parent / "mine.bib"
    file.write_text(LIBRARY)
    ended = triage("subscriber", "import", "ada@example.org", file, config=config)
    assert ended.code == 3
    assert ended.out == ("mine.bib: read 3, recognised 2: new likes 1, known 0, waiting 1\n")
    assert "mine.bib line 4, c “Of Mice and Men”: it has no arXiv id" in ended.err
    for form, sign in [("bibtex", "@misc{"), ("ris", "TY  - "), ("json", "[\n"), ("csv", "liked")]:
        out = triage("feedback", "export", "ada@example.org", "--format", form, config=config)
        assert out.code == 0
        assert out.out.startswith(sign)
        assert "1706.03762" in out.out
    own = triage(
        "subscriber", "import", "ada@example.org", "--author", "Marie Curie", config=config
    )
    assert (own.code, own.out) == (
        0, "Marie Curie: read 1, recognised 1: new likes 0, known 1, waiting 0\n",
    )  # fmt: skip
    assert '"kind": "vote_up"' in triage("feedback", "export", config=config).out
    person = json.loads(triage("subscriber", "export", "ada@example.org", config=config).out)
    assert person["tables"]["events"][0]["evidence"] == {"method": "library"}


def test_a_list_of_own_works_marks_its_papers(config: Path) -> None:
    file = config.parent / "works.bib"
    file.write_text(LIBRARY)
    triage("subscriber", "import", "ada@example.org", "--own", file, config=config)
    person = json.loads(triage("subscriber", "export", "ada@example.org", config=config).out)
    [event] = person["tables"]["events"]
    assert event["evidence"] == {"method": "own papers", "own": ""}
    wrong = triage("subscriber", "import", "ada@example.org", "--own", config=config)
    assert wrong.code == 2


def test_wrong_usage_is_said(config: Path) -> None:
    assert triage("subscriber", "import", "ada@example.org", config=config).code == 2
    assert triage("feedback", "export", "--format", "ris", config=config).code == 2
    assert triage("subscriber", "export", "nobody@example.org", config=config).code == 1
    nothing = config.parent / "none.txt"
    nothing.write_text("The Art of Computer Programming\n")
    assert triage("subscriber", "import", "ada@example.org", nothing, config=config).code == 1


def test_a_feed_is_made_shown_and_revoked(config: Path) -> None:
    first = triage("subscriber", "feed", "ada@example.org", config=config).out
    assert [line.rpartition(".")[2] for line in first.split()] == ["atom", "json"]
    assert triage("subscriber", "feed", "ada@example.org", config=config).out == first
    gone = triage("subscriber", "feed", "ada@example.org", "--revoke", config=config)
    assert gone.out == "revoked\n"
    assert triage("subscriber", "feed", "ada@example.org", config=config).out != first


def test_who_is_erased_is_nowhere_in_the_folder(config: Path) -> None:
    file = config.parent / "triage.db"
    assert triage("subscriber", "erase", "ada@example.org", "--yes", config=config).code == 0
    assert b"ada@example.org" not in file.read_bytes()
    assert triage("db", "compact", config=config).code == 0
