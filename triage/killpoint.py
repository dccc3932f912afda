"""Named places at which a test may kill the process; in production they do nothing."""

from __future__ import annotations

import os
import signal

POINTS = (
    "fetched",
    "encoded",
    "composed",
    "queued",
    "ranked",
    "claimed",
    "in_doubt",
    "handed_over",
    "settled",
    "drained",
)
"""Every place, in the order in which a run comes by."""

_passed: dict[str, int] = {}


def pass_by(point: str) -> None:
    """Kill this process if TRIAGE_KILL_AT is `point:n` and this is the n-th time it comes by."""
    wanted = os.environ.get("TRIAGE_KILL_AT")
    if wanted is None:
        return
    _passed[point] = _passed.get(point, 0) + 1
    if wanted == f"{point}:{_passed[point]}":
        os.kill(os.getpid(), signal.SIGKILL)
