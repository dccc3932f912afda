"""The command line: what it prints, how it ends, and that it says what to do."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click
import pytest
import structlog

from tests.support import databases
from tests.support.databases import on_postgres
from tests.support.installation import SPOILT, spoil
from tests.support.topics import TOPICS, literature
from triage import __version__
from triage.app.application import open_app
from triage.cli import COMMANDS, cli, main
from triage.digest.nightly import Nightly
from triage.domain.records import Slate, Subscriber
from triage.store import tables

DAY = "2026-03-02"
NEXT_DAY = "2026-03-03"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    def rows(self) -> Any:
        return json.loads(self.out)


def triage(*arguments: str | Path, config: Path | None = None) -> Ended:
    """Run the program in this process."""
    where = [] if config is None else ["--config", str(config)]
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["triage", *where, *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as ended:
                code = int(ended.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    """Undo what a command sets up for its own process."""
    yield
    structlog.reset_defaults()


def papers_file(folder: Path, n: int = 60) -> Path:
    path = folder / "papers.jsonl"
    lines = [
        json.dumps(
            {
                "id": paper.source_id,
                "title": paper.title,
                "abstract": paper.abstract,
                "categories": list(paper.categories),
                "date": DAY,
            }
        )
        for paper in literature()[:n]
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """An empty installation's config file."""
    home = tmp_path / "home"
    assert triage("init", "--dir", home).code == 0
    if databases.on_postgres():
        with databases.migrated_url(home) as url:
            (home / "triage.toml").write_text(databases.config_naming(url))
            yield home / "triage.toml"
    else:
        yield home / "triage.toml"


@pytest.fixture
def filled(config: Path) -> Path:
    """The config file of an installation with papers and a subscriber."""
    for arguments in (
        ("papers", "import", papers_file(config.parent), "--date", DAY),
        ("subscriber", "add", "ada@example.org", "--interests", TOPICS["decoding"]),
    ):
        ended = triage(*arguments, config=config)
        assert ended.code == 0, ended.err
    return config


# -- help ------------------------------------------------------------------------------------------


def all_commands() -> dict[str, click.Command]:
    """Return every command by its whole name."""
    ctx = click.Context(cli)
    found = {}
    for name in COMMANDS:
        command = cli.get_command(ctx, name)
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {verb}": each for verb, each in command.commands.items()}
    return found


def test_every_command_is_explained_and_so_is_every_option() -> None:
    for name, command in all_commands().items():
        assert command.help, name
        assert command.help.splitlines()[0].rstrip().endswith((".", ":")), name
        for parameter in command.params:
            # These show their choices or their default, which says it all.
            plain = {"limit", "frequency", "detail", "states"}
            if isinstance(parameter, click.Option) and parameter.name not in plain:
                assert parameter.help, (name, parameter.name)


def test_the_table_of_commands_says_what_the_commands_say() -> None:
    def words(text: str) -> set[str]:
        return {word.strip(".,:;").lower() for word in text.split() if len(word) > 3}

    for name, command in all_commands().items():
        if name in COMMANDS:
            about = words(COMMANDS[name][1])
            shared = about & words(command.help or "")
            assert len(shared) >= len(about) / 2, (name, about, command.help)
            assert command.name == name


