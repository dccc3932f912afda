"""Named places at which a test can kill the process; in production they do nothing."""

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
"""Places of a delivery at which the receiver cannot have the message."""

IN_THE_WINDOW = ("in_doubt", "dot_written", "handed_over")
"""Places of a delivery at which only the receiver knows whether it has the message."""

DELIVERY = (*BEFORE_THE_DOT, *IN_THE_WINDOW, "settled")
"""All places of a delivery, in order."""

POINTS = (
    *("fetched", "encoded", "composed", "queued", "ranked"),
    *DELIVERY[:-1],
    "journalled",
    DELIVERY[-1],
    "drained",
)
"""All places, in the order of a run."""

_counts: dict[str, int] = {}


def crash_point(point: str) -> None:
    """Kill this process if TRIAGE_KILL_AT is `point:n` and this is the n-th call with `point`."""
    wanted = os.environ.get("TRIAGE_KILL_AT")
    if wanted is None:
        return
    _counts[point] = _counts.get(point, 0) + 1
    if wanted == f"{point}:{_counts[point]}":
        os.kill(os.getpid(), signal.SIGKILL)
