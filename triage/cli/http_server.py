"""Listens for web requests, within limits on memory and connections."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LONGEST_HEAD = 16 * 1024
# Each connection is an open file, and a process may usually have 1,024: the rest are for the
# database and for mail.
MOST_CONNECTIONS = 500

log = logging.getLogger("triage.web")


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
        # Uvicorn's other parser, httptools, takes headers of any length.
        "http": "h11",
        "h11_max_incomplete_event_size": LONGEST_HEAD,
        "limit_concurrency": MOST_CONNECTIONS,
        # The access log would hold tokens; the program writes one of its own without them.
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
    }