def test_the_program_lists_its_commands_with_what_they_do() -> None:
    ended = triage("--help")
    assert ended.code == 0
    for name, (_, about) in COMMANDS.items():
        assert any(line.split()[:1] == [name] for line in ended.out.splitlines())
        assert about in " ".join(ended.out.split())


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_noun_answers_to_help(name: str) -> None:
    ended = triage(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: triage {name}")


def test_the_version_is_printed() -> None:
    assert triage("--version").out == f"triage, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("papers", "nonsense"), ("papers", "import"), ("run", "--date", "tomorrow")],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    ended = triage(*arguments)
    assert ended.code == 2
    assert "Error: " in ended.err


# -- init and config -------------------------------------------------------------------------------


@pytest.mark.sqlite("`triage init` makes one")
def test_init_makes_an_installation_that_only_its_owner_can_read(config: Path) -> None:
    files = {path.name: path.stat().st_mode & 0o777 for path in config.parent.iterdir()}
    names = ("triage.toml", "secret_key", "triage.db", "sent.journal")
    assert files == dict.fromkeys(names, 0o600)
    assert triage("db", "check", config=config).code == 0


def everything_in(folder: Path) -> list[str]:
    """Return what an installation's files say, the database's as SQL."""
    with contextlib.closing(sqlite3.connect(folder / "triage.db")) as database:
        dump = list(database.iterdump())
    return [(folder / name).read_text() for name in ("triage.toml", "secret_key")] + dump


@pytest.mark.sqlite("`triage init` makes one")
def test_init_again_changes_nothing(config: Path) -> None:
    triage("subscriber", "add", "ada@example.org", config=config)
    config.write_text("[digest]\nsize = 7\n")
    before = everything_in(config.parent)
    ended = triage("init", "--dir", config.parent)
    assert ended.code == 0
    assert "nothing was changed" in ended.out
    assert "missing" not in ended.out
    assert everything_in(config.parent) == before


@pytest.mark.sqlite("`triage init` makes one")
def test_init_again_makes_no_new_secret_but_says_how(config: Path) -> None:
    (config.parent / "secret_key").unlink()
    ended = triage("init", "--dir", config.parent)
    assert (ended.code, ended.err) == (0, "")
    assert "nothing was changed" in ended.out
    assert f"{config.parent / 'secret_key'} is missing: restore it" in ended.out
    assert not (config.parent / "secret_key").exists()

    # What it says to run is enough.
    [command] = [line.split("`")[1] for line in ended.out.splitlines() if "openssl" in line]
    if shutil.which("openssl"):
        subprocess.run(["sh", "-c", command], check=True)
        assert (config.parent / "secret_key").stat().st_mode & 0o777 == 0o600
        assert "missing" not in triage("init", "--dir", config.parent).out


@pytest.mark.sqlite("`triage init` makes one")
def test_init_again_makes_no_new_database_but_says_how(config: Path) -> None:
    (config.parent / "triage.db").unlink()
    ended = triage("init", "--dir", config.parent)
    assert (ended.code, ended.err) == (0, "")
    assert "triage.db is missing: restore a back-up" in ended.out
    assert f"triage --config {config} db upgrade" in ended.out
    assert not (config.parent / "triage.db").exists()


@pytest.mark.sqlite("`triage init` makes one")
def test_init_again_migrates_nothing_but_says_how(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SCHEMA_REVISION", "9999")
    before = everything_in(config.parent)
    ended = triage("init", "--dir", config.parent)
    assert (ended.code, ended.err) == (0, "")
    assert "the database is at schema 1004" in ended.out
    assert f"run `triage --config {config} db upgrade`" in ended.out
    assert everything_in(config.parent) == before


def test_init_is_for_the_current_folder_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert triage("init").code == 0
    assert triage("subscriber", "list", "--json").rows() == []


def test_the_config_can_come_from_the_environment(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIAGE_CONFIG", str(config))
    assert triage("subscriber", "list").out == (
        "no subscribers yet: `triage subscriber add EMAIL`\n"
    )


def test_a_broken_config_exits_2_with_key_file_and_nearest_key(config: Path) -> None:
    config.write_text("[digest]\nscor_floor = 0.2\n")
    ended = triage("subscriber", "list", config=config)
    assert ended.code == 2
    assert ended.out == ""
    for word in (str(config), "digest.scor_floor", "did you mean `score_floor`?"):
        assert word in ended.err


def test_without_a_config_the_program_says_how_to_get_one(tmp_path: Path) -> None:
    ended = triage("run", config=tmp_path / "none.toml")
    assert ended.code == 2
    assert "run `triage init`" in ended.err


@pytest.mark.sqlite("the test removes its file")
def test_without_a_database_the_program_says_what_to_run(config: Path) -> None:
    (config.parent / "triage.db").unlink()
    ended = triage("subscriber", "list", config=config)
    assert ended.code == 1
    assert "run `triage db upgrade`" in ended.err
    assert triage("db", "upgrade", config=config).code == 0
    assert triage("subscriber", "list", config=config).code == 0


def test_upgrading_at_the_newest_schema_changes_nothing(config: Path) -> None:
    ended = triage("db", "upgrade", config=config)
    assert ended.code == 0
    assert ended.out.endswith("already\n")


# -- papers ----------------------------------------------------------------------------------------


def test_importing_ends_with_one_line_that_counts(config: Path) -> None:
    path = papers_file(config.parent, 5)
    path.write_text(path.read_text() + '\n{"title": "no abstract"}\n')
    for counted in ("read 6, stored 5, known 0", "read 6, stored 0, known 5"):
        ended = triage("papers", "import", path, config=config)
        assert (ended.code, ended.out) == (0, f"{counted}, quarantined 1\n")
        assert ended.err == "triage: file:papers.jsonl line 6: it has no id\n"


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_imported(config: Path) -> None:
    missing = config.parent / "missing.jsonl"
    good = papers_file(config.parent, 5)
    ended = triage("papers", "import", missing, good, config=config)
    assert (ended.code, ended.out) == (3, "read 5, stored 5, known 0, quarantined 0\n")
    assert "missing.jsonl does not exist" in ended.err

    ended = triage("papers", "import", missing, config=config)
    assert (ended.code, ended.out) == (1, "read 0, stored 0, known 0, quarantined 0\n")


def test_a_paper_is_shown_under_any_of_its_names(filled: Path) -> None:
    wanted = literature()[0]
    for name in (str(wanted.source_id), f"https://arxiv.org/abs/{wanted.source_id}"):
        [row] = triage("papers", "show", name, "--json", config=filled).rows()
        assert (row["id"], row["title"]) == (wanted.source_id, wanted.title)
    assert wanted.title in triage("papers", "show", str(wanted.source_id), config=filled).out


def test_an_unknown_paper_exits_1_and_says_how_papers_come_in(filled: Path) -> None:
    ended = triage("papers", "show", "2401.99999", config=filled)
    assert ended.code == 1
    assert "triage papers import" in ended.err


# -- subscribers -----------------------------------------------------------------------------------


def test_a_subscriber_is_listed_as_promised(filled: Path) -> None:
    assert triage("subscriber", "list", "--json", config=filled).rows() == [
        {
            "email": "ada@example.org",
            "state": "active",
            "zone": "UTC",
            "hour": 7,
            "frequency": "daily",
            "paused_until": None,
            "last_digest": None,
            "n_votes": 0,
        }
    ]


def test_a_subscriber_is_added_with_all_their_wishes(filled: Path) -> None:
    likes = [str(paper.source_id) for paper in literature()[:2]]
    ended = triage(
        *("subscriber", "add", "Ben@Example.org", "--interests", "robots", "--hour", "18"),
        *("--category", "cs.RO", "--category", "cs.LG", "--like", likes[0], "--like", likes[1]),
        *("--zone", "Europe/Berlin", "--frequency", "weekly", "--detail", "tldr"),
        *("--follow", "Ada Lovelace", "--include", "gripper", "--exclude", "protein"),
        config=filled,
    )
    assert (ended.code, ended.out) == (0, "added\n")
    [row] = triage("subscriber", "show", "ben@example.org", "--json", config=filled).rows()
    assert row["categories"] == ["cs.RO", "cs.LG"]
    assert (row["zone"], row["hour"], row["frequency"]) == ("Europe/Berlin", 18, "weekly")
    assert (row["detail"], row["n_votes"]) == ("tldr", 2)
    assert {"id", "public_id"}.isdisjoint(row)


def test_a_known_address_is_not_added_again(filled: Path) -> None:
    ended = triage("subscriber", "add", "ADA@example.org", config=filled)
    assert ended.code == 0
    assert "nothing was changed" in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("not an address",), "not a mail address"),
        (("b@example.org", "--zone", "Europe/Berlim"), "did you mean 'Europe/Berlin'?"),
        (("b@example.org", "--hour", "24"), "from 0 to 23"),
        (("b@example.org", "--category", "no such"), "cs.CL"),
    ],
)
def test_a_wrong_wish_exits_2_and_adds_nobody(
    filled: Path, arguments: tuple[str, ...], words: str
) -> None:
    ended = triage("subscriber", "add", *arguments, config=filled)
    assert ended.code == 2
    assert words in ended.err
    assert len(triage("subscriber", "list", "--json", config=filled).rows()) == 1


