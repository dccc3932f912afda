"""A good guest: a server on loopback says how several processes, often killed, treat it."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support import databases
from tests.support.guarantees import Guarantee
from triage.app.lease_owner import is_gone, name_this_process
from triage.clock import SystemClock
from triage.domain.request_limits import Rules
from triage.errors import SourceError
from triage.sources.http.client import PoliteClient
from triage.store import open_database
from triage.store.shared_limiter import SharedRequestLimiter

N_PROCESSES = 4
ANSWER = b"HTTP/1.1 %s\r\nContent-Length: 2\r\nConnection: close\r\n%s\r\nok"


@dataclass
class Request:
    """One request, in seconds of the machine's clock. `leave_s` is when the next one may come."""

    pid: int
    started_s: float
    ended_s: float = 0.0
    leave_s: float = 0.0
    is_cut: bool = False


@dataclass
class Server:
    """Answers slowly, sometimes in trouble, and writes down what it sees.

    Every request goes through a connection of its own, whose answer takes up to `takes_s`. One that
    is cut short ends when its process is killed, which is a little before the server can see it.

    Attributes:
        troubles: what goes wrong, by the number of the request: status and Retry-After.
        killed_s: when a process was killed, by its number.
        is_stuck: whether no answer leaves; changed under `answering` alone.
    """

    takes_s: float
    troubles: dict[int, tuple[int, str]]
    requests: list[Request] = field(default_factory=list)
    killed_s: dict[int, float] = field(default_factory=dict)
    most_connections: int = 0
    is_stuck: bool = False
    answering: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._chance = random.Random(29)  # noqa: S311
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._open: dict[socket.socket, tuple[float, int, Request] | None] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        for connection in list(self._open):
            self._close(connection)
        self._listener.close()
        self._selector.close()

    def under_way(self) -> int | None:
        """Return the number of a process whose request is being answered now."""
        for state in list(self._open.values()):
            if state is not None:
                return state[2].pid
        return None

    def _serve(self) -> None:
        while not self._is_over.is_set():
            for key, _ in self._selector.select(self._pause_s()):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._hear(key.fileobj)
            with self.answering:
                self._answer_due()

    def _answer_due(self) -> None:
        now_s = time.time()
        for connection, state in list(self._open.items()):
            if state is not None and now_s >= state[0] and not self.is_stuck:
                self._answer(connection, state[1], state[2])

    def _pause_s(self) -> float:
        """Return how long nothing is due but what comes."""
        now_s = time.time()
        due = [state[0] - now_s for state in self._open.values() if state is not None]
        return max(min([0.05, *due]), 0.001)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._open[connection] = None
            self._selector.register(connection, selectors.EVENT_READ)
            self.most_connections = max(self.most_connections, len(self._open))

    def _hear(self, connection: socket.socket) -> None:
        heard = b""
        with suppress(ConnectionError):
            heard = connection.recv(65_536)
        if heard:
            pid = int(heard.partition(b"User-Agent: process-")[2].partition(b"\r\n")[0])
            request = Request(pid, time.time())
            self.requests.append(request)
            due_s = request.started_s + self._chance.uniform(0, self.takes_s)
            self._open[connection] = (due_s, len(self.requests), request)
            return
        state = self._open[connection]
        if state is not None:
            _, _, request = state
            request.ended_s, request.is_cut = time.time(), True
        self._close(connection)

    def _answer(self, connection: socket.socket, number: int, request: Request) -> None:
        status, retry_after = self.troubles.get(number, (200, ""))
        asked = b"Retry-After: %s\r\n" % retry_after.encode() if retry_after else b""
        # Written down before it leaves: what the client does next comes after.
        request.ended_s = time.time()
        if retry_after:
            request.leave_s = request.ended_s + int(retry_after)
        if retry_after and status == 503:  # The same as a date, which has whole seconds.
            at = datetime.fromtimestamp(int(request.leave_s), UTC)
            asked = b"Retry-After: %s\r\n" % format_datetime(at, usegmt=True).encode()
            request.leave_s = at.timestamp()
        with suppress(ConnectionError):
            connection.send(ANSWER % (b"%d Status" % status, asked))
        self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()
        del self._open[connection]


def guest(server_url: str, database_url: str, interval_s: float, budget: int) -> None:
    """Ask until the day's requests are spent."""
    clock, database = SystemClock(), open_database(database_url)
    turns = SharedRequestLimiter(
        database,
        clock,
        "arxiv",
        Rules(interval_s, budget),
        owner=name_this_process(),
        is_gone=is_gone,
    )
    with PoliteClient(clock, f"process-{os.getpid()}", interval_s, turns=turns) as gate:
        for n in itertools.count():
            try:
                gate.get(server_url, {"n": str(n)})
            except SourceError as error:
                if "requests today" in str(error):
                    break
    database.close()


