"""Listens for web requests, within limits on memory, connections, waiting and log lines."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from triage.web.middleware import HEAD_LIMIT

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# Each connection is an open file, and a process may usually have 1,024 of them. The others are for
# the database and for mail.
MOST_CONNECTIONS = 500
# Python accepts as many connections at once as may wait, so they must fit into those 1,024, too.
MOST_ACCEPTED_AT_ONCE = 128
# How long a client may take for the head of a request, or for the next LEAST_READ bytes of an
# answer.
PATIENCE_S = 10
LEAST_READ = 8 * 1024
# The system would take up to 4 MB of each answer that nobody reads, and keep it for minutes.
SEND_BUFFER = 64 * 1024
MOST_KINDS = 1_000

log = logging.getLogger("triage.web")


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Serve the pages until a signal stops the server."""
    limit = OneLineASecond()
    # asyncio logs each connection that it cannot accept, uvicorn each request that it cannot read.
    for name in ("triage.web", "uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(limit)
    uvicorn.run(**_options(app, host, port))


@contextmanager
def serve_in_thread(app: ASGIApp, port: int) -> Iterator[None]:
    """Serve an app to this machine only, in a thread, while the context is open.

    If the port is in use, this is logged as a warning, and the app is not served.
    """
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        log.warning("cannot listen on port %d: %s", port, error.strerror)
        yield
        return
    server = uvicorn.Server(uvicorn.Config(**_options(app, "127.0.0.1", port)))
    thread = threading.Thread(target=server.run, args=([listener],), name="operator's page")
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
        # Uvicorn's other parser, httptools, takes headers of any length.
        "http": _Connection,
        "backlog": MOST_ACCEPTED_AT_ONCE,
        "h11_max_incomplete_event_size": HEAD_LIMIT,
        # A connection that was ended for another one counts for a moment more.
        "limit_concurrency": MOST_CONNECTIONS + MOST_ACCEPTED_AT_ONCE,
        # The access log would contain tokens; triage writes its own log without them.
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        # Whose X-Forwarded-For is believed: without this, Uvicorn leaves out IPv6 of this machine.
        "forwarded_allow_ips": os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1"),
    }


class _Connection(H11Protocol):
    """A connection that ends if its client does nothing, as uvicorn waits for clients forever."""

    heard_at = 0.0
    _n_resumed = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.heard_at = self.loop.time()
        if len(self.connections) >= MOST_CONNECTIONS:
            self._end_longest_silent()
        self._timer = self.loop.call_later(PATIENCE_S, self._end_if_stuck, self._progress())

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._n_resumed += 1

    def is_waiting(self) -> bool:
        """Return whether the client has to act next, and not we."""
        return self._is_outside_request() or self.cycle.more_body or self.flow.write_paused

    def end(self) -> None:
        """Close the connection at once; what the client did not read is thrown away."""
        self.connections.discard(self)
        if self.transport.get_write_buffer_size():
            # Otherwise the system goes on keeping what it took from us, up to some MB.
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _end_longest_silent(self) -> None:
        """Make room for this client: who has been silent for longest is likely not to come back."""
        others = [each for each in self.connections if isinstance(each, _Connection)]
        waiting = [each for each in others if each is not self and each.is_waiting()]
        if waiting:
            min(waiting, key=lambda each: each.heard_at).end()

    def _end_if_stuck(self, before: tuple[object, int, int]) -> None:
        # The middleware limits the time of a body.
        stuck = self._is_outside_request() or self.flow.write_paused
        if stuck and self._progress() == before:
            self.end()
        else:
            self._timer = self.loop.call_later(PATIENCE_S, self._end_if_stuck, self._progress())

    def _is_outside_request(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _progress(self) -> tuple[object, int, int]:
        """Return what differs after the client sent a whole head or read some of an answer."""
        unread = self.transport.get_write_buffer_size() // LEAST_READ
        return self.cycle, self._n_resumed, unread


class OneLineASecond(logging.Filter):
    """Passes one log record of a kind a second; the next one says how many were left out.

    The kind is the attribute `kind` of the record, else its text before the arguments are put in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._passed: dict[Hashable, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.name, getattr(record, "kind", record.msg)
        with self._lock:
            at, n_left_out = self._passed.get(kind, (0.0, 0))
            # abs(): a clock that was set back must not silence the log.
            if abs(record.created - at) < 1:
                self._passed[kind] = at, n_left_out + 1
                return False
            if len(self._passed) >= MOST_KINDS:
                self._passed.clear()
            self._passed[kind] = record.created, 0
        if n_left_out:
            record.msg = f"{record.getMessage()} (and {n_left_out} like it before)"
            record.args = ()
        return True
