"""`triage subscriber add|change|pause`: each reader's own schedule, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.doctor_world import installation
from triage.cli import cli
from triage.errors import TriageError

ADA = "ada@example.org"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    installation(tmp_path)
    return tmp_path


def triage(folder: Path, *arguments: str, exit_code: int = 0) -> str:
    command = ["--config", str(folder / "triage.toml"), "subscriber", *arguments]
    result = CliRunner().invoke(cli, command)
    if isinstance(result.exception, TriageError):
        assert result.exception.exit_code == exit_code
        return str(result.exception)
    assert result.exit_code == exit_code, result.output
    return result.output


def shown(folder: Path) -> dict[str, Any]:
    [row] = json.loads(triage(folder, "show", ADA, "--json"))
    return dict(row)


def test_a_schedule_is_chosen_at_the_start_and_changed_later(folder: Path) -> None:
    triage(folder, "add", ADA, "--weekdays", "mon,tue", "--size", "5", "--score-floor", "0.3",
           "--recap", "--category", "cs.CL")  # fmt: skip
    chosen = shown(folder)
    assert chosen["weekdays"] == ["mon", "tue"]
    assert (chosen["size"], chosen["score_floor"], chosen["recap"]) == (5, 0.3, True)

    said = triage(folder, "change", ADA, "--hour", "6", "--weekdays", "all", "--size", "default",
                  "--no-recap")  # fmt: skip
    assert said == "changed: hour, weekdays, size, recap\n"
    changed = shown(folder)
    assert len(changed["weekdays"]) == 7
    assert (changed["hour"], changed["size"], changed["recap"]) == (6, None, False)
    assert (changed["score_floor"], changed["categories"]) == (0.3, ["cs.CL"])

    triage(folder, "change", ADA, "--category", "", "--interests", "")
    assert shown(folder)["categories"] == []


def test_a_length_is_a_name_for_a_floor(folder: Path) -> None:
    triage(folder, "add", ADA, "--length", "likely")
    assert (shown(folder)["length"], shown(folder)["score_floor"]) == ("likely", 0.1)
    assert triage(folder, "change", ADA, "--length", "all") == "changed: length\n"
    assert (shown(folder)["length"], shown(folder)["score_floor"]) == ("all", 0.0)
    triage(folder, "change", ADA, "--score-floor", "0.3")
    assert (shown(folder)["length"], shown(folder)["score_floor"]) == (None, 0.3)
    triage(folder, "change", ADA, "--length", "more")
    assert shown(folder)["length"] == "more"
    triage(folder, "change", ADA, "--length", "default")
    assert shown(folder)["score_floor"] is None


def test_a_length_and_a_floor_at_once_are_refused(folder: Path) -> None:
    triage(folder, "add", ADA)
    both = ("--length", "all", "--score-floor", "0.3")
    assert "a length is a floor" in triage(folder, "change", ADA, *both, exit_code=2)


def test_who_is_paused_until_a_date_stays_active(folder: Path) -> None:
    triage(folder, "add", ADA)
    assert triage(folder, "pause", ADA, "--until", "2099-03-01") == "paused until 2099-03-01\n"
    assert (shown(folder)["state"], shown(folder)["paused_until"]) == ("active", "2099-03-01")
    assert triage(folder, "resume", ADA) == "active again\n"
    assert shown(folder)["paused_until"] is None
    triage(folder, "pause", ADA, "--until", "2001-01-01", exit_code=2)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--weekdays", "mon,funday"], "'funday' is not a day"),
        (["--size", "many"], "neither a number nor"),
        (["--size", "61"], "1 to 60"),
        (["--score-floor", "1"], "from 0 to"),
        ([], "give at least one option"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    folder: Path, options: list[str], why: str
) -> None:
    triage(folder, "add", ADA)
    before = shown(folder)
    assert why in triage(folder, "change", ADA, *options, exit_code=2)
    assert shown(folder) == before


@pytest.mark.parametrize(
    ("email", "says"),
    [
        ("käse@example.org", "the part before the @ has characters outside ASCII"),
        ("почта@почта.рф", "the part before the @ has characters outside ASCII"),
        ("o’brien@example.org", "the part before the @ has characters outside ASCII"),
        (f"u@{'a.' * 90}example.org", "the domain has more than 185 characters"),
        ("u@aא.example", "this is not a mail address"),
    ],
)
def test_an_address_that_no_mail_can_go_to_is_refused(folder: Path, email: str, says: str) -> None:
    assert says in triage(folder, "add", email, exit_code=2)
    assert "no subscribers yet" in triage(folder, "list")


@pytest.mark.parametrize("first", ["u@bücher.example", "u@xn--bcher-kva.example"])
def test_an_international_domain_may_be_typed_in_both_forms(folder: Path, first: str) -> None:
    assert triage(folder, "add", first) == "added\n"
    for form in ("u@bücher.example", "U@XN--BCHER-KVA.example"):
        assert "nothing was changed" in triage(folder, "add", form)
        assert triage(folder, "change", form, "--hour", "6") == "changed: hour\n"
    [row] = json.loads(triage(folder, "list", "--json"))
    assert row["email"] == "u@xn--bcher-kva.example"
    triage(folder, "erase", "u@bücher.example", "--yes")
    assert "no subscribers yet" in triage(folder, "list")
