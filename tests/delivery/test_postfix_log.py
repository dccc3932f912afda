"""Whether a Postfix took a message stands in its log, for who reads all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.paths import DATA
from triage.delivery.postfix_log import read_delivery, taken

RECORDED = DATA / "postfix.log"
"""Of Postfix 3.7.11: one message, one cut off before its final dot, one cut off after it."""


def recorded() -> list[str]:
    return RECORDED.read_text().splitlines()


def message_id(n: int) -> str:
    return f"<d.{n:020x}@example.org>"


@pytest.mark.parametrize(("n", "expected"), [(1, True), (2, False), (3, True), (4, False)])
def test_a_recorded_log_says_what_was_taken(n: int, expected: bool) -> None:
    assert taken(recorded(), message_id(n)) is expected


def test_as_long_as_a_message_is_on_its_way_nobody_knows() -> None:
    lines = recorded()
    begun = next(n for n, line in enumerate(lines) if message_id(2) in line)
    assert taken(lines[: begun + 1], message_id(2)) is None


def test_a_message_that_was_cut_off_and_came_again_was_taken() -> None:
    again = [line.replace("0003@", "0002@") for line in recorded()]
    assert taken(again, message_id(2)) is True


def test_whoever_was_cut_off_later_on_the_same_connection_does_not_count_for_the_first() -> None:
    one = message_id(1)
    lines = [
        "mail postfix/smtpd[7]: AAAAA1: client=localhost[127.0.0.1]",
        f"mail postfix/cleanup[8]: AAAAA1: message-id={one}",
        "mail postfix/smtpd[7]: BBBBB2: client=localhost[127.0.0.1]",
        f"mail postfix/cleanup[8]: BBBBB2: message-id={message_id(2)}",
        "mail postfix/smtpd[7]: lost connection after DATA (9 bytes) from localhost[127.0.0.1]",
    ]
    assert taken(lines, one) is None
    assert taken(lines, message_id(2)) is False


@pytest.mark.parametrize("word", ["reject", "milter-reject"])
def test_a_message_that_was_refused_at_its_end_was_not_taken(word: str) -> None:
    lines = [
        "mail postfix/smtpd[7]: AAAAA1: client=localhost[127.0.0.1]",
        f"mail postfix/cleanup[8]: AAAAA1: message-id={message_id(1)}",
        f"mail postfix/cleanup[8]: AAAAA1: {word}: END-OF-MESSAGE from localhost: 4.7.1 later",
    ]
    assert taken(lines, message_id(1)) is False


@pytest.mark.parametrize("status", ["sent", "deferred", "bounced"])
def test_however_a_message_went_on_it_had_been_taken(status: str) -> None:
    first = f"cleanup[8]: 4Zq1Xy2k: message-id={message_id(1)}"
    then = f"smtp[9]: 4Zq1Xy2k: to=<a@b.org>, relay=b.org[192.0.2.1]:25, status={status} (so)"
    lines = [f"2026-03-02T12:00:00+00:00 mail postfix-out/{each}" for each in (first, then)]
    assert taken(lines, message_id(1)) is True


def test_a_log_of_something_else_says_nothing(tmp_path: Path) -> None:
    assert taken([], message_id(1)) is None
    assert taken(["Mar  2 12:00:00 mail sshd[1]: Accepted"], message_id(1)) is None
    assert read_delivery(tmp_path / "missing.log", message_id(1)) is None


def test_the_log_before_the_last_rotation_counts_too(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    (tmp_path / "mail.log.1").write_bytes(RECORDED.read_bytes())
    log.write_bytes(b"\xff\xfe not text\n")
    assert read_delivery(log, message_id(1)) is True
    assert read_delivery(log, message_id(9)) is False
