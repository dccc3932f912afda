"""The total time of one request: httpx limits only the silence between two bytes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any


@contextmanager
def call_if_longer(seconds: float, function: Callable[[], None]) -> Iterator[None]:
    """Call a function, in another thread, if the block lasts longer."""
    timer = Timer(seconds, function)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class TimeLimit:
    """Ends requests that last too long, even those that wait for the next byte.

    A server may send one byte every few seconds for ever. So a timer shuts the connection, and the
    pending read ends. `is_over` says whether that happened to the last request.
    """

    def __init__(self) -> None:
        self.is_over = False
        # Of the last connection, which a later request may reuse.
        self._socket: socket.socket | None = None

    @contextmanager
    def of(self, seconds: float) -> Iterator[None]:
        """Limit the time of the block."""
        self.is_over = False
        with call_if_longer(seconds, self._end):
            yield

    def watch(self, event: str, info: dict[str, Any]) -> None:
        """Take each step of a request, as httpcore's `trace` extension reports it.

        Raises:
            TimeoutError: the time was over before this step.
        """
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
        if self.is_over and event.endswith(".started") and "close" not in event:
            raise TimeoutError

    def _end(self) -> None:
        self.is_over = True
        if self._socket is not None:
            with suppress(OSError):  # It may be closed already.
                # Not TLS's own shutdown, which would change the object that the read is using.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
