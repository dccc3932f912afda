"""Heavy work has a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from triage.errors import ModelError, TriageError

# Each process that is started here imports this module: what is heavy is imported by its test.
from triage.operations.worker_process import NICENESS, run_in_process


def whereabouts(prefix: str) -> str:
    return f"{prefix}{os.getpid()} {os.nice(0)}"


def test_it_is_done_elsewhere_and_politely() -> None:
    pid, niceness = run_in_process(whereabouts, "at ").removeprefix("at ").split()
    assert int(pid) != os.getpid()
    assert int(niceness) == min(os.nice(0) + NICENESS, 19)


def give_up() -> str:
    raise ModelError("fit again")


def test_what_it_says_of_an_error_is_said_here() -> None:
    with pytest.raises(TriageError, match=r"^fit again$"):
        run_in_process(give_up)


def run_out_of_memory() -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_should_it_be_killed_this_process_lives_and_says_so() -> None:
    with pytest.raises(TriageError, match=r"^killed by SIGKILL\. .* enough memory"):
        run_in_process(run_out_of_memory)


def trip() -> str:
    raise ZeroDivisionError


def test_a_fault_of_its_own_is_told_in_full(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TriageError, match="failed; the traceback is in the log"):
        run_in_process(trip)
    assert "ZeroDivisionError" in capfd.readouterr().err


def end_if_asked() -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    return "done"


def test_who_ends_the_program_waits_for_it() -> None:
    assert run_in_process(end_if_asked) == "done"


def outlive_the_parent(started: str) -> str:
    Path(started).touch()
    time.sleep(1)
    print("done", flush=True)
    return "done"


def test_it_finishes_and_ends_when_this_process_is_killed(tmp_path: Path) -> None:
    started = tmp_path / "started"
    call = f"{__name__} as m; m.run_in_process(m.outlive_the_parent, {str(started)!r})"
    parent = subprocess.Popen([sys.executable, "-c", f"import {call}"], stdout=subprocess.PIPE)
    while not started.exists():
        assert parent.poll() is None
        time.sleep(0.02)
    parent.kill()
    # The pipe is at its end when no process has it open any more.
    out, _ = parent.communicate(timeout=60)
    assert out == b"done\n"
    assert parent.returncode == -signal.SIGKILL


def test_the_scheduler_trains_so(tmp_path: Path) -> None:
    from tests.support import databases
    from tests.support.fakes import StoppedClock
    from triage.app.application import open_app
    from triage.app.installation import create_installation

    database = databases.new_database(tmp_path)
    url = database.engine.url.render_as_string(hide_password=False)
    config, _ = create_installation(tmp_path, databases.config_naming(url))
    app = open_app(config, clock=StoppedClock())
    [train] = [job for job in app.new_schedule().jobs if job.name == "train"]
    assert train.do().startswith("nothing to train on: ")
    app.close()
