"""Runs heavy work in a separate process.

Training blocks the interpreter for seconds; in this time no page is answered and no mail is sent.
It can take a gigabyte of memory, which is free again when its process ends. If the system kills
the process because memory is short, only the training is lost.
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

Args = TypeVarTuple("Args")

NICENESS = 10


def run_in_process(work: Callable[[*Args], str], *args: *Args) -> str:
    """Call `work` in a new process and return its result; `work` and `args` must be picklable.

    The new process always ends with its work, even if this process was killed before.

    Raises:
        TriageError: `work` failed (with its message if it raised a TriageError), or its process
            was killed.
    """
    # A forked process would inherit locks that other threads or the database hold.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, work, args))
    process.start()
    # Only the new process may have the sender open: so its end is seen here, and ours there.
    sender.close()
    is_done, text = False, "failed; the traceback is in the log"
    with receiver, suppress(EOFError):
        is_done, text = receiver.recv()
    process.join()
    if process.exitcode and process.exitcode < 0:
        name = signal.Signals(-process.exitcode).name
        raise TriageError(f"killed by {name}. Does the machine have enough memory?")
    if not is_done:
        raise TriageError(text)
    return str(text)


def prepare_worker() -> None:
    """Let this new process ignore signals to its group, and log to standard error."""
    # The program ends only after its jobs: such a signal must not stop this process.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _send_result(sender: Connection, work: Callable[..., str], args: tuple[Any, ...]) -> None:
    prepare_worker()
    os.nice(NICENESS)
    try:
        sender.send((True, work(*args)))
    except TriageError as error:
        sender.send((False, str(error)))
