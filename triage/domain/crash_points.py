"""Named places at which a test can kill the process; in production they do nothing."""

from __future__ import annotations

import os
import signal

_counts: dict[str, int] = {}


def crash_point(point: str) -> None:
    """Kill this process if TRIAGE_KILL_AT is `point:n` and this is the n-th call with `point`."""
    wanted = os.environ.get("TRIAGE_KILL_AT")
    if wanted is None:
        return
    _counts[point] = _counts.get(point, 0) + 1
    if wanted == f"{point}:{_counts[point]}":
        os.kill(os.getpid(), signal.SIGKILL)
