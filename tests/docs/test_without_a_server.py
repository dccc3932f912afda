"""What `docs/without-a-server.md` shows works as it stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from triage.cli import cli
from triage.delivery.bounces.classify import Kind
from triage.settings import load_settings


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/without-a-server.md").read_text("utf-8")


def blocks(page: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def test_the_settings_are_valid_and_ask_for_votes_by_mail(page: str, tmp_path: Path) -> None:
    [shown] = blocks(page, "toml")
    (tmp_path / "triage.toml").write_text(shown)
    settings = load_settings(tmp_path / "triage.toml")
    assert settings.mail.votes == "mailto"
    assert settings.mail.bounces
    assert settings.bounces.imap_host


def test_every_command_exists_with_its_options(page: str) -> None:
    shown = re.findall(r"^```\w*\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    shown += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page)
    pattern = re.compile(r"(?:^ *|&& \S*/|\| )triage ([a-z][^\n#|>]*)", re.MULTILINE)
    found = [words for each in shown for words in pattern.findall(each)]
    assert len(found) >= 12
    for words in found:
        command: click.Command = cli
        for word in words.split():
            if isinstance(command, click.Group):
                assert word in command.list_commands(click.Context(command)), words
                command = command.get_command(click.Context(command), word)  # type: ignore[assignment]
            elif word.startswith("--"):
                names = {name for each in command.params for name in each.opts}
                assert word in names, words


def test_the_kinds_and_reasons_are_those_of_the_program(page: str, root: Path) -> None:
    kinds = set(re.findall(r"\| `(\w+)`", page))
    assert kinds == {"vote", "ignored_vote", "auto_reply", "forged"} <= set(Kind)
    program = (root / "triage/delivery/bounces/intake.py").read_text("utf-8")
    reasons = re.findall(r'`ignored_vote`, "([^"]+)"', page)
    assert len(reasons) == 4
    for reason in reasons:
        assert f'"{reason}"' in program


def workflow(page: str) -> dict[Any, Any]:
    [shown] = blocks(page, "yaml")
    parsed: dict[Any, Any] = pytest.importorskip("yaml").safe_load(shown)
    return parsed


def test_the_workflow_never_stores_what_it_did_not_load(page: str) -> None:
    steps = workflow(page)["jobs"]["digest"]["steps"]
    names = [step.get("name", step.get("uses", step.get("run"))) for step in steps]
    assert names.index("Load the artefact") < names.index("Read votes and send")
    for step in steps[-2:]:
        assert "always()" in step["if"]
        assert "steps.load.outcome == 'success'" in step["if"]
    shown = blocks(page, "yaml")[0]
    assert "secrets." not in "".join(step.get("run", "") for step in steps), (
        "no secret in a command"
    )
    assert shown.count("${{ secrets.") == 4


@pytest.mark.skipif(shutil.which("gpg") is None, reason="there is no gpg")
def test_what_the_workflow_stores_is_what_it_loads_and_nobody_can_read_it(
    page: str, tmp_path: Path
) -> None:
    steps = {step.get("name"): step for step in workflow(page)["jobs"]["digest"]["steps"]}
    (tmp_path / "triage.db").write_text("ada@home.example")
    (tmp_path / "triage.db-wal").write_text("more")
    (tmp_path / "sent.journal").write_text("sent")
    (tmp_path / "models").mkdir()
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)

    def run(script: str, passphrase: str) -> int:
        return subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=tmp_path,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "GNUPGHOME": str(home),
                "STATE_PASSPHRASE": passphrase,
            },
            capture_output=True,
        ).returncode

    assert run(steps["Encrypt the artefact"]["run"], "right") == 0
    stored = (tmp_path / "state.tar.gpg").read_bytes()
    assert b"ada@home.example" not in stored
    for path in (*tmp_path.glob("triage.db*"), tmp_path / "sent.journal"):
        path.unlink()
    load = "\n".join(
        line for line in steps["Load the artefact"]["run"].splitlines() if "gh " not in line
    )
    assert run(load, "wrong") != 0
    assert not (tmp_path / "triage.db").exists()
    assert run(load, "right") == 0
    assert (tmp_path / "triage.db").read_text() == "ada@home.example"
    assert (tmp_path / "sent.journal").read_text() == "sent"
