"""What workers do in the tests of the engine: nothing but what a test is about.

Each process that is started loads this module, so it imports nothing heavy.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from triage.app.engine import BlockJob

POISON = 13
"""The subscriber whose digest brings the process down."""


def note(job: BlockJob) -> tuple[int, ...]:
    """Return the subscribers, and note in the folder of the settings that they were served."""
    for each in job.block.subscriber_ids:
        with (job.settings.folder / "served").open("a") as file:
            file.write(f"{each} {os.getpid()}\n")
    return job.block.subscriber_ids


def served(folder: Path) -> list[tuple[int, int]]:
    """Return the subscribers that were served, each with the number of the process."""
    lines = (folder / "served").read_text().splitlines() if (folder / "served").exists() else []
    return [(int(who), int(pid)) for who, _, pid in (line.partition(" ") for line in lines)]


def note_slowly(job: BlockJob) -> tuple[int, ...]:
    time.sleep(0.2)
    return note(job)


def die_once(job: BlockJob) -> tuple[int, ...]:
    """Die at the first try of each block of four; its halves are no new blocks."""
    mark = job.settings.folder / f"tried {(job.block.subscriber_ids[0] - 1) // 4}"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return note(job)


def die_of_poison(job: BlockJob) -> tuple[int, ...]:
    if POISON in job.block.subscriber_ids:
        os.kill(os.getpid(), signal.SIGKILL)
    return note(job)


def die(job: BlockJob) -> tuple[int, ...]:
    with (job.settings.folder / "deaths").open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def fail(job: BlockJob) -> tuple[int, ...]:
    raise ZeroDivisionError("one of these subscribers is odd")


def fail_here_alone(job: BlockJob) -> tuple[int, ...]:
    """Fail in each process but the last one, which is alone."""
    mark = job.settings.folder / "failures"
    n = len(mark.read_text()) if mark.exists() else 0
    if n < 3:
        mark.write_text("x" * (n + 1))
        raise ZeroDivisionError
    return note(job)


def tell_environment(job: BlockJob) -> dict[str, Any]:
    return dict(os.environ)
