"""Whether a Postfix took a message stands in its log, for who reads all of it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import DATA
from triage.delivery import postfix_log
from triage.delivery.postfix_log import read_delivery, taken

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)

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
    assert read_delivery(tmp_path / "missing.log", message_id(1), BEGAN) is None
    assert read_delivery(tmp_path / "no folder" / "missing.log", message_id(1), BEGAN) is None


# -- what the log does not show --------------------------------------------------------------------

BEGAN = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
"""When the attempt of the messages below began."""


def lines(at: datetime, n: int | None = None, *, traditional: bool = False) -> str:
    """Return what Postfix logs of one connection, and of a message if there is a number."""
    queue_id = f"AB12{n}" if n else "AB120"
    said = ["smtpd[7]: connect from localhost[127.0.0.1]"]
    if n is not None:
        said += [
            f"smtpd[7]: {queue_id}: client=localhost[127.0.0.1]",
            f"cleanup[8]: {queue_id}: message-id={message_id(n)}",
            f"qmgr[9]: {queue_id}: from=<digest@example.org>, size=9, nrcpt=1 (queue active)",
        ]
    said.append("smtpd[7]: disconnect from localhost[127.0.0.1] ehlo=1 quit=1 commands=2")
    stamp = f"{at.astimezone():%b %d %H:%M:%S}" if traditional else at.isoformat()
    return "".join(f"{stamp} mail postfix/{each}\n" for each in said)


def around(n: int | None = None, *, traditional: bool = False) -> str:
    """Return a log that shows the time before, during and after the attempt."""
    moments = [(BEGAN - 2 * HOUR, 8), (BEGAN + timedelta(seconds=2), n), (BEGAN + HOUR, 9)]
    return "".join(lines(at, m, traditional=traditional) for at, m in moments)


def keep(path: Path, text: str, written: datetime = BEGAN + 3 * HOUR) -> None:
    """Write a log, in the compressed form that its name tells, as if it were of that time."""
    compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    path.write_bytes(compress.get(path.suffix, bytes)(text.encode()))
    os.utime(path, (written.timestamp(), written.timestamp()))


ROTATED = (
    "maillog.1",
    "maillog.2",
    "maillog.1.gz",
    "maillog.1.bz2",
    "maillog.1.xz",
    "maillog.0.bz2",
    "maillog-20261130",
    "maillog-20261130.gz",
    "maillog-2026-11-30.xz",
    "maillog-20261130-09.gz",
    "maillog.20261130-123456",
    "maillog.20261130-123456.gz",
    "maillog-1796029200.gz",
)


@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("name", ROTATED)
def test_a_message_in_a_rotated_log_was_taken(tmp_path: Path, name: str, traditional: bool) -> None:
    log = tmp_path / "maillog"
    keep(tmp_path / name, around(1, traditional=traditional))
    keep(log, lines(BEGAN + 2 * HOUR, 5, traditional=traditional))
    assert read_delivery(log, message_id(1), BEGAN) is True
    assert read_delivery(log, message_id(2), BEGAN) is False
    (tmp_path / name).unlink()
    assert read_delivery(log, message_id(1), BEGAN) is None


def test_with_logrotates_extension_the_date_stands_inside_the_name(tmp_path: Path) -> None:
    keep(tmp_path / "mail-20261130.log.gz", around(1))
    keep(tmp_path / "mail.log", lines(BEGAN + 2 * HOUR, 5))
    assert read_delivery(tmp_path / "mail.log", message_id(1), BEGAN) is True


def test_a_log_that_begins_after_the_attempt_says_nothing(tmp_path: Path) -> None:
    keep(tmp_path / "maillog", lines(BEGAN + timedelta(seconds=2)) + lines(BEGAN + HOUR, 5))
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is None


def test_a_log_that_ends_before_the_attempt_says_nothing(tmp_path: Path) -> None:
    keep(tmp_path / "maillog", lines(BEGAN - HOUR, 5) + lines(BEGAN - HOUR / 2, 6))
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is None


def test_a_log_without_a_line_of_the_time_of_the_attempt_says_nothing(tmp_path: Path) -> None:
    """A file in the middle is lost, or was moved away: the others do not show that time."""
    keep(tmp_path / "maillog-20261128", lines(BEGAN - 48 * HOUR, 5))
    keep(tmp_path / "maillog", lines(BEGAN + 24 * HOUR, 6))
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is None


def test_without_the_time_of_an_attempt_a_missing_message_means_nothing(tmp_path: Path) -> None:
    keep(tmp_path / "maillog", around(1))
    assert read_delivery(tmp_path / "maillog", message_id(1), None) is True
    assert read_delivery(tmp_path / "maillog", message_id(2), None) is None


def test_a_message_that_was_cut_off_in_a_log_that_ends_too_early_may_have_come_again(
    tmp_path: Path,
) -> None:
    keep(tmp_path / "maillog", RECORDED.read_text(), datetime(2026, 11, 22, 11, tzinfo=UTC))
    assert read_delivery(tmp_path / "maillog", message_id(2), BEGAN) is None


@pytest.mark.parametrize("name", ["maillog.1.gz", "maillog.1.xz", "maillog-20261130.bz2"])
def test_with_a_damaged_file_of_that_time_nobody_knows(tmp_path: Path, name: str) -> None:
    log = tmp_path / "maillog"
    keep(log, around())
    keep(tmp_path / name, around(1))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    assert read_delivery(log, message_id(1), BEGAN) is None


def test_a_damaged_file_of_long_ago_does_not_matter(tmp_path: Path) -> None:
    log = tmp_path / "maillog"
    keep(log, around())
    (tmp_path / "maillog.2.gz").write_bytes(b"not compressed")
    os.utime(tmp_path / "maillog.2.gz", (0, 0))
    assert read_delivery(log, message_id(1), BEGAN) is False


def test_with_a_compression_that_we_cannot_read_nobody_knows(tmp_path: Path) -> None:
    keep(tmp_path / "maillog", around())
    keep(tmp_path / "maillog-20261130.zst", "cannot be read")
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is None


@pytest.mark.parametrize("folder", ["old", "archive/2026", "maillog.1"])
def test_of_what_logrotate_moved_to_another_folder_nobody_knows(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    keep(tmp_path / folder / "maillog.1", around(1))
    keep(tmp_path / "maillog", lines(BEGAN + 2 * HOUR, 5))
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is None
    # Older files that are left beside the log do not help.
    keep(tmp_path / "maillog.2", lines(BEGAN - 48 * HOUR, 6))
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is None


def test_other_files_beside_the_log_do_not_count(tmp_path: Path) -> None:
    keep(tmp_path / "maillog", around())
    for name in ("maillog.offset", "maillog2", "old-maillog.1.gz", "mail.1.gz", "maillog.conf"):
        keep(tmp_path / name, "")
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is False


def test_a_file_that_is_just_being_compressed_is_read_once(tmp_path: Path) -> None:
    keep(tmp_path / "maillog.1", around())
    (tmp_path / "maillog.1.gz").write_bytes(b"half")
    keep(tmp_path / "maillog", lines(BEGAN + 2 * HOUR, 5))
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is False


@pytest.mark.parametrize("back", [HOUR, 24 * HOUR])
def test_where_the_clock_was_set_back_over_the_attempt_only_what_is_there_counts(
    tmp_path: Path, back: timedelta
) -> None:
    again = lines(BEGAN + HOUR - back, 4) + lines(BEGAN + HOUR, 7)
    keep(tmp_path / "maillog", around(1) + again)
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is True
    assert read_delivery(tmp_path / "maillog", message_id(2), BEGAN) is None


def test_lines_that_are_a_little_out_of_order_are_no_clock_that_was_set_back(
    tmp_path: Path,
) -> None:
    moments = (BEGAN - HOUR, BEGAN + SECOND, BEGAN - SECOND, BEGAN + 2 * SECOND)
    keep(tmp_path / "maillog", "".join(lines(at, 4) for at in moments))
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is False


def test_a_traditional_log_is_of_the_year_in_which_it_was_last_written(tmp_path: Path) -> None:
    log, new_year = tmp_path / "maillog", datetime(2027, 1, 1, 0, 30, tzinfo=UTC)
    began = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
    moments = (began - HOUR, began + SECOND, began + HOUR)
    keep(log, "".join(lines(at, 5, traditional=True) for at in moments), new_year)
    assert read_delivery(log, message_id(1), began) is False
    assert read_delivery(log, message_id(1), began.replace(year=2027)) is None
    assert read_delivery(log, message_id(1), began.replace(year=2025)) is None


def test_the_leap_day_of_a_traditional_log_is_a_day(tmp_path: Path) -> None:
    log, began = tmp_path / "maillog", datetime(2028, 2, 29, 9, 0, tzinfo=UTC)
    text = "".join(lines(began + n * HOUR / 2, 5, traditional=True) for n in (-1, 1, 2))
    keep(log, text, began + 24 * HOUR)
    assert read_delivery(log, message_id(1), began) is False


def test_a_log_that_changed_its_form_of_time_is_read_through(tmp_path: Path) -> None:
    keep(tmp_path / "maillog.1", lines(BEGAN - HOUR, 5, traditional=True))
    keep(tmp_path / "maillog", lines(BEGAN + SECOND, 6) + lines(BEGAN + HOUR, 7))
    assert read_delivery(tmp_path / "maillog", message_id(1), BEGAN) is False


def test_a_log_that_is_rotated_while_it_is_read_says_nothing_of_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, read = tmp_path / "maillog", postfix_log._lines
    keep(log, around())
    assert read_delivery(log, message_id(1), BEGAN) is False

    def read_and_rotate(*args: Any) -> Iterator[object]:
        yield from read(*args)
        log.rename(tmp_path / "maillog.1")
        keep(log, "")

    monkeypatch.setattr(postfix_log, "_lines", read_and_rotate)
    assert read_delivery(log, message_id(1), BEGAN) is None
