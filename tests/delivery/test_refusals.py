"""Whom a refusal is about, for the answers of common servers at every step (one table)."""

from __future__ import annotations

import itertools

import pytest

from tests.support.paths import DATA
from triage.delivery.refusals import FIRST, MOST_IN_A_ROW, RefusalCount, classify, enhanced_code

LINES = (DATA / "refusals.txt").read_text("utf-8").splitlines()[1:]
TABLE = [tuple(cell.strip() for cell in line.split("|")) for line in LINES]


def test_the_table_has_the_common_servers_and_all_steps() -> None:
    assert len(TABLE) >= 120
    assert len({row[0] for row in TABLE}) >= 18
    assert {row[1] for row in TABLE} >= set(
        "greeting ehlo starttls auth mail rcpt data end".split()
    )


@pytest.mark.parametrize(
    "row", TABLE, ids=[f"{n} {row[0]} {row[1]} {row[2][:3]}" for n, row in enumerate(TABLE)]
)
def test_each_answer_is_about_whom_it_is_about(row: tuple[str, ...]) -> None:
    _, step, answer, whom, kind, until = row
    blame = classify(step, int(answer[:3]), enhanced_code(answer[3:]), answer[4:])
    assert (blame.whom, blame.kind) == (whom, kind)
    assert blame.is_temporary == (until == "temporary")


def test_nothing_about_us_is_ever_about_a_mailbox_in_a_report() -> None:
    """A report quotes the same words without a step; only a mailbox's own may count."""
    # After the final dot this code alone is not believed; a report gives the recipient beside it.
    about_code = {"550 5.1.1 what a mail"}
    for _, _, answer, whom, *_ in TABLE:
        blame = classify("report", int(answer[:3]), enhanced_code(answer[3:]), answer[4:])
        assert (blame.whom == "mailbox") <= (whom == "mailbox" or answer in about_code), answer


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
