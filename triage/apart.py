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
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVarTuple

import structlog

from triage.errors import TriageError

Given = TypeVarTuple("Given")

POLITENESS = 10


def apart(work: Callable[[*Given], str], *args: *Given) -> str:
    """Return what `work` returns. It and what it is given must be such as can be pickled.

    Raises:
        TriageError: work raised one, whose message this is; or its process was killed.
    """
    # A fork would take threads' locks along, and the database's.
    fresh = multiprocessing.get_context("spawn")
    ours, theirs = fresh.Pipe(duplex=False)
    process = fresh.Process(target=_tell, args=(theirs, work, args))
    process.start()
    theirs.close()
    try:
        said, error = ours.recv()
    except EOFError:
        process.join()
        if process.exitcode and process.exitcode < 0:
            name = signal.Signals(-process.exitcode).name
            raise TriageError(f"killed by {name}: has the machine memory enough?") from None
        raise TriageError("failed; above stands how") from None
    process.join()
    if error is not None:
        raise TriageError(error)
    return str(said)


def _tell(theirs: Connection, work: Callable[..., str], args: tuple[Any, ...]) -> None:
    # Who ends the program waits for what is under way.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    os.nice(POLITENESS)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    told: tuple[str | None, str | None]
    try:
        told = work(*args), None
    except TriageError as error:
        told = None, str(error)
    with suppress(BrokenPipeError):
        theirs.send(told)
