"""A policy service for Postfix: it grants a session so many messages.

Postfix itself counts messages only by the minute. It asks such a service with `name=value` lines
and an empty one, and does what `action=` says (Debian: /usr/share/doc/postfix/SMTPD_POLICY_README).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer


class Policy(ThreadingTCPServer):
    """Answers `refusal` to what goes beyond `most` messages in a session.

    Attributes:
        wait_s: how long it takes for each answer.
        n_refused: how often it refused.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.most, self.refusal = 0, ""
        self.wait_s = 0.0
        self.n_refused = 0

    @property
    def setting(self) -> str:
        return f"check_policy_service inet:127.0.0.1:{self.server_address[1]}"


class _Asked(StreamRequestHandler):
    server: Policy

    def handle(self) -> None:
        # One process of Postfix asks over this connection, and has one session at a time.
        session = ""
        n = 0
        while asked := self._read():
            if asked["client_port"] != session:
                session, n = asked["client_port"], 0
            n += 1
            time.sleep(self.server.wait_s)
            action = "DUNNO"
            if n > self.server.most:
                action = self.server.refusal
                self.server.n_refused += 1
            self.wfile.write(f"action={action}\n\n".encode())

    def _read(self) -> dict[str, str]:
        asked = {}
        for line in self.rfile:
            name, is_one, value = line.decode().strip().partition("=")
            if not is_one:
                break
            asked[name] = value
        return asked


@contextmanager
def policy() -> Iterator[Policy]:
    """Run a policy service on loopback."""
    with Policy() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()
