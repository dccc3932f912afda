"""The program itself under a clock that a test sets; NTP's state is the test's, too.

    python -m tests.e2e.under_faked_clock --config triage.toml serve

Environment: `NTP_SAYS_RIGHT` is a file that exists while NTP would say that the clock is right.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

from triage import cli
from triage.operations import clock_trust


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)


def _is_synchronized() -> bool:
    return Path(os.environ["NTP_SAYS_RIGHT"]).exists()


if __name__ == "__main__":
    # What every thread does is in the log if the process does not end in time.
    faulthandler.register(signal.SIGUSR1)
    # libfaketime hands an absolute time of the true clock to clock_nanosleep, which refuses it.
    time.sleep = _sleep
    clock_trust.is_synchronized = _is_synchronized
    clock_trust.ClockTrust = partial(  # type: ignore[assignment,misc]
        clock_trust.ClockTrust, is_synchronized=_is_synchronized
    )
    cli.main()
