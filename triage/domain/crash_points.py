"""Named places at which a test may kill the process; in production they do nothing."""

from __future__ import annotations

import os
import signal

BEFORE_THE_DOT = (
    "resumed",
    "claiming",
    "claimed",
    "sender_given",
    "recipient_given",
    "body_begun",
    "body_written",
    "doubting",
)
"""Places on a message's way at which the receiver cannot have it."""

IN_THE_WINDOW = ("in_doubt", "dot_written", "handed_over")
"""Places at which only the receiver knows whether it has the message."""

DELIVERY = (*BEFORE_THE_DOT, *IN_THE_WINDOW, "settled")
"""Every place on a message's way, in their order."""

POINTS = (
    *("fetched", "encoded", "composed", "queued", "ranked"),
    *DELIVERY[:-1],
    "journalled",
    DELIVERY[-1],
    "drained",
)
"""Every place, in the order in which a run comes by."""

_passed: dict[str, int] = {}


def crash_point(point: str) -> None:
    """Kill this process if TRIAGE_KILL_AT is `point:n` and this is the n-th time it comes by."""
    wanted = os.environ.get("TRIAGE_KILL_AT")
    if wanted is None:
        return
    _passed[point] = _passed.get(point, 0) + 1
    if wanted == f"{point}:{_passed[point]}":
        os.kill(os.getpid(), signal.SIGKILL)
