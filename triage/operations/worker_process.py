"""Does heavy work in a process of its own.

Training keeps the interpreter for seconds, in which no page would be answered and no mail sent; its
memory, a gigabyte at times, goes back when the process ends; and should it be killed for that
memory, nothing else is.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVarTuple

import structlog

from triage.errors import TriageError

Given = TypeVarTuple("Given")

POLITENESS = 10


def run_in_process(work: Callable[[*Given], str], *args: *Given) -> str:
    """Return what `work` returns. It and what it is given must be such as can be pickled.

    Raises:
        TriageError: work raised one, whose message this is; or its process was killed.
    """
    # A fork would take threads' locks along, and the database's.
    fresh = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    started = set[multiprocessing.process.BaseProcess]()
    try:
        with ProcessPoolExecutor(1, mp_context=fresh, initializer=_begin) as pool:
            outcome = pool.submit(work, *args)
            started = {*multiprocessing.active_children()} - others
            return outcome.result()
    except TriageError:
        raise
    except BrokenProcessPool:
        for process in started:
            if process.exitcode and process.exitcode < 0:
                name = signal.Signals(-process.exitcode).name
                raise TriageError(f"killed by {name}: has the machine memory enough?") from None
        raise TriageError("failed; above stands how") from None
    except Exception:
        traceback.print_exc()
        raise TriageError("failed; above stands how") from None


def _begin() -> None:
    # Who ends the program waits for what is under way.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    os.nice(POLITENESS)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
