"""Mailboxes are read once and keep everything; what goes wrong is told with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest

from tests.support.mail_servers import PASSWORD, USER, client_tls, server_tls
from triage.delivery.bounces.mailboxes import read_imap, read_maildir
from triage.errors import ConfigError, InboxError, TriageError

MESSAGES = {7: b"Subject: one\r\n\r\nhello\r\n", 9: b"Subject: two\r\n\r\n)\r\n* BYE\r\n"}


# -- Maildir ---------------------------------------------------------------------------------------


@pytest.fixture
def box(tmp_path: Path) -> Path:
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "new" / "1.a").write_bytes(b"one")
    (tmp_path / "new" / "2.b:2,").write_bytes(b"two")
    (tmp_path / "cur" / "0.z:2,S").write_bytes(b"old")
    return tmp_path


def test_a_maildir_is_read_in_order_and_once_and_keeps_everything(box: Path) -> None:
    assert list(read_maildir(box)) == [b"one", b"two"]
    assert list(read_maildir(box)) == []
    assert {path.name: path.read_bytes() for path in (box / "cur").iterdir()} == {
        "0.z:2,S": b"old",
        "1.a:2,S": b"one",
        "2.b:2,S": b"two",
    }


def test_what_its_reader_could_not_take_is_there_again(box: Path) -> None:
    def fail() -> None:
        for _ in read_maildir(box):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(read_maildir(box)) == [b"one", b"two"]


def test_no_message_in_cur_is_written_over(box: Path) -> None:
    (box / "cur" / "1.a:2,S").write_bytes(b"another")
    with pytest.raises(InboxError, match="exists already"):
        list(read_maildir(box))
    assert (box / "new" / "1.a").read_bytes() == b"one"
    assert (box / "cur" / "1.a:2,S").read_bytes() == b"another"


def test_what_is_no_maildir_is_named(tmp_path: Path) -> None:
    with pytest.raises(InboxError, match="cannot be read: No such file"):
        list(read_maildir(tmp_path / "none"))


# -- IMAP ------------------------------------------------------------------------------------------


class Server(ThreadingTCPServer):
    """Speaks as much IMAP (RFC 3501) as is needed, over TLS, and keeps what it was told."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, fails_at: str) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
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
    server: Server

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
            self.answer(word, command)
            self.say(f"{tag} OK done".encode())

    def answer(self, word: str, command: str) -> None:
        if word == "CAPABILITY":
            self.say(b"* CAPABILITY IMAP4rev1")
        elif word == "SELECT":
            self.say(b"* 9 EXISTS")
        elif word == "SEARCH":
            unseen = [uid for uid in MESSAGES if uid not in self.server.seen]
            self.say(" ".join(["* SEARCH", *map(str, unseen)]).encode())
        elif word == "FETCH":
            uid = int(command.split()[2])
            content = MESSAGES[uid]
            head = f"* 1 FETCH (UID {uid} BODY[]<0> {{{len(content)}}}\r\n".encode()
            self.wfile.write(head + content)
            self.say(b")")
        elif word == "STORE":
            assert command.endswith(r"+FLAGS.SILENT (\Seen)")
            self.server.seen.add(int(command.split()[2]))

    def say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")


@contextmanager
def serving(fails_at: str = "") -> Iterator[Server]:
    with Server(fails_at) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def read(server: Server, password: str = PASSWORD) -> Iterator[bytes]:
    return read_imap("localhost", server.server_address[1], USER, password, client_tls())


def test_imap_is_read_over_tls_marked_as_seen_and_nothing_is_deleted() -> None:
    with serving() as server:
        assert list(read(server)) == list(MESSAGES.values())
        assert list(read(server)) == []
    assert server.seen == set(MESSAGES)
    said = " ".join(server.commands)
    assert not re.search(r"DELETE|EXPUNGE|MOVE|CLOSE", said)
    assert "BODY.PEEK[]" in said, "fetching alone marks nothing"


def test_imap_marks_only_what_was_taken() -> None:
    with serving() as server:
        messages = read(server)
        next(messages)
        next(messages)
        messages.close()  # type: ignore[attr-defined]
        assert server.seen == {7}
        assert list(read(server)) == [MESSAGES[9]]


@pytest.mark.parametrize("word", ["SELECT", "SEARCH", "FETCH", "STORE"])
def test_a_server_that_refuses_is_told_of(word: str) -> None:
    with serving(word) as server, pytest.raises(InboxError, match="cannot be read") as caught:
        list(read(server))
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("password", ["wrong", "fälsch"])
def test_a_wrong_password_is_told_of_and_not_shown(password: str) -> None:
    with serving() as server, pytest.raises(ConfigError, match="TRIAGE_IMAP_PASSWORD") as caught:
        list(read(server, password))
    assert password not in str(caught.value)


def test_who_cannot_be_reached_or_trusted_is_told_of() -> None:
    with serving() as server:
        port = server.server_address[1]
        with pytest.raises(InboxError, match="imap_host"):
            list(read_imap("localhost", port, USER, PASSWORD))
        assert server.commands == [], "no password to a stranger"
    with pytest.raises(TriageError, match=r"\[bounces\] imap_host"):
        list(read_imap("localhost", port, USER, PASSWORD, client_tls()))
