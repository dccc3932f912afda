"""How long one request may take in all: httpx bounds only the silence between two bytes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any


class TimeLimit:
    """Ends requests that last too long, even those that wait for the next byte.

    A server may send a byte every few seconds for ever, of its headers too. So once time is up the
    connection is shut from outside, which whoever reads from it hears as its end.

    Attributes:
        is_over: whether the time of the last request was up before it had ended.
    """

    def __init__(self) -> None:
        self.is_over = False
        # Of the last connection, which a later request may find open.
        self._socket: socket.socket | None = None

    @contextmanager
    def of(self, seconds: float) -> Iterator[None]:
        """Let what happens inside take so long."""
        self.is_over = False
        timer = Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def watch(self, event: str, info: dict[str, Any]) -> None:
        """Hear of each step of a request, as httpcore's `trace` extension tells them.

        Raises:
            TimeoutError: time was up before this step.
        """
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
        if self.is_over and event.endswith(".started") and "close" not in event:
            raise TimeoutError

    def _end(self) -> None:
        self.is_over = True
        if self._socket is not None:
            with suppress(OSError):  # It may be closed already.
                # Not TLS's own way, which would take from the reader what it is using.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
