"""`triage subscriber add|change|pause`: each reader's own schedule, from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.doctor_world import installation
from tests.support.factories import DAY, NOON, impression, paper, slate
from tests.support.installation import add_papers, empty_slate, queue
from triage import store
from triage.app.application import open_app
from triage.cli import cli
from triage.domain.records import EventKind, MessageState, Origin
from triage.errors import TriageError
from triage.subscribers.subscriptions import find

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


# -- many at once ----------------------------------------------------------------------------------


PEOPLE = (
    "email;interests;category;hour\n"
    "ada@example.org;knitting;cs.CL cs.LG;6\n"
    "ben@example;;;\n"
    "chen@example.org;;;25\n"
    "dia@example.org;;;\n"
    "Dia@example.org;;;\n"
)


def people(folder: Path, text: str = PEOPLE) -> str:
    path = folder / "people.csv"
    path.write_bytes(text.encode("utf-16"))
    return str(path)


def test_people_are_added_from_a_table_and_refused_lines_are_named(folder: Path) -> None:
    said = triage(folder, "add", "--from", people(folder), exit_code=3)
    assert said.endswith("added 2, known already 1, refused 2\n")
    assert "line 3: this is not a mail address" in said
    assert "line 4: the hour is 25" in said
    rows = json.loads(triage(folder, "list", "--json"))
    assert [row["email"] for row in rows] == [ADA, "dia@example.org"]
    assert (shown(folder)["categories"], shown(folder)["hour"]) == (["cs.CL", "cs.LG"], 6)
    assert shown(folder)["interests"] == "knitting"
    again = triage(folder, "add", "--from", people(folder), exit_code=3)
    assert again.endswith("added 0, known already 3, refused 2\n")


def test_a_dry_run_says_the_same_and_adds_nobody(folder: Path) -> None:
    said = triage(folder, "add", "--from", people(folder), "--dry-run", exit_code=3)
    assert said.endswith("would be added 2, known already 1, refused 2\n")
    assert "line 3: " in said
    assert "no subscribers yet" in triage(folder, "list")


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_an_unknown_like_or_a_blocked_address_refuses_its_line(
    folder: Path, options: list[str]
) -> None:
    app = open_app(folder / "triage.toml")
    with app.database.write() as conn:
        store.suppressions.add(conn, app.address_hash("ben@example.org"), "complaint", NOON)
    app.close()
    table = "email,like\nada@example.org,attention\nben@example.org,\n"
    said = triage(folder, "add", "--from", people(folder, table), *options, exit_code=1)
    assert "line 2: no paper 'attention': import the papers first" in said
    assert "line 3: this address is suppressed (complaint)" in said
    assert said.endswith("added 0, known already 0, refused 2\n")
    assert "no subscribers yet" in triage(folder, "list")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name one EMAIL, or use --from"),
        (["ben@example.org", "--dry-run"], "name one EMAIL, or use --from"),
        (["ben@example.org", "--from", "FILE"], "from the file alone"),
        (["--hour", "6", "--from", "FILE"], "from the file alone"),
        (["--from", "nothing.csv"], "No such file"),
    ],
)
def test_a_table_is_not_mixed_with_one_person(
    folder: Path, arguments: list[str], says: str
) -> None:
    path = people(folder)
    said = triage(folder, "add", *(path if each == "FILE" else each for each in arguments),
                  exit_code=2)  # fmt: skip
    assert says in said
    assert "no subscribers yet" in triage(folder, "list")


def test_the_list_shows_the_pause_the_last_digest_and_the_votes(folder: Path) -> None:
    triage(folder, "add", ADA)
    triage(folder, "add", "ben@example.org")
    triage(folder, "pause", ADA, "--until", "2099-03-01")
    app = open_app(folder / "triage.toml")
    papers = add_papers(app.database, [paper(1), paper(2)])
    ada = find(app.database, ADA)
    shown_papers = (impression(1, paper=papers[0]),)
    queue(app.database, slate(0, public_id=f"{1:020x}", subscriber=ada, impressions=shown_papers))
    queue(app.database, empty_slate(ada, 2, on=DAY + timedelta(days=1)))
    with app.database.write() as conn:
        store.subscribers.change(conn, ada.id, paused_until=date(2099, 3, 1))
        [first, _] = store.messages.waiting(conn, NOON)
        message = first
        for state in (MessageState.CLAIMED, MessageState.IN_DOUBT, MessageState.SENT):
            moved = store.messages.move(conn, message, state, NOON)
            assert moved is not None
            message = moved
        for each, kind in ((0, EventKind.SAVE), (1, EventKind.VOTE_UP), (1, EventKind.VOTE_DOWN)):
            event = store.events.Event(ada.id, papers[each].id, kind, NOON, NOON)
            store.events.append(conn, event)
        scanner = replace(event, subscriber_id=ada.id + 1, origin=Origin.SUSPECTED_SCANNER)
        store.events.append(conn, scanner)
    app.close()
    assert json.loads(triage(folder, "list", "--json")) == [
        {
            "email": ADA,
            "state": "active",
            "zone": "UTC",
            "hour": 7,
            "frequency": "daily",
            "paused_until": "2099-03-01",
            "last_digest": str(DAY),
            "n_votes": 2,
        },
        {
            "email": "ben@example.org",
            "state": "active",
            "zone": "UTC",
            "hour": 7,
            "frequency": "daily",
            "paused_until": None,
            "last_digest": None,
            "n_votes": 0,
        },
    ]
