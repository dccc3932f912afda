"""A small IMAP server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

from tests.support.mail_servers import PASSWORD, USER, server_tls


class ImapServer(ThreadingTCPServer):
    """Speaks as much IMAP (RFC 3501) as is needed, over TLS, and keeps what it was told."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, messages: dict[int, bytes], fails_at: str) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.messages = messages
        self.folder = "INBOX"
        self.fails_at = fails_at
        self.seen: set[int] = set()
        self.commands: list[str] = []
        self.tls = server_tls()

    def get_request(self) -> Any:
        connection, address = super().get_request()
        return self.tls.wrap_socket(connection, server_side=True), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust us hangs up."""


class _Session(StreamRequestHandler):
    server: ImapServer

    def handle(self) -> None:
        self.say(b"* OK ready")
        for line in iter(self.rfile.readline, b""):
            tag, _, command = line.decode().rstrip("\r\n").partition(" ")
            self.server.commands.append(command)
            word = command.removeprefix("UID ").partition(" ")[0]
            if word == self.server.fails_at:
                self.say(f"{tag} NO not today".encode())
                continue
            if word == "LOGIN" and command != f'LOGIN {USER} "{PASSWORD}"':
                self.say(f"{tag} NO [AUTHENTICATIONFAILED] wrong".encode())
                continue
            if word == "SELECT" and command != f'SELECT "{self.server.folder}"':
                self.say(f"{tag} NO [NONEXISTENT] no such folder".encode())
                continue
            self.answer(word, command)
            self.say(f"{tag} OK done".encode())

    def answer(self, word: str, command: str) -> None:
        if word == "CAPABILITY":
            self.say(b"* CAPABILITY IMAP4rev1")
        elif word == "SELECT":
            self.say(b"* 9 EXISTS")
        elif word == "SEARCH":
            unseen = [uid for uid in list(self.server.messages) if uid not in self.server.seen]
            self.say(" ".join(["* SEARCH", *map(str, unseen)]).encode())
        elif word == "FETCH":
            uid = int(command.split()[2])
            # A server gives as much as was asked for.
            most = int(command.rpartition("<0.")[2].rstrip(">])"))
            content = self.server.messages[uid][:most]
            head = f"* 1 FETCH (UID {uid} BODY[]<0> {{{len(content)}}}\r\n".encode()
            self.wfile.write(head + content)
            self.say(b")")
        elif word == "STORE":
            assert command.endswith(r"+FLAGS.SILENT (\Seen)")
            self.server.seen.add(int(command.split()[2]))

    def say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")


@contextmanager
def imap_server(messages: dict[int, bytes], fails_at: str = "") -> Iterator[ImapServer]:
    """Yield a server of one folder; `messages` may get more while it runs.

    Args:
        fails_at: a command that it refuses.
    """
    with ImapServer(messages, fails_at) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
