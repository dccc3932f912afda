"""Blocks of a night go to workers: what these get, what is refused, and what a death costs."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support import block_work
from tests.support.factories import DAY
from tests.support.paths import ROOT
from triage.app import engine
from triage.app.application import App
from triage.app.engine import BlockJob, Workers, choose_workers, run_jobs
from triage.clock import SystemClock
from triage.digest.nightly import Block
from triage.errors import ConfigError
from triage.settings import DatabaseSettings, EngineSettings, Settings, load_settings

SECRET = "q7Rk2mZx9Lw4Tb8Ny5Vc1Hd6Jf3Gs0Pa-QeWr"
PROCESSES = partial(engine.start_processes, 2)


def jobs_of(folder: Path, n_blocks: int, size: int = 4) -> list[BlockJob]:
    return [
        BlockJob(
            settings=Settings(folder=folder),
            clock=SystemClock(),
            identity="of the tests",
            block=Block(1, DAY, ("encoder", "scorer"), 14, tuple(range(first, first + size))),
        )
        for first in range(1, n_blocks * size, size)
    ]


def run(folder: Path, work: Callable[[BlockJob], Any], n_blocks: int = 6) -> list[Any]:
    return list(run_jobs(PROCESSES, jobs_of(folder, n_blocks), work))


def readers_of(results: Sequence[Any]) -> Counter[int]:
    return Counter(who for _, made in results if not isinstance(made, str) for who in made)


def lost_of(results: Sequence[Any]) -> Counter[int]:
    return Counter(
        who for block, why in results if isinstance(why, str) for who in block.subscriber_ids
    )


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    {
        "an unknown kind": ('kind = "ray"', "`engine.kind`: Input should be 'processes' or 'dask'"),
        "Dask without an address": ('kind = "dask"', "needs the `address` of its scheduler"),
        "Dask with another address": (
            'kind = "dask"\naddress = "http://10.0.0.5/"', "needs the `address` of its scheduler"
        ),
        "an address of processes": (
            'address = "tcp://10.0.0.5:8786"', '`address` is for kind = "dask"'
        ),
        "workers of Dask": (
            'kind = "dask"\naddress = "tcp://10.0.0.5:8786"\nworkers = 4',
            "Dask's own commands start the workers",
        ),
        "Dask on SQLite": (
            'kind = "dask"\naddress = "tcp://10.0.0.5:8786"',
            "needs PostgreSQL in [database] url: other machines cannot open a file of SQLite",
        ),
        "fewer than no workers": ("workers = -1", "`engine.workers`"),
        "a key that is none": ("worker = 2", "did you mean `workers`?"),
    }.values(),
)  # fmt: skip
def test_what_cannot_work_is_refused_and_told(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "triage.toml"
    config.write_text(f"[engine]\n{text}\n")
    with pytest.raises(ConfigError) as refused:
        load_settings(config)
    assert said in str(refused.value)
    assert "``" not in str(refused.value)


def test_a_cluster_on_postgresql_is_accepted(tmp_path: Path) -> None:
    config = tmp_path / "triage.toml"
    config.write_text(
        '[engine]\nkind = "dask"\naddress = "tls://10.0.0.5:8786"\n'
        '[database]\nurl = "postgresql://db.example.org/triage"\n'
    )
    assert load_settings(config).engine.address == "tls://10.0.0.5:8786"


def test_a_cluster_without_its_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'paper-triage\[dask\]'"):
        choose_workers(EngineSettings(kind="dask", address="tcp://10.0.0.5:8786"))


def test_one_worker_is_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_workers(EngineSettings(workers=1)) is None
    monkeypatch.setattr(engine, "_count_cores", lambda: 1)
    assert choose_workers(EngineSettings()) is None
    monkeypatch.setattr(engine, "_count_cores", lambda: 3)
    start = choose_workers(EngineSettings())
    assert start is not None
    with start() as workers:
        assert workers.count() == 3


# -- what a worker gets ----------------------------------------------------------------------------


def test_no_password_of_mail_reaches_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imap").write_text("imap-hunter2")
    monkeypatch.setenv("TRIAGE_MAIL_PASSWORD", "smtp-hunter2")
    monkeypatch.setenv("TRIAGE_IMAP_PASSWORD_FILE", str(tmp_path / "imap"))
    monkeypatch.setenv("TRIAGE_SECRET_KEY", SECRET)
    config = tmp_path / "triage.toml"
    config.write_text('[mail]\ntransport = "smtp"\nusername = "papers"\n[bounces]\nimap_host = "h"')
    settings = load_settings(config)
    [plain] = jobs_of(tmp_path, 1)
    job = replace(plain, settings=settings, identity=App(settings, plain.clock).identity)
    pickled = pickle.dumps(job)
    assert b"hunter2" not in pickled
    assert SECRET.encode() not in pickled
    [(_, environment)] = run_jobs(PROCESSES, [job], block_work.tell_environment)
    assert "hunter2" not in str(environment)
    assert not {name for name in environment if "MAIL" in name or "IMAP" in name}
    assert environment["TRIAGE_SECRET_KEY"] == SECRET
    assert environment["OMP_NUM_THREADS"] == "1"


def test_the_password_of_the_database_is_in_no_log(tmp_path: Path) -> None:
    [job] = jobs_of(tmp_path, 1)
    database = DatabaseSettings(url="postgresql://triage:hunter2@db.example.org/triage")
    assert "hunter2" not in repr(replace(job, settings=Settings(database=database)))


def test_a_worker_with_another_secret_or_version_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIAGE_SECRET_KEY", SECRET)
    [job] = jobs_of(tmp_path, 1)
    with pytest.raises(ConfigError, match="another version of triage, or another signing secret"):
        engine.make_block(job)
    assert SECRET not in App(job.settings, job.clock).identity


def test_no_more_blocks_are_given_out_than_workers_can_begin_and_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Future[Any], BlockJob]] = []
    most = 0

    class Idle(Executor):
        def submit(self, work, /, job):  # type: ignore[no-untyped-def, override]
            given.append((Future(), job))
            return given[-1][0]

    def finish_and_wait(*args: Any) -> Any:
        nonlocal most
        most = max(most, len(given))
        for future, job in given:
            future.set_result(job.block.subscriber_ids)
        given.clear()
        return wait(*args)

    @contextmanager
    def start() -> Iterator[Workers]:
        yield Workers(Idle(), lambda: 2)

    monkeypatch.setattr(engine, "wait", finish_and_wait)
    done = list(run_jobs(start, jobs_of(tmp_path, 20)))
    assert readers_of(done) == Counter(range(1, 81))
    assert most == 3


# -- deaths ----------------------------------------------------------------------------------------


def test_each_block_is_made_once_by_another_process(tmp_path: Path) -> None:
    results = run(tmp_path, block_work.note)
    assert readers_of(results) == Counter(range(1, 25))
    pids = {pid for _, pid in block_work.served(tmp_path)}
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_a_worker_that_dies_costs_another_try_and_nothing_else(tmp_path: Path) -> None:
    results = run(tmp_path, block_work.die_once)
    assert readers_of(results) == Counter(range(1, 25))


def test_a_block_that_kills_its_process_costs_one_subscriber(tmp_path: Path) -> None:
    results = run(tmp_path, block_work.die_of_poison)
    assert lost_of(results) == Counter([block_work.POISON])
    assert {each for _, each in results if isinstance(each, str)} == {engine.KILLED}
    assert set(readers_of(results)) == set(range(1, 25)) - {block_work.POISON}


def test_where_every_process_is_killed_the_end_comes_soon_and_all_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_DEATHS", 5)
    results = run(tmp_path, block_work.die)
    assert lost_of(results) == Counter(range(1, 25))
    n_deaths = (tmp_path / "deaths").stat().st_size
    # Of each process of a pool, and of those in which the blocks were alone.
    assert n_deaths <= 2 * engine.MOST_TRIES + engine.MOST_DEATHS + 6


def test_an_error_of_a_block_is_named_and_costs_no_other_block(tmp_path: Path) -> None:
    with capture_logs() as logs:
        results = run(tmp_path, block_work.fail, n_blocks=1)
    assert lost_of(results) == Counter([1, 2, 3, 4])
    assert [why for _, why in results] == ["one of these subscribers is odd"]
    tries = [each for each in logs if each["event"] == "a block failed"]
    assert len(tries) == engine.MOST_TRIES


def test_a_block_that_every_worker_refuses_is_made_on_this_machine(tmp_path: Path) -> None:
    assert readers_of(run(tmp_path, block_work.fail_here_alone, n_blocks=1)) == Counter(range(1, 5))


@pytest.mark.parametrize("trouble", ["none can be reached", "none answers"])
def test_without_workers_the_blocks_are_made_on_this_machine(tmp_path: Path, trouble: str) -> None:
    class Silent(Executor):
        def submit(self, work, /, *args):  # type: ignore[no-untyped-def, override]
            return Future()

    starts: list[str] = []

    @contextmanager
    def start() -> Iterator[Workers]:
        starts.append(trouble)
        if trouble == "none can be reached":
            raise OSError("timed out trying to connect to tcp://10.0.0.5:8786")
        yield Workers(Silent(), lambda: 2, stalled_s=0.01)

    with capture_logs() as logs:
        results = list(run_jobs(start, jobs_of(tmp_path, 4), block_work.note))
    assert readers_of(results) == Counter(range(1, 17))
    assert len(starts) == engine.MOST_TRIES
    assert [each["log_level"] for each in logs if each["event"] == "the workers are lost"] == (
        ["error"] * engine.MOST_TRIES
    )


def test_who_stops_reading_stops_the_workers(tmp_path: Path) -> None:
    results = run_jobs(PROCESSES, jobs_of(tmp_path, 40), block_work.note_slowly)
    next(results)
    results.close()  # type: ignore[attr-defined]
    n = len(block_work.served(tmp_path))
    assert n < 40
    time.sleep(0.5)
    assert len(block_work.served(tmp_path)) == n


STARTED = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from tests.app.test_engine import PROCESSES, jobs_of
from tests.support import block_work
from triage.app.engine import run_jobs

if __name__ == "__main__":
    for _ in run_jobs(PROCESSES, jobs_of(Path(sys.argv[1]), 1000), block_work.note):
        print("one", flush=True)
        time.sleep(3600)
"""


def test_the_workers_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(STARTED)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, script, tmp_path], stdout=subprocess.PIPE, env=environment, text=True
    ) as program:
        assert isinstance(program.stdout, io.TextIOBase)
        assert program.stdout.readline() == "one\n"
        program.kill()
    pids = {pid for _, pid in block_work.served(tmp_path)}
    assert pids
    deadline = time.monotonic() + 60
    while any(_lives(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_lives(pid) for pid in pids)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
