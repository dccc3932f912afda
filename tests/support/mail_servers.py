"""Mail servers on loopback: one that keeps what it gets, one that says what a script tells it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from tests.support.paths import DATA

CERTIFICATE = DATA / "localhost.pem"
"""A certificate for localhost, signed by itself, and its key; good for nothing but these tests."""

USER, PASSWORD = "ada", "right"
DROP, HANG = "DROP", "HANG"
"""Answers of a script: hang up, or say nothing until the other side does."""


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_tls() -> ssl.SSLContext:
    """Return a context that trusts the certificate of these servers and no other."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))


@dataclass
class Inbox:
    """Keeps every message with its envelope, and counts the connections."""

    messages: list[bytes] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        self.messages.append(envelope.content)
        self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        self.over_tls.append(session.ssl is not None)
        self.peers.add(session.peer)
        return f"250 2.0.0 queued as {len(self.messages)}"


def _knows(server: SMTP, session: object, envelope: object, kind: str, data: Any) -> AuthResult:
    right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


class _Controller(Controller):
    """Listens on whatever port is free."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def inbox(security: str = "none", *, log_in: bool = False) -> Iterator[tuple[int, Inbox]]:
    """Yield the port of a mail server and what it gets."""
    kept = Inbox()
    options: dict[str, Any] = {}
    if log_in:
        # aiosmtpd takes only STARTTLS for TLS when it asks whether a log-in is safe.
        safe = security == "starttls"
        options = {"authenticator": _knows, "auth_required": safe, "auth_require_tls": safe}
    if security == "starttls":
        options |= {"tls_context": server_tls(), "require_starttls": True}
    context = server_tls() if security == "smtps" else None
    controller = _Controller(kept, "127.0.0.1", 0, ssl_context=context, **options)
    controller.start()
    try:
        yield controller.port, kept
    finally:
        controller.stop()


class Script(ThreadingTCPServer):
    """Answers each phase of SMTP as told; a list is used up from its front, then all is well.

    Phases: greeting, ehlo, starttls, auth, mail, rcpt, data, end (after the final dot), rset, quit;
    `body` may be DROP, which hangs up in the middle of the message.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, answers: dict[str, str | list[str]], most_connections: int = 0, most_messages: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Actor)
        self.answers = answers
        self.answer_to: dict[str, str] = {}
        """What RCPT is answered for an address, whenever it comes."""
        self.commands: list[str] = []
        self.messages: list[bytes] = []
        self.connections = 0
        self.most_connections, self.most_messages = most_connections, most_messages
        self.limited_at = "rcpt"
        self.now_open = 0
        self.guard = threading.Lock()
        self.over = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def answer(self, phase: str) -> str:
        told = self.answers.get(phase, [])
        if isinstance(told, str):
            return told
        return told.pop(0) if told else _USUAL.get(phase, "250 fine")


_USUAL = {
    "greeting": "220 script",
    "ehlo": "250-script\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS",
    "auth": "235 welcome",
    "data": "354 go on",
    "quit": "221 bye",
    "body": "",
}


class _Actor(StreamRequestHandler):
    server: Script

    def handle(self) -> None:
        server = self.server
        with server.guard:
            server.connections += 1
            server.now_open += 1
            is_one_too_many = 0 < server.most_connections < server.now_open
        try:
            self._converse("421 4.7.0 too many connections" if is_one_too_many else None)
        finally:
            with server.guard:
                server.now_open -= 1

    def _converse(self, greeting: str | None) -> None:
        n_messages = 0
        with suppress(OSError):
            going_on = self._say("greeting", greeting)
            while going_on and (line := self.rfile.readline()):
                words = line.decode("latin-1").split() or [""]
                verb = words[0].lower()
                self.server.commands.append(" ".join(words))
                phase = "ehlo" if verb == "helo" else verb
                if phase == self.server.limited_at and n_messages == self.server.most_messages > 0:
                    self._say(phase, "421 4.7.0 too many messages in this session")
                    return
                to = words[-1].partition("<")[2].rstrip(">") if phase == "rcpt" else ""
                going_on = self._say(phase, self.server.answer_to.get(to)) and verb != "quit"
                if phase == "data" and going_on and self.said.startswith("354"):
                    going_on = self._read_message() and self._say("end")
                    n_messages += 1

    def _read_message(self) -> bool:
        if self.server.answer("body") == DROP:
            self.rfile.readline()
            return False
        lines = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b"."))
        if line:
            self.server.messages.append(b"".join(lines))
        return bool(line)

    def _say(self, phase: str, said: str | None = None) -> bool:
        self.said = said or self.server.answer(phase)
        if self.said == HANG:
            self.server.over.wait(20)
        if self.said in {DROP, HANG}:
            return False
        self.wfile.write(f"{self.said}\r\n".encode())
        return not self.said.startswith("421")


@contextmanager
def script(
    *, most_connections: int = 0, most_messages: int = 0, **answers: str | list[str]
) -> Iterator[Script]:
    """Yield a server that answers as told.

    Args:
        most_connections: answers 421 to more at once; 0 for no limit.
        most_messages: answers 421 at `limited_at` to more in a session; 0 for no limit.
    """
    with Script(answers, most_connections, most_messages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
