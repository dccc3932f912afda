"""Listens for web requests, and waits no longer for one than it takes to send it."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

HEAD_WITHIN_S = 10.0
LONGEST_HEAD = 16 * 1024

log = logging.getLogger("triage.web")


class _Patient(HttpToolsProtocol):
    """Closes a connection whose request line and headers are not whole in time, or too long.

    Uvicorn itself waits for ever for the first request's (its keep-alive timeout begins later), and
    takes headers of any length; the time for a body is the application's own limit.
    """

    _deadline: asyncio.TimerHandle | None = None
    _is_in_head = False
    _n_came = 0
    _n_read = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        # What comes while nothing is answered and no head is whole afterwards is all of a head.
        is_head = self._is_in_head or self.cycle is None or self.cycle.response_complete
        super().data_received(data)
        if is_head and self._is_in_head and not self.transport.is_closing():
            self._n_came += len(data)
            if self._n_came > LONGEST_HEAD:
                self.send_400_response("The headers are too long.")
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        elif self._deadline is None:
            self._wait()

    def on_message_begin(self) -> None:
        self._is_in_head, self._n_came, self._n_read = True, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _count(self, n: int) -> None:
        self._n_read += n
        if self._n_read > LONGEST_HEAD:
            # The parser answers that the request is no good.
            raise ValueError("the headers are too long")

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEAD_WITHIN_S, self._give_up)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def listen(app: ASGIApp, host: str, port: int) -> None:
    """Serve the pages until a signal ends it."""
    uvicorn.run(**_options(app, host, port))


@contextmanager
def beside(app: ASGIApp, port: int) -> Iterator[None]:
    """Serve other pages to this machine alone meanwhile, in a thread of their own.

    A port that is taken is said in the log, and keeps nothing else from being served.
    """
    try:
        door = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        log.warning("port %d cannot be listened on: %s", port, error.strerror)
        yield
        return
    server = uvicorn.Server(uvicorn.Config(**_options(app, "127.0.0.1", port)))
    thread = threading.Thread(target=server.run, args=([door],), name="operator's page")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def _options(app: ASGIApp, host: str, port: int) -> dict[str, Any]:
    return {
        "app": app,
        "host": host,
        "port": port,
        "http": _Patient,
        # The access log would hold tokens; the program writes one of its own without them.
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
    }