def test_an_unknown_like_exits_1_and_adds_nobody(filled: Path) -> None:
    ended = triage("subscriber", "add", "b@example.org", "--like", "attention", config=filled)
    assert ended.code == 1
    assert "triage papers import" in ended.err
    assert len(triage("subscriber", "list", "--json", config=filled).rows()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("subscriber", "show"),
        ("subscriber", "pause"),
        ("subscriber", "resume"),
        ("subscriber", "erase", "--yes"),
        ("subscriber", "interests"),
        ("digest", "preview"),
        ("digest", "show"),
        ("run", "--subscriber"),
    ],
)
def test_an_unknown_subscriber_exits_1_and_says_where_to_look(
    filled: Path, arguments: tuple[str, ...]
) -> None:
    ended = triage(*arguments, "nobody@example.org", config=filled)
    assert ended.code == 1
    assert ended.out == ""
    assert "`triage subscriber list`" in ended.err
    # Addresses stay out of what may be logged.
    assert "nobody@example.org" not in ended.err


def test_interests_are_listed_muted_paused_and_woken(filled: Path) -> None:
    def said(verb: str, *arguments: str) -> str:
        return triage("subscriber", verb, "ada@example.org", *arguments, config=filled).out

    (row,) = triage("subscriber", "interests", "ada@example.org", "--json", config=filled).rows()
    assert (row["number"], row["name"], row["share"], row["state"]) == (
        1, TOPICS["decoding"][:60], 1, "live",
    )  # fmt: skip
    assert said("mute", "1").startswith("muted: ")
    (row,) = triage("subscriber", "interests", "ada@example.org", "--json", config=filled).rows()
    assert (row["share"], row["state"]) == (0, "muted")
    assert said("mute", "1", "--until", "2026-04-01").startswith("paused until 2026-04-01: ")
    assert said("unmute", "1").startswith("live again: ")
    assert triage("subscriber", "mute", "ada@example.org", "9", config=filled).code == 1


