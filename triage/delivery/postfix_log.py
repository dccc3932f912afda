"""Reads in the logs of a local Postfix whether it accepted a message.

Postfix names a message by its queue id. The line with the Message-ID shows only that the message
began to arrive (Postfix 3.7, `cleanup(8)`, `qmgr(8)`, `smtpd(8)`):

    smtpd[7]: 4F2A: client=…                        process 7 starts to receive 4F2A
    cleanup[8]: 4F2A: message-id=<d.1@example.org>  its headers have arrived
    smtpd[7]: lost connection after DATA …          it did not arrive completely
    cleanup[8]: 4F2A: reject: …                     it arrived, and was refused
    qmgr[9]: 4F2A: from=<…>, … (queue active)       it was accepted
    smtp[10]: 4F2A: to=<…>, … status=sent           it was forwarded, or it bounced

That a message is missing means something only where the log is complete. So the log must reach back
to the time of the attempt, and show something of that time: Postfix logs each connection.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

# Read of each file that is not compressed, from its end. Ten minutes of a busy server are much
# less.
MOST_BYTES = 64_000_000
# An attempt to send a message takes less, and Postfix logs how its connection ends.
LONGEST_ATTEMPT_S = 3600.0
# Several processes write one log, so lines that are so much older than the one before are in order.
DISORDER_S = 60.0
DAY_S = 86_400.0

# The program, its process id, the queue id if there is one, and the text.
_LINE = re.compile(r"/([\w-]+)\[(\d+)\]: (?:([0-9A-Za-z]{5,}): )?(.*)")
# RFC 3339, or the time of traditional syslog (RFC 3164), which is local and has no year.
_TIME = re.compile(
    r"(?:<\d+>)?(?:(\d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:?\d\d)?)"
    r"|([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d))\s"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ABORTED = re.compile(r"(?:lost connection|timeout) after (?:DATA|BDAT)\b")
_REFUSED = re.compile(r"(?:milter-)?reject:")

# logrotate's numbers and dates (`mail.log.1`, `maillog-20261130`, with `extension` also
# `mail-20261130.log`), those of `postfix logrotate` (`maillog.20261130-123456`), and those of
# newsyslog (`maillog.0.bz2`).
_ROTATED = r"[-._]\d[\d._:T-]*"
_COMPRESSED = r"(?:\.(gz|bz2|xz|lzma|zst|lz4|Z))?"
_OPENERS: dict[str | None, Callable[[Path], object]] = {
    None: lambda path: path.open("rb"),
    "gz": gzip.open,
    "bz2": bz2.open,
    "xz": lzma.open,
    "lzma": lzma.open,
}
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)

# When a line was written, in seconds since 1970, if it says so; and the line.
_Line = tuple[float | None, str]


def read_delivery(log: Path, message_id: str, since: datetime | None) -> bool | None:
    """Return whether Postfix accepted a message; None if the logs do not show it.

    Args:
        log: the log file; its rotated files beside it are read, too.
        since: when the attempt to send the message began; without it a missing message means
            nothing.
    """
    start = since.timestamp() if since else float("inf")
    files = _find(log)
    coverage = _Coverage(start)
    arrived = taken(coverage.watch(_lines(files, start, coverage)), message_id)
    if arrived is not False:
        return arrived
    # A rotation in the meantime may have hidden lines from us.
    return False if coverage.is_complete() and _find(log) == files else None


class _Coverage:
    """Finds out whether lines show the whole time since a moment.

    They do if their clock passes the moment once, and shows something soon after it. A clock that
    passes it twice was set back, so nobody knows which of the two times was meant.
    """

    def __init__(self, start: float) -> None:
        self._start = start
        self._last: float | None = None
        self._passed_at: list[float] = []
        self._turned_back = False
        self.unreadable = False

    def watch(self, lines: Iterable[_Line]) -> Iterator[str]:
        for at, line in lines:
            if at is not None:
                self._see(at)
            yield line

    def is_complete(self) -> bool:
        passed_once = len(self._passed_at) == 1 and not self._turned_back
        return (
            passed_once
            and not self.unreadable
            and self._passed_at[0] <= self._start + LONGEST_ATTEMPT_S
        )

    def _see(self, at: float) -> None:
        last = self._last
        if last is not None:
            if last - DISORDER_S <= at < last:
                return
            if last <= self._start < at:
                self._passed_at.append(at)
            elif at <= self._start < last:
                self._turned_back = True
        self._last = at


# -- files -----------------------------------------------------------------------------------------


def _find(log: Path) -> dict[Path, tuple[int, str | None]]:
    """Return the log file and its rotated files, each with its inode and kind of compression."""
    stem, suffix = re.escape(log.stem), re.escape(log.suffix)
    name = re.compile(f"(?:{stem}{suffix}(?:{_ROTATED})?|{stem}{_ROTATED}{suffix}){_COMPRESSED}")
    found: dict[Path, tuple[int, str | None]] = {}
    try:
        for path in log.parent.iterdir():
            if (match := name.fullmatch(path.name)) and path.is_file():
                found[path] = (path.stat().st_ino, match[1])
    except OSError:
        return {}
    # While a file is compressed, both forms exist.
    plain = {path for path, (_, kind) in found.items() if kind is None}
    return {
        path: each
        for path, each in found.items()
        if not each[1] or path.with_suffix("") not in plain
    }


def _lines(
    files: dict[Path, tuple[int, str | None]], start: float, coverage: _Coverage
) -> Iterator[_Line]:
    """Yield the lines of the files in the order of time; skip files that end long before."""
    begins: dict[Path, float] = {}
    for path, (_, kind) in files.items():
        try:
            first = next((at for at, _ in _read(path, kind) if at is not None), None)
            if first is not None:
                begins[path] = first
        except _UNREADABLE:
            coverage.unreadable |= _may_be_of(path, start)
    ordered = sorted(begins, key=lambda path: (begins[path], path.name))
    while len(ordered) > 1 and begins[ordered[1]] < start - DAY_S:
        del ordered[0]
    for path in ordered:
        try:
            yield from _read(path, files[path][1])
        except _UNREADABLE:
            coverage.unreadable |= _may_be_of(path, start)


def _may_be_of(path: Path, start: float) -> bool:
    """Return whether a file was written after a moment, so that it may have lines of then."""
    try:
        return path.stat().st_mtime >= start
    except OSError:
        return True


def _read(path: Path, kind: str | None) -> Iterator[_Line]:
    """Yield the lines of a file; raise one of `_UNREADABLE` if it cannot be read to its end."""
    if kind not in _OPENERS:
        raise OSError(f"files of the kind {kind} cannot be read")
    # No line is later than the last change; this gives the year of traditional times.
    latest = path.stat().st_mtime + DAY_S
    with cast(BinaryIO, _OPENERS[kind](path)) as file:
        if kind is None:
            file.seek(max(file.seek(0, 2) - MOST_BYTES, 0))
        for line in file:
            text = line.decode("utf-8", "replace")
            at = _time(text, latest) if _LINE.search(text) else None
            yield at, text


def _time(line: str, latest: float) -> float | None:
    """Return when a line was written, in seconds since 1970; None if it does not say so.

    A traditional time has the year that makes it the last one before `latest`.
    """
    found = _TIME.match(line)
    if found is None:
        return None
    if found[1] is None:
        return _traditional(found[0], latest)
    try:
        return datetime.fromisoformat(found[1]).timestamp()
    except ValueError:
        return None


@lru_cache(maxsize=2)
def _traditional(text: str, latest: float) -> float | None:
    found = _TIME.match(text)
    if found is None or found[2] not in _MONTHS:
        return None
    month = _MONTHS.index(found[2]) + 1
    day, hour, minute, second = (int(each) for each in found.groups()[2:])
    year = datetime.fromtimestamp(latest).year  # noqa: DTZ006 - the log has local times, too
    for candidate in range(year, year - 5, -1):
        try:
            # In the hour that comes twice in autumn, the second: the log begins no earlier.
            at = datetime(candidate, month, day, hour, minute, second, fold=1).timestamp()  # noqa: DTZ001
        except ValueError:
            continue
        if at <= latest:
            return at
    return None


# -- lines -----------------------------------------------------------------------------------------


def taken(lines: Iterable[str], message_id: str) -> bool | None:
    """Return whether the lines of a log show that a message was accepted.

    Returns:
        True if it was queued, whatever happened later; False if it did not arrive completely or was
        refused; None if it arrived and the end is missing, or if the lines are not from Postfix.
    """
    wanted = f"message-id={message_id}"
    receives: dict[str, str] = {}
    ours: dict[str, bool | None] = {}
    is_postfix = False
    for line in lines:
        found = _LINE.search(line.rstrip())
        if found is None:
            continue
        program, pid, id, what = found.groups()
        is_postfix = is_postfix or program == "cleanup"
        if id is None:
            if program == "smtpd" and _ABORTED.match(what):
                id = receives.pop(pid, "")
                if id in ours:
                    ours[id] = ours[id] or False
        elif program == "smtpd" and what.startswith("client="):
            receives[pid] = id
        elif program == "cleanup" and what == wanted:
            ours[id] = None
        elif id in ours:
            ours[id] = _end(program, what, ours[id])
    if True in ours.values():
        return True
    return False if is_postfix and None not in ours.values() else None


def _end(program: str, what: str, before: bool | None) -> bool | None:
    """Return whether a message was accepted, from one more line and the result before it."""
    if what.startswith("from=") or " status=" in what:
        return True
    return False if program == "cleanup" and _REFUSED.match(what) else before
