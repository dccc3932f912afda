"""What listens for requests reads no endless headers, and takes only so many connections."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from triage.cli import http_server


@contextmanager
def served(host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """Serve a page that says "here", and one that says whom it takes the client for."""
    client = Route("/client", lambda request: PlainTextResponse(request.client.host))
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here")), client])
    options = http_server._options(app, host, 0)
    server = uvicorn.Server(
        uvicorn.Config(**options | {"log_level": "critical", "timeout_keep_alive": 0.3})
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[:2]
    server.should_exit = True
    thread.join()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 4)
    with served() as address:
        yield address


def until_here(connection: socket.socket) -> None:
    connection.settimeout(30)
    said = b""
    while b"here" not in said:
        said += connection.recv(65536)


def until_closed(connection: socket.socket) -> bytes:
    connection.settimeout(30)
    said = b""
    while chunk := connection.recv(65536):
        said += chunk
    return said


REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n"


def test_a_whole_request_is_answered_and_another_on_the_same_connection(
    address: tuple[str, int],
) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(REQUEST + b"\r\n")
        until_here(connection)
        connection.sendall(REQUEST + b"Connection: close\r\n\r\n")
        said = until_closed(connection)
    assert said.startswith(b"HTTP/1.1 200")
    assert b"server:" not in said.lower()


def test_who_asks_for_nothing_more_is_hung_up_on(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(REQUEST + b"\r\n")
        until_here(connection)
        assert until_closed(connection) == b""


def test_above_so_many_connections_the_answer_is_503_until_one_is_closed(
    address: tuple[str, int],
) -> None:
    with ExitStack() as silent:
        for _ in range(4):
            silent.enter_context(socket.create_connection(address)).sendall(b"GET / HT")
        with socket.create_connection(address) as connection:
            connection.sendall(REQUEST + b"\r\n")
            assert until_closed(connection).startswith(b"HTTP/1.1 503")
    deadline = time.monotonic() + 30
    said = b""
    while not said.startswith(b"HTTP/1.1 200") and time.monotonic() < deadline:
        with socket.create_connection(address) as connection:
            connection.sendall(REQUEST + b"Connection: close\r\n\r\n")
            said = until_closed(connection)
    assert said.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("header", [b"X-Long: " + b"x" * 17_000, b"X-Many: x\r\n" * 2_000])
def test_headers_that_do_not_end_within_16_kb_are_refused(
    address: tuple[str, int], header: bytes
) -> None:
    with socket.create_connection(address) as connection:
        head = REQUEST + header
        for start in range(0, len(head), 4_000):
            if select.select([connection], [], [], 0.02)[0]:
                break
            connection.sendall(head[start : start + 4_000])
        assert until_closed(connection).startswith(b"HTTP/1.1 4")


def test_what_is_no_request_is_refused(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        assert until_closed(connection).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("listens_at", "trusted", "client"),
    [
        ("127.0.0.1", None, "198.51.100.7"),
        ("::1", None, "198.51.100.7"),
        ("127.0.0.1", "10.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1,198.51.100.0/24", "203.0.113.9"),
    ],
)
def test_only_a_trusted_proxy_says_who_the_client_is(
    monkeypatch: pytest.MonkeyPatch, listens_at: str, trusted: str | None, client: str
) -> None:
    """Limits count by this address. What a client itself has written before it is not believed."""
    if trusted is None:
        monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    else:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    with served(listens_at) as address, socket.create_connection(address) as connection:
        connection.sendall(
            b"GET /client HTTP/1.1\r\nHost: here\r\nConnection: close\r\n"
            b"X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\n\r\n"
        )
        assert until_closed(connection).endswith(f"\r\n\r\n{client}".encode())