def test_pausing_and_resuming_say_what_they_did(filled: Path) -> None:
    said = [
        triage("subscriber", verb, "ada@example.org", config=filled).out
        for verb in ("pause", "pause", "resume", "resume")
    ]
    assert said == [
        "paused\n",
        "nothing was being sent: nothing was changed\n",
        "active again\n",
        "active already: nothing was changed\n",
    ]


def test_erasing_asks_first(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert triage("subscriber", "erase", "ada@example.org", config=filled).code == 1
    assert len(triage("subscriber", "list", "--json", config=filled).rows()) == 1
    ended = triage("subscriber", "erase", "ada@example.org", "--yes", config=filled)
    assert (ended.code, ended.out) == (0, "erased\n")
    assert triage("subscriber", "list", "--json", config=filled).rows() == []


# -- the day ---------------------------------------------------------------------------------------


def test_a_run_makes_each_digest_once_and_tells_of_it(filled: Path) -> None:
    first = triage("run", "--date", DAY, config=filled)
    assert first.code == 0, first.err
    assert first.out == (
        f"{DAY}: 1 made, 0 without papers, 1 sent, 0 put off, 0 failed, 0 cancelled\n"
    )
    second = triage("run", "--date", DAY, config=filled)
    assert (second.code, second.out.split(",")[0]) == (0, f"{DAY}: 0 made")

    [message] = triage("outbox", "list", "--json", config=filled).rows()
    assert set(message) >= {"message_id", "subscriber", "on", "state", "attempts", "last_reply"}
    assert (message["subscriber"], message["on"]) == ("ada@example.org", DAY)
    assert (message["state"], message["attempts"]) == ("sent", 1)
    assert triage("outbox", "list", "--state", "failed", config=filled).out == "no messages\n"

    [digest] = triage("digest", "list", "--json", config=filled).rows()
    assert (digest["on"], digest["email"]) == (DAY, "ada@example.org")
    shown = triage("digest", "show", "ada@example.org", "--date", DAY, config=filled)
    assert "ranked by pre-" in shown.out
    assert triage("outbox", "drain", config=filled).code == 0


def test_a_run_without_papers_says_how_they_come_in(config: Path) -> None:
    triage("subscriber", "add", "ada@example.org", config=config)
    ended = triage("run", "--date", DAY, config=config)
    assert ended.code == 1
    assert "triage papers import" in ended.err


def test_a_dry_run_without_papers_says_how_they_come_in(config: Path) -> None:
    triage("subscriber", "add", "ada@example.org", config=config)
    ended = triage("run", "--date", DAY, "--dry-run", config=config)
    assert ended.code == 1
    assert "triage papers import" in ended.err


@pytest.mark.skipif(on_postgres(), reason="PostgreSQL refuses such values itself")
@pytest.mark.parametrize("trouble", ["JSON that ends early", "an unknown detail", "hour in words"])
def test_a_row_that_cannot_be_read_stops_no_command(filled: Path, trouble: str) -> None:
    triage("subscriber", "add", "ben@example.org", config=filled)
    app = open_app(filled)
    spoil(app.database, "ben@example.org", *SPOILT[trouble])
    app.close()
    dry = triage("run", "--date", DAY, "--dry-run", config=filled)
    assert dry.code == 0
    assert "ada@example.org: " in dry.out
    listed = triage("subscriber", "list", "--json", config=filled)
    assert [row["email"] for row in listed.rows()] == ["ada@example.org"]
    assert "ben@example.org: the row in the database cannot be read" in listed.err
    shown = triage("subscriber", "show", "ben@example.org", config=filled)
    assert shown.code == 1
    assert "`triage doctor` names it" in shown.err
    assert triage("report", "--to", filled.parent / "r.html", config=filled).code == 0
    assert triage("run", "--date", DAY, config=filled).code == 0
    [sent] = triage("outbox", "list", "--json", config=filled).rows()
    assert sent["subscriber"] == "ada@example.org"
    audited = triage("audit", config=filled)
    assert audited.code == 1
    assert "ben@example.org: the row in the database cannot be read" in audited.err
    erased = triage("subscriber", "erase", "ben@example.org", "--yes", config=filled)
    assert erased.code == 0, erased.err
    assert triage("audit", config=filled).code == 0


def test_a_model_that_fails_for_one_stops_no_preview_of_the_others(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    triage("subscriber", "add", "ben@example.org", config=filled)
    preview = Nightly.preview

    def fails_for_ada(self: Nightly, subscriber: Subscriber, on: date) -> Slate:
        if subscriber.email == "ada@example.org":
            raise ValueError("a model of another shape")
        return preview(self, subscriber, on)

    monkeypatch.setattr(Nightly, "preview", fails_for_ada)
    dry = triage("run", "--date", DAY, "--dry-run", config=filled)
    assert dry.code == 3
    assert dry.out.startswith("ben@example.org: ")
    assert "no preview: a model of another shape" in dry.err


def test_a_dry_run_and_a_preview_store_no_digest(filled: Path) -> None:
    dry = triage("run", "--date", DAY, "--dry-run", config=filled)
    assert dry.code == 0
    assert dry.out.startswith("ada@example.org: ")
    preview = triage("digest", "preview", "ada@example.org", "--date", DAY, config=filled)
    assert preview.code == 0
    eml = filled.parent / "digest.eml"
    arguments = ("digest", "preview", "ada@example.org", "--date", DAY, "--to", eml)
    assert triage(*arguments, config=filled).out == f"wrote {eml}\n"
    assert b"ada@example.org" in eml.read_bytes()
    assert triage("digest", "list", "--json", config=filled).rows() == []
    assert triage("outbox", "list", "--json", config=filled).rows() == []


def test_a_digest_that_was_not_made_exits_1(filled: Path) -> None:
    ended = triage("digest", "show", "ada@example.org", "--date", NEXT_DAY, config=filled)
    assert ended.code == 1
    assert "triage digest list" in ended.err


# -- feedback and models ---------------------------------------------------------------------------


def votes_file(folder: Path, *rows: dict[str, str]) -> Path:
    path = folder / "votes.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def vote(n: int, **fields: str) -> dict[str, str]:
    paper_id = str(literature()[n].source_id)
    return {
        "subscriber": "ada@example.org",
        "paper_id": paper_id,
        "kind": "vote_up",
        "at": f"{DAY}T09:00:00Z",
    } | fields


def test_votes_are_imported_listed_and_exported(filled: Path) -> None:
    path = votes_file(filled.parent, vote(0), vote(1, kind="save"))
    for counted in ("read 2, stored 2, known 0", "read 2, stored 0, known 2"):
        ended = triage("feedback", "import", path, config=filled)
        assert (ended.code, ended.out) == (0, f"{counted}, refused 0\n")
    rows = triage("feedback", "list", "--json", config=filled).rows()
    assert {row["kind"] for row in rows} == {"vote_up", "save"}
    for row in rows:
        paper = triage("papers", "show", row["paper_id"], "--json", config=filled).rows()[0]
        assert (paper["id"], paper["title"]) == (row["paper_id"], row["title"])
    exported = triage("feedback", "export", config=filled).out.splitlines()
    assert [json.loads(line)["kind"] for line in exported] == ["vote_up", "save"]


def test_bad_votes_are_named_by_line_and_the_rest_is_stored(filled: Path) -> None:
    path = votes_file(filled.parent, vote(0), vote(1, kind="adore"))
    ended = triage("feedback", "import", path, config=filled)
    assert (ended.code, ended.out) == (3, "read 2, stored 1, known 0, refused 1\n")
    assert ended.err.startswith("triage: line 2: kind is 'adore'")
    path = votes_file(filled.parent, vote(1, subscriber="nobody@example.org"))
    assert triage("feedback", "import", path, config=filled).code == 1


def test_training_without_votes_exits_1_and_says_what_it_takes(filled: Path) -> None:
    ended = triage("train", config=filled)
    assert ended.code == 1
    assert "nobody has voted on a digest yet" in ended.err


def test_models_are_listed_shown_and_not_rolled_back_past_the_first(filled: Path) -> None:
    assert "no models yet" in triage("model", "list", config=filled).out
    triage("run", "--date", DAY, config=filled)
    [encoder] = triage("model", "list", "--json", config=filled).rows()
    assert (encoder["kind"], encoder["serves"]) == ("encoder", True)
    card = triage("model", "show", encoder["version"], "--json", config=filled).rows()
    assert (card["kind"], card["n_papers"]) == ("encoder", 60)
    assert "serving: pre-" in triage("model", "list", config=filled).out
    for arguments, words in (
        (("model", "show", "none"), "`triage model list`"),
        (("model", "promote", "none"), "`triage model list`"),
        (("model", "rollback"), "nothing served before"),
    ):
        ended = triage(*arguments, config=filled)
        assert ended.code == 1
        assert words in ended.err


@pytest.mark.parametrize(
    "noun",
    ["subscriber", "digest", "outbox", "bounces", "feedback", "model"],
    ids=lambda noun: str(noun),
)
def test_every_list_is_json_when_asked_and_says_when_it_is_empty(config: Path, noun: str) -> None:
    assert triage(noun, "list", "--json", config=config).rows() == []
    assert triage(noun, "list", config=config).out.startswith("no ")


# -- as a process of its own -----------------------------------------------------------------------


def test_a_closed_pipe_is_quiet(config: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "triage", "--config", str(config), "subscriber", "list"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert ended.stderr == ""


def test_errors_go_to_stderr_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "triage", "--config", str(tmp_path / "none.toml"), "run"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("triage: ")
    assert len(ended.stderr.splitlines()) == 1
