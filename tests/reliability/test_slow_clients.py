"""Clients that ask and do not read, or that never ask, cost others nothing.

The server is a process of its own, with real pages, and as many files as a process usually has.
"""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.guarantees import Guarantee

pytestmark = pytest.mark.any_database("it is about connections")

N_CLIENTS = 1_100
SERVER = """
import resource, socket, sys, threading
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
from tests.support.web_world import new_world
from triage.cli import http_server
world = new_world(Path(sys.argv[1]))
with socket.socket() as unused:
    unused.bind(("127.0.0.1", 0))
    port = unused.getsockname()[1]
print(port, flush=True)
http_server.serve(world.client().app, "127.0.0.1", port)
"""
HEADER = b" HTTP/1.1\r\nHost: triage.example\r\n"
SENT = {
    "never sends": b"",
    "never ends its headers": b"GET /" + HEADER,
    "never reads": (b"GET /style.css" + HEADER + b"\r\n") * 16,
    "never sends the form": b"POST /login" + HEADER + b"Content-Length: 60000\r\n\r\nemail=",
}


@contextmanager
def served(folder: Path) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """Run the server; return its address, and the lines of its log after its end."""
    log: list[str] = []
    command = [sys.executable, "-c", SERVER, str(folder)]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as server:
        try:
            assert server.stdout is not None
            address = ("127.0.0.1", int(server.stdout.readline()))
            until_it_listens(address)
            yield address, log
        finally:
            server.kill()
            log += server.communicate(timeout=60)[1].splitlines()


def until_it_listens(address: tuple[str, int]) -> None:
    for _ in range(3_000):
        with suppress(ConnectionRefusedError), socket.create_connection(address):
            return
        time.sleep(0.02)


def ask(address: tuple[str, int], path: str) -> bytes:
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"GET " + path.encode() + HEADER + b"Connection: close\r\n\r\n")
        said = b""
        while chunk := connection.recv(65536):
            said += chunk
    return said


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * N_CLIENTS:
        pytest.skip("this process may not open so many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * N_CLIENTS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.guarantee("R27")
@pytest.mark.parametrize("kind", SENT)
def test_eleven_hundred_clients_that_do_nothing_more_cost_others_nothing(
    kind: str, tmp_path: Path, many_files: None, guarantee: Guarantee
) -> None:
    with ExitStack() as clients, served(tmp_path) as (address, log):
        answers = []
        for n in range(N_CLIENTS):
            client = clients.enter_context(socket.socket())
            # A little that is not read is enough to fill it.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(60)
            client.connect(address)
            client.sendall(SENT[kind])
            if n % 50 == 49:
                answers += [ask(address, path) for path in ("/", "/papers/1")]
        assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK"] * len(answers)
    assert len(log) < N_CLIENTS / 10, log[:20]
    guarantee.record(**{kind.replace(" ", "_"): f"{N_CLIENTS} clients, {len(answers)} answers"})
