"""Listens for web requests, within limits on memory and connections."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from triage.web.middleware import HEAD_LIMIT

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# Each connection is an open file, and a process may usually have 1,024 of them. The others are for
# the database and for mail.
MOST_CONNECTIONS = 500

log = logging.getLogger("triage.web")


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Serve the pages until a signal stops the server."""
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
        "http": "h11",
        "h11_max_incomplete_event_size": HEAD_LIMIT,
        "limit_concurrency": MOST_CONNECTIONS,
        # The access log would contain tokens; triage writes its own log without them.
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        # Whose X-Forwarded-For is believed: without this, Uvicorn leaves out IPv6 of this machine.
        "forwarded_allow_ips": os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1"),
    }
