"""Makes the blocks of a night in several processes, of this machine or of a Dask cluster.

    Nightly.queue → BlockJob → make_block in a worker → QueuedBlock → Nightly.queue

The workers are used through `concurrent.futures.Executor` alone. A block may be made twice, because
the database keeps only one digest for each subscriber and date. So a block that failed is tried
again, and at last alone on this machine: a block that kills its process costs no other one.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from importlib.util import find_spec
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any

import structlog

from triage.errors import ConfigError
from triage.operations.worker_process import prepare_worker

if TYPE_CHECKING:
    from triage.digest.nightly import Block, Nightly, QueuedBlock
    from triage.domain.protocols import Clock
    from triage.settings import EngineSettings, Settings

log = structlog.get_logger()

MOST_TRIES = 3
# Enough to find the two subscribers of a night who bring a process down.
MOST_DEATHS = 20
CONNECT_S = 30
# A block takes some seconds, and the first of a process some more.
STALLED_S = 900.0
MAIL_SECRETS = ("MAIL_PASSWORD", "IMAP_PASSWORD")
KILLED = "the process that made it was killed. Does the machine have enough memory?"


@dataclass(frozen=True, slots=True)
class BlockJob:
    """A block of subscribers, and what a worker needs to make their digests.

    The only secret in it is the database's password.

    Attributes:
        settings: as in the config file. They are not shown, because Dask logs what fails.
        identity: of the program that gave the job, see `App.identity`.
    """

    settings: Settings = field(repr=False)
    clock: Clock
    identity: str = field(repr=False)
    block: Block

    def halves(self) -> list[BlockJob]:
        """Return two jobs with half of the subscribers each; none if there is only one."""
        ids = self.block.subscriber_ids
        middle = len(ids) // 2
        parts = [ids[:middle], ids[middle:]] if middle else []
        return [replace(self, block=replace(self.block, subscriber_ids=part)) for part in parts]


@dataclass(frozen=True, slots=True)
class Workers:
    """Running workers.

    Attributes:
        count: returns how many blocks they make at the same time.
        stalled_s: if no block is done in so many seconds, they are given up.
    """

    executor: Executor
    count: Callable[[], int]
    stalled_s: float | None = None


Start = Callable[[], AbstractContextManager[Workers]]
Work = Callable[[BlockJob], "QueuedBlock"]
Results = Iterator[tuple["Block", "QueuedBlock | str"]]


def make_block(job: BlockJob) -> QueuedBlock:
    """Make and queue the digests of a block, in a worker.

    Raises:
        ConfigError: this worker has another secret or version than the program that gave the job.
    """
    # The objects of a process are for one block at a time, also where Dask has several threads.
    with _one_at_a_time:
        nightly = _open_nightly(job.settings, job.identity)
        nightly.clock = job.clock
        return nightly.queue_block(job.block)


_one_at_a_time = threading.Lock()


@lru_cache(maxsize=1)
def _open_nightly(settings: Settings, identity: str) -> Nightly:
    """Open an installation once per process, so that what a night needs is loaded once."""
    from triage.app.application import App
    from triage.clock import SystemClock

    app = App(settings, SystemClock())
    if app.identity != identity:
        raise ConfigError(
            "this worker has another version of triage, or another signing secret, than the"
            " program that makes the digests: give all machines the same ones"
        )
    return app.new_nightly()


def choose_workers(settings: EngineSettings) -> Start | None:
    """Return what starts the workers; None if this process makes all blocks.

    Raises:
        ConfigError: the client of the cluster is not installed.
    """
    if settings.kind == "dask":
        if find_spec("distributed") is None:
            raise ConfigError(
                '[engine] kind = "dask" needs the client of Dask: run'
                " `pip install 'paper-triage[dask]'`, or set the kind to \"processes\""
            )
        return partial(join_cluster, settings.address)
    n = settings.workers or _count_cores()
    return partial(start_processes, n) if n > 1 else None


def _count_cores() -> int:
    # Not every system can bind a process to some of its cores.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def start_processes(n: int) -> Iterator[Workers]:
    """Start up to `n` processes, which end with the context or with this process."""
    # A forked process would inherit locks that other threads or the database hold.
    executor = ProcessPoolExecutor(n, get_context("spawn"), initializer=_begin_process)
    try:
        yield Workers(executor, lambda: n)
    finally:
        executor.shutdown(cancel_futures=True)


def _begin_process() -> None:
    prepare_worker()
    # Each process is for one core. numpy, which reads these, is not loaded yet.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for name in MAIL_SECRETS:
        os.environ.pop(f"TRIAGE_{name}", None)
        os.environ.pop(f"TRIAGE_{name}_FILE", None)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # If its parent is killed, an idle process of a pool would stay for ever.
    if parent := parent_process():
        parent.join()
        os._exit(1)


@contextmanager
def join_cluster(address: str) -> Iterator[Workers]:
    """Connect to a Dask scheduler that has a worker.

    Raises:
        OSError: there was none in time.
    """
    from distributed import Client

    # The package says that it is typed, and is not.
    client: Any = Client(address, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    with client:
        client.wait_for_workers(1, timeout=CONNECT_S)
        yield Workers(
            client.get_executor(pure=False),
            lambda: sum(client.nthreads().values()),
            STALLED_S,
        )


def run_jobs(start: Start, jobs: Sequence[BlockJob], work: Work = make_block) -> Results:
    """Yield what became of each block, or of each part of it, or why nothing did.

    The workers have one block each and one waits, so memory does not depend on the number of jobs.

    Args:
        work: replaces what makes a block.
    """
    run = _Run(work, deque(jobs))
    while run.waiting and run.n_idle_starts < MOST_TRIES:
        yield from run.with_workers(start)
    run.suspects.extend(run.waiting)
    while run.suspects:
        yield from run.alone()


@dataclass
class _Run:
    """The blocks that are not done yet.

    Attributes:
        suspects: blocks that failed too often to be tried beside others.
        n_idle_starts: how often workers were started since a block was done.
        n_deaths: how many processes were killed in which a block was alone.
    """

    work: Work
    waiting: deque[BlockJob]
    suspects: deque[BlockJob] = field(default_factory=deque)
    n_idle_starts: int = 0
    n_deaths: int = 0
    _tries: Counter[Block] = field(default_factory=Counter)

    def with_workers(self, start: Start) -> Results:
        """Yield what is done, until nothing waits or the workers cannot be used any more."""
        running: dict[Future[QueuedBlock], BlockJob] = {}
        self.n_idle_starts += 1
        try:
            with start() as workers:
                while self._give_out(workers, running):
                    done, _ = wait(running, workers.stalled_s, FIRST_COMPLETED)
                    if not done:
                        raise TimeoutError(f"no block was done in {workers.stalled_s} seconds")
                    for future in done:
                        try:
                            queued = future.result()
                        except Exception as error:
                            self._put_back(running.pop(future), error)
                            continue
                        self.n_idle_starts = 0
                        yield running.pop(future).block, queued
        except Exception as error:
            log.exception("the workers are lost")
            for job in running.values():
                self._put_back(job, error)

    def _give_out(self, workers: Workers, running: dict[Future[QueuedBlock], BlockJob]) -> bool:
        """Hand out blocks; return whether any are with the workers now."""
        while self.waiting and len(running) <= workers.count():
            try:
                future = workers.executor.submit(self.work, self.waiting[0])
            except BrokenExecutor:
                break
            running[future] = self.waiting.popleft()
        return bool(running)

    def _put_back(self, job: BlockJob, error: Exception) -> None:
        self._tries[job.block] += 1
        why = str(error) or type(error).__name__
        log.warning("a block failed", first=job.block.subscriber_ids[0], why=why)
        again = self._tries[job.block] < MOST_TRIES
        (self.waiting if again else self.suspects).append(job)

    def alone(self) -> Results:
        """Yield what is done in one process of this machine, until it is killed.

        If a block kills it, the halves of the block come next, so that in the end only a subscriber
        is lost.
        """
        with start_processes(1) as workers:
            while self.suspects:
                job = self.suspects.popleft()
                try:
                    yield job.block, workers.executor.submit(self.work, job).result()
                except BrokenExecutor:
                    self.n_deaths += 1
                    halves = job.halves() if self.n_deaths < MOST_DEATHS else []
                    self.suspects.extendleft(reversed(halves))
                    if not halves:
                        yield job.block, KILLED
                    return
                except Exception as error:
                    log.exception("a block failed alone", first=job.block.subscriber_ids[0])
                    yield job.block, str(error) or type(error).__name__
