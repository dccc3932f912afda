"""What listens for requests waits for nobody for ever, and reads no endless headers."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from triage.cli import _listener


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(_listener, "HEAD_WITHIN_S", 0.3)
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))])
    config = uvicorn.Config(
        app, port=0, http=_listener._Patient, log_level="critical", server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join()


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


@pytest.mark.parametrize("begun", [b"", b"GET / HT", REQUEST + b"X-Slow: "])
def test_who_sends_no_whole_head_is_hung_up_on(address: tuple[str, int], begun: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(begun)
        assert until_closed(connection) == b""


def test_a_second_request_that_drips_is_hung_up_on_too(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(REQUEST + b"\r\n")
        until_here(connection)
        connection.sendall(b"GET ")
        assert until_closed(connection) == b""


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""])
@pytest.mark.parametrize("header", [b"X-Long: " + b"x" * 17_000, b"X-Many: x\r\n" * 2_000])
def test_headers_over_16_kb_are_refused(
    address: tuple[str, int], header: bytes, end: bytes
) -> None:
    with socket.create_connection(address) as connection:
        head = REQUEST + header + end
        for start in range(0, len(head), 4_000):
            if select.select([connection], [], [], 0.02)[0]:
                break
            connection.sendall(head[start : start + 4_000])
        assert until_closed(connection).startswith(b"HTTP/1.1 4")


def test_what_is_no_request_is_refused(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        assert until_closed(connection).startswith(b"HTTP/1.1 400")
