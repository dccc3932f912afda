"""What listens for requests waits for nobody for long, and takes only so many connections."""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from triage.cli import http_server

LONG = 40_000_000


class Work:
    """What the answers of /slow wait for."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()


@contextmanager
def served(work: Work | None = None, host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """Serve a short page, a slow one, long ones, and one that says who it thinks the client is."""

    def slow(_: Request) -> PlainTextResponse:
        assert work is not None
        work.begun.release()
        work.may_end.wait(30)
        return PlainTextResponse("here")

    def long(_: Request) -> PlainTextResponse:
        return PlainTextResponse("x" * LONG)

    def in_pieces(_: Request) -> StreamingResponse:
        return StreamingResponse(b"x" * 10_000 for _ in range(LONG // 10_000))

    app = Starlette(
        routes=[
            Route("/", lambda _: PlainTextResponse("here")),
            Route("/slow", slow),
            Route("/long", long),
            Route("/in-pieces", in_pieces),
            Route("/client", lambda request: PlainTextResponse(request.client.host)),
        ]
    )
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
def work() -> Work:
    return Work()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, work: Work) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(http_server, "MOST_ACCEPTED_AT_ONCE", 1)
    with served(work) as address:
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


def test_who_is_silent_makes_room_for_who_asks(address: tuple[str, int]) -> None:
    with ExitStack() as silent:
        first, *others = [silent.enter_context(socket.create_connection(address)) for _ in range(8)]
        for each in others:
            each.sendall(b"GET / HT")
        with socket.create_connection(address) as connection:
            connection.sendall(REQUEST + b"\r\n")
            until_here(connection)
        assert until_closed(first) == b""


def test_above_so_many_unfinished_requests_the_answer_is_503_until_one_is_finished(
    address: tuple[str, int], work: Work
) -> None:
    closing = b"Connection: close\r\n\r\n"
    with ExitStack() as busy:
        asked = []
        for _ in range(3):
            asked.append(busy.enter_context(socket.create_connection(address)))
            asked[-1].sendall(REQUEST.replace(b"/ ", b"/slow ") + closing)
            assert work.begun.acquire(timeout=30)
        with socket.create_connection(address) as connection:
            connection.sendall(REQUEST + closing)
            assert until_closed(connection).startswith(b"HTTP/1.1 503")
        work.may_end.set()
        assert all(until_closed(each).endswith(b"here") for each in asked)
    with socket.create_connection(address) as connection:
        connection.sendall(REQUEST + closing)
        assert until_closed(connection).endswith(b"here")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST])
def test_a_head_that_does_not_come_is_not_waited_for(
    address: tuple[str, int], sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "PATIENCE_S", 0.1)
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        assert until_closed(connection) == b""


def test_a_head_that_comes_by_the_byte_is_not_waited_for(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "PATIENCE_S", 0.2)
    with socket.create_connection(address) as connection:
        connection.sendall(REQUEST)
        n_sent = 0
        # It would take 30 seconds to send as much as a head may have.
        with suppress(ConnectionError):
            while n_sent < 3_000:
                connection.sendall(b"X")
                n_sent += 1
                time.sleep(0.01)
    assert n_sent < 3_000


@pytest.mark.parametrize("path", [b"/long", b"/in-pieces"])
def test_an_answer_that_nobody_reads_is_not_waited_for(
    address: tuple[str, int], path: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "PATIENCE_S", 0.1)
    with socket.create_connection(address) as connection:
        connection.sendall(REQUEST.replace(b"/ ", path + b" ") + b"\r\n")
        # Nothing is read until the server has hung up, and by then much is thrown away.
        poll = select.poll()
        poll.register(connection, select.POLLHUP | select.POLLERR)
        assert poll.poll(30_000)


@pytest.mark.parametrize("path", [b"/long", b"/in-pieces"])
def test_an_answer_that_is_read_slowly_comes_whole(
    address: tuple[str, int], path: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "PATIENCE_S", 1)
    with socket.create_connection(address) as connection:
        connection.sendall(REQUEST.replace(b"/ ", path + b" ") + b"Connection: close\r\n\r\n")
        connection.settimeout(30)
        n_read = 0
        while chunk := connection.recv(1_000_000):
            n_read += len(chunk)
            time.sleep(0.05)
    assert n_read > LONG


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


# -- the log ---------------------------------------------------------------------------------------


def records(kinds: dict[str, list[float]]) -> list[logging.LogRecord]:
    """Return log records, made at some seconds, in order of time."""
    made = []
    for kind, seconds in kinds.items():
        for second in seconds:
            record = logging.LogRecord("triage.web", 30, "", 0, "%s came", (kind,), None)
            record.kind, record.created = kind, second
            made.append(record)
    return sorted(made, key=lambda record: record.created)


def passed(made: list[logging.LogRecord]) -> list[str]:
    limit = http_server.OneLineASecond()
    return [record.getMessage() for record in made if limit.filter(record)]


def test_of_log_lines_of_a_kind_one_a_second_is_written_and_the_others_are_counted() -> None:
    told = passed(records({"a": [1000.0, 1000.1, 1000.9, 1001.1, 1003.0], "b": [1000.5]}))
    assert told == ["a came", "b came", "a came (and 2 like it before)", "a came"]


def test_a_clock_that_is_set_back_does_not_silence_the_log() -> None:
    assert passed(records({"a": [1000.0]}) + records({"a": [10.0]})) == ["a came", "a came"]


def test_the_log_limit_remembers_a_bounded_number_of_kinds() -> None:
    made = records({f"kind {n}": [1000.0] for n in range(3 * http_server.MOST_KINDS)})
    limit = http_server.OneLineASecond()
    assert all(limit.filter(record) for record in made)
    assert len(limit._passed) <= http_server.MOST_KINDS


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
    with served(host=listens_at) as address, socket.create_connection(address) as connection:
        connection.sendall(
            b"GET /client HTTP/1.1\r\nHost: here\r\nConnection: close\r\n"
            b"X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\n\r\n"
        )
        assert until_closed(connection).endswith(f"\r\n\r\n{client}".encode())
