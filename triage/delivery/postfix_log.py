"""Reads in the log of a local Postfix whether it accepted a message.

Postfix names a message by its queue id. The line with the Message-ID shows only that the message
began to arrive (Postfix 3.7, `cleanup(8)`, `qmgr(8)`, `smtpd(8)`):

    smtpd[7]: 4F2A: client=…                        process 7 starts to receive 4F2A
    cleanup[8]: 4F2A: message-id=<d.1@example.org>  its headers have arrived
    smtpd[7]: lost connection after DATA …          it did not arrive completely
    cleanup[8]: 4F2A: reject: …                     it arrived, and was refused
    qmgr[9]: 4F2A: from=<…>, … (queue active)       it was accepted
    smtp[10]: 4F2A: to=<…>, … status=sent           it was forwarded, or it bounced
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

# Read of each file, from its end. Ten minutes of a busy server are much less.
MOST_BYTES = 64_000_000

# The program, its process id, the queue id if there is one, and the text.
_LINE = re.compile(r"/([\w-]+)\[(\d+)\]: (?:([0-9A-Za-z]{5,}): )?(.*)")
_ABORTED = re.compile(r"(?:lost connection|timeout) after (?:DATA|BDAT)\b")
_REFUSED = re.compile(r"(?:milter-)?reject:")


def read_delivery(log: Path, message_id: str) -> bool | None:
    """Return whether Postfix accepted a message; None if the log does not show it.

    Args:
        log: the log file; its last rotated file (`.1`) is read, too.
    """
    return taken(_lines(log), message_id)


def _lines(log: Path) -> Iterator[str]:
    for path in (log.with_name(f"{log.name}.1"), log):
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(size - MOST_BYTES, 0))
                for line in file:
                    yield line.decode("utf-8", "replace")
        except OSError:
            continue


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
