"""What a server says reaches the operator, at whichever step it says it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.delivery.test_granted_sessions import outbox
from tests.support.fakes import StoppedClock
from tests.support.installation import installed, rows
from tests.support.mail_rig import fill
from tests.support.mail_servers import DROP, script
from triage import store
from triage.clock import SystemClock
from triage.delivery.recovery import LOG_IS_WRITTEN
from triage.store import Database

STEPS = ("greeting", "ehlo", "mail", "rcpt", "data", "end")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def listed(database: Database) -> list[str]:
    """Return the answers that `triage outbox list` shows."""
    with database.read() as conn:
        found = store.messages.listing(conn)
    return [json.loads(json.dumps(row, default=str))["last_reply"] for row in found]


@pytest.mark.parametrize("code", ["451 4.3.0", "550 5.3.0", "554 5.7.1 Relay access denied,"])
@pytest.mark.parametrize("step", STEPS)
def test_the_words_of_each_step_are_kept_with_the_message(
    database: Database, step: str, code: str
) -> None:
    fill(database, 1)
    with script(**{step: f"{code} what {step} is told"}) as server:
        report = outbox(database, server.port, 1).drain()
    assert report.exit_code == 1
    [said] = listed(database)
    assert f"{code} what {step} is told" in said


@pytest.mark.parametrize("step", STEPS)
def test_all_lines_of_an_answer_are_kept(database: Database, step: str) -> None:
    fill(database, 1)
    reply = "550-5.7.1 first\r\n550-5.7.1 second\r\n550 5.7.1 third"
    with script(**{step: reply}) as server:
        outbox(database, server.port, 1).drain()
    [said] = listed(database)
    assert all(word in said for word in ("first", "second", "third"))


def test_the_words_before_a_session_broke_stay_if_the_next_is_cut_without_any(
    database: Database,
) -> None:
    fill(database, 1)
    clock = StoppedClock(SystemClock().now())
    with script(rcpt=["451 4.3.0 first words"]) as server:
        outbox(database, server.port, 1, clock).drain()
    assert "first words" in listed(database)[0]
    clock.at = rows(database, "messages")[0]["not_before"]
    with script(rcpt=[DROP]) as server:
        outbox(database, server.port, 1, clock).drain()
    assert "connection" in listed(database)[0], "the newest reason is shown"


def test_a_message_in_doubt_says_why_and_what_was_answered(database: Database) -> None:
    fill(database, 1)
    clock = StoppedClock(SystemClock().now())
    with script(end="354 what") as server:
        sender = outbox(database, server.port, 1, clock)
        sender.drain()
        assert "354 what" in listed(database)[0]
        clock.at += LOG_IS_WRITTEN * 2
        sender.drain()
    assert listed(database)[0]


def test_a_message_that_expired_keeps_the_last_answer(database: Database) -> None:
    fill(database, 1)
    clock = StoppedClock(SystemClock().now())
    with script(rcpt="452 4.2.2 the mailbox is full") as server:
        for _ in range(12):
            outbox(database, server.port, 1, clock).drain()
            clock.sleep(2 * 3600)
    [row] = rows(database, "messages")
    assert (row["state"], row["reason"]) == ("failed", "expired")
    assert "452 4.2.2 the mailbox is full" in row["last_reply"]


@pytest.mark.parametrize(
    ("step", "reply", "reason", "kinds"),
    [
        ("rcpt", "552 5.2.2 over quota", "refused", ["soft"]),
        ("rcpt", "552 storage exceeded", "refused", ["soft"]),
        ("rcpt", "552 5.3.4 too big for this server", "too_large", []),
        ("mail", "552 5.3.4 message size exceeds the limit", "too_large", []),
        ("end", "552 5.2.2 mailbox full", "refused", ["soft"]),
        ("end", "552 too much", "too_large", []),
        ("end", "552 5.7.0 a file of this kind is not allowed", "refused", []),
        ("rcpt", "552 5.1.1 no such user", "refused", ["hard"]),
    ],
)
def test_552_means_what_its_code_and_step_say(
    database: Database, step: str, reply: str, reason: str, kinds: list[str]
) -> None:
    fill(database, 1)
    with script(**{step: reply}) as server:
        outbox(database, server.port, 1).drain()
    [row] = rows(database, "messages")
    assert (row["state"], row["reason"]) == ("failed", reason)
    assert [bounce["kind"] for bounce in rows(database, "bounces")] == kinds


@pytest.mark.parametrize("broken", [ValueError("x"), KeyError("x"), UnicodeError("x")])
def test_a_message_whose_envelope_cannot_be_made_costs_the_others_nothing(
    database: Database, broken: Exception
) -> None:
    fill(database, 5)
    second = rows(database, "messages")[1]["message_id"]

    def envelope_sender(message_id: str) -> str:
        if message_id == second:
            raise broken
        return "digest@example.org"

    with script() as server:
        sender = outbox(database, server.port, 1)
        object.__setattr__(sender._context, "envelope_sender", envelope_sender)
        report = sender.drain()
    assert (report.sent, report.crashed) == (4, 1)
