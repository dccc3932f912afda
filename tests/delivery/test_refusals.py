"""Whom a refusal is about, for the answers of common servers at every step (one table)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.delivery.test_smtp import mailer, message
from tests.support.mail_servers import PASSWORD, USER, script
from tests.support.verdict_table import Conversation, conversations
from triage.delivery.refusals import FIRST, MOST_IN_A_ROW, RefusalCount, classify, enhanced_code
from triage.errors import MailDeferred, MailerBroken, MailError, MailRefused

TABLE = conversations()
EACH = pytest.mark.parametrize(
    "row",
    TABLE,
    ids=[f"{n} {row.server} {row.step} {row.answer[:3]}" for n, row in enumerate(TABLE)],
)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_the_table_has_the_common_servers_and_all_steps() -> None:
    assert len(TABLE) >= 380
    assert len({row.server for row in TABLE}) >= 70
    assert {row.step for row in TABLE} >= set(
        "greeting ehlo starttls auth mail rcpt data end".split()
    )


@EACH
def test_each_answer_is_about_whom_it_is_about(row: Conversation) -> None:
    blame = classify(row.step, int(row.answer[:3]), enhanced_code(row.answer[3:]), row.answer[4:])
    assert (blame.whom, blame.kind) == (row.whom, row.kind)
    assert blame.is_temporary == row.is_temporary


@EACH
def test_each_conversation_ends_as_the_table_says(row: Conversation, opened: ExitStack) -> None:
    reply = row.answer if row.answer[3:4] != "-" else f"{row.answer}\r\n{row.answer[:3]} -"
    options: dict[str, Any] = {
        "auth": {"username": USER, "password": PASSWORD},
        "starttls": {"security": "starttls"},
    }.get(row.step, {})
    server = opened.enter_context(script(**{row.step: reply}))
    sender = mailer(server.port, opened, **options)
    with pytest.raises(MailError) as caught:
        sender.send(message(), lambda: None)
    match caught.value:
        case MailerBroken():
            # This server has taken nothing in the session before.
            ends = {"stops", "new session, or stops"}
        case MailRefused(no_such_mailbox=True):
            ends = {"hard"}
        case MailRefused(is_unreachable=True):
            ends = {"soft"}
        case MailRefused():
            ends = {"fails"}
        case MailDeferred(is_about_us=True):
            ends = {"ends the drain"}
        case MailDeferred(is_unreachable=True):
            ends = {"later, at last soft"}
        case MailDeferred():
            ends = {"later", "new session"}
        case _:
            ends = set()
    assert row.effect in ends
    # An operator reads what the server said.
    said = [word for word in row.answer[4:60].split()[:-1] if "@" not in word]
    assert all(word in str(caught.value) for word in said)


def test_nothing_about_us_is_ever_about_a_mailbox_in_a_report() -> None:
    """A report quotes the same words without a step; only a mailbox's own may count."""
    # After the final dot this code alone is not believed; a report gives the recipient beside it.
    about_code = {"550 5.1.1 what a mail"}
    for row in TABLE:
        answer = row.answer
        blame = classify("report", int(answer[:3]), enhanced_code(answer[3:]), answer[4:])
        assert (blame.whom == "mailbox") <= (row.whom == "mailbox" or answer in about_code), answer


@pytest.mark.parametrize(
    ("text", "code"),
    [("550-5.1.1 a\n550 5.1.1 b", "5.1.1"), ("from 5.1.1.2", ""), ("#5.7.1 smtp;550", "5.7.1"),
     ("", ""), ("250 2.0.0 ok", "2.0.0"), ("version 15.1.1", ""), ("5.1.10 x", "5.1.10")],
)  # fmt: skip
def test_a_code_is_found_and_an_address_is_none(text: str, code: str) -> None:
    assert enhanced_code(text) == code


def test_ten_refusals_in_a_row_are_too_many_and_nine_are_not() -> None:
    count = RefusalCount()
    for _ in range(FIRST):
        count.add(is_refused=False)
    answers = [True] * (MOST_IN_A_ROW - 1) + [False] + [True] * MOST_IN_A_ROW
    assert [count.add(is_refused=each) for each in answers] == [False] * 19 + [True]


def test_a_fifth_of_the_first_fifty_is_not_too_many_and_one_more_is() -> None:
    count = RefusalCount()
    answers = itertools.islice(itertools.cycle([True, False, False]), 31)
    found = [count.add(is_refused=each) for each in answers]
    assert found == [False] * 30 + [True]