class Guests:
    """Several such processes; one that is killed is followed by another."""

    def __init__(self, server: Server, *arguments: Any) -> None:
        # The guests come from a process that has loaded all they need, and has no threads.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            ["httpx", "httpcore", "sqlalchemy.dialects.sqlite", __name__]
        )
        self._server = server
        self._arguments = (server.url, *arguments)
        self._chance = random.Random(60)  # noqa: S311
        self.running = [self._start() for _ in range(N_PROCESSES)]

    def _start(self) -> Any:
        process = self._context.Process(target=guest, args=self._arguments, daemon=True)
        process.start()
        return process

    def wait_until_asked(self, n_requests: int) -> None:
        while len(self._server.requests) < n_requests:
            assert all(process.exitcode is None for process in self.running)
            time.sleep(0.001)

    def kill(self, *, asking: bool) -> None:
        """Kill one of them: one whose request is being answered, or any at any moment."""
        by_pid = {process.pid: n for n, process in enumerate(self.running)}
        pid = self._chance.choice(self.running).pid
        with self._server.answering:
            self._server.is_stuck = asking
        while asking and (pid := self._server.under_way()) is None:
            time.sleep(0.001)
        self._server.killed_s[pid] = time.time()
        os.kill(pid, signal.SIGKILL)
        process = self.running[by_pid[pid]]
        process.join()
        assert process.exitcode == -signal.SIGKILL
        while asking and self._server.under_way() == pid:  # It has yet to see the end.
            time.sleep(0.001)
        self._server.is_stuck = False
        self.running[by_pid[pid]] = self._start()

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.join()

    def wait(self) -> None:
        for process in self.running:
            process.join()
            assert process.exitcode == 0


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    with databases.migrated_url(tmp_path) as url:
        yield url


def gaps_s(server: Server) -> list[float]:
    """Return the seconds between the end of each request and the start of the next one."""
    requests = sorted(server.requests, key=lambda request: request.started_s)
    ends = [
        server.killed_s.get(request.pid, request.ended_s) if request.is_cut else request.ended_s
        for request in requests
    ]
    starts = [request.started_s for request in requests]
    return [start - max(ends[: n + 1]) for n, start in enumerate(starts[1:])]


def earliest_s(server: Server) -> float:
    """Return by how much the hastiest request came after the time that the server had named."""
    requests = sorted(server.requests, key=lambda request: request.started_s)
    return min(
        later.started_s - request.leave_s
        for n, request in enumerate(requests)
        if request.leave_s
        for later in requests[n + 1 :]
    )


@pytest.mark.guarantee("R29")
def test_processes_that_share_a_database_and_are_killed_all_the_time_treat_a_server_well(
    guarantee: Guarantee, database_url: str
) -> None:
    n_requests, n_kills, interval_s = (2000, 60, 0.02) if guarantee.full else (120, 6, 0.01)
    trouble = [(429, "1"), (503, "1"), (500, ""), (503, "")] * (3 if guarantee.full else 1)
    every = n_requests // (len(trouble) + 1)
    troubles = {every * n: each for n, each in enumerate(trouble, 1)}
    with Server(takes_s=0.01, troubles=troubles) as server:
        guests = Guests(server, database_url, interval_s, n_requests)
        try:
            for n in range(n_kills):
                guests.wait_until_asked(n_requests * (n + 1) // (n_kills + 2))
                guests.kill(asking=n % 2 == 0)
            guests.wait()
        finally:
            guests.end()

    assert len(server.killed_s) == n_kills
    n_cut_short = sum(request.is_cut for request in server.requests)
    assert n_cut_short >= n_kills // 2
    assert min(gaps_s(server)) >= interval_s
    assert server.most_connections == 1
    # A turn whose owner died before it asked is spent all the same.
    assert n_requests - n_kills <= len(server.requests) <= n_requests
    assert earliest_s(server) >= 0
    # Who took the place of the killed asked as well; on a busy machine not all of them live to.
    assert len({request.pid for request in server.requests}) > N_PROCESSES
    guarantee.record(
        n_processes=N_PROCESSES,
        n_requests=len(server.requests),
        n_kills=n_kills,
        n_cut_short=n_cut_short,
        interval_s=interval_s,
        least_gap_s=round(min(gaps_s(server)), 4),
        most_connections=server.most_connections,
        least_after_retry_after_s=round(earliest_s(server), 3),
    )


@pytest.mark.guarantee("R29")
def test_real_requests_to_arxiv_would_be_three_seconds_apart(
    guarantee: Guarantee, database_url: str
) -> None:
    if not guarantee.full:
        pytest.skip("takes a minute: run with --full")
    n_gaps = 20
    with Server(takes_s=0.2, troubles={}) as server:
        guests = Guests(server, database_url, 3.0, n_gaps + 1)
        try:
            guests.wait()
        finally:
            guests.end()
    assert len(server.requests) == n_gaps + 1
    assert min(gaps_s(server)) >= 3.0
    assert server.most_connections == 1
    guarantee.record(n_real_gaps=n_gaps, least_real_gap_s=round(min(gaps_s(server)), 3))
