"""What a local Postfix wrote into its log tells whether it took a message.

Postfix names a message by its queue id from the first byte on, so its Message-ID alone says only
that it began to come (Postfix 3.7, `cleanup(8)`, `qmgr(8)`, `smtpd(8)`):

    smtpd[7]: 4F2A: client=…                        from here on process 7 receives 4F2A
    cleanup[8]: 4F2A: message-id=<d.1@example.org>  its headers have come
    smtpd[7]: lost connection after DATA …          it never came to its end
    cleanup[8]: 4F2A: reject: …                     it came, and was refused
    qmgr[9]: 4F2A: from=<…>, … (queue active)       it was taken
    smtp[10]: 4F2A: to=<…>, … status=sent           and went on, or came back
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

# Ten minutes of a busy server are far less.
MOST_BYTES = 64_000_000

# The program, its process, the queue id of a message if it is about one, and what it says.
_LINE = re.compile(r"/([\w-]+)\[(\d+)\]: (?:([0-9A-Za-z]{5,}): )?(.*)")
_ABORTED = re.compile(r"(?:lost connection|timeout) after (?:DATA|BDAT)\b")
_REFUSED = re.compile(r"(?:milter-)?reject:")


def delivered(log: Path, message_id: str) -> bool | None:
    """Tell whether Postfix took a message; None where its log does not say.

    Args:
        log: the file; the one that it was before the last rotation is read, too.
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
    """Tell from the lines of a log whether a message was taken.

    Returns:
        True if it was queued, however it went on; False if it never came, or not to its end; None
        if it came and nothing says how that ended, or if these are not lines of a Postfix at all.
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
    """Return whether a message was taken, now that a line says more than what was known before."""
    if what.startswith("from=") or " status=" in what:
        return True
    return False if program == "cleanup" and _REFUSED.match(what) else before
