"""Mailboxes are read once and keep everything; what goes wrong is told with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.imap_server import ImapServer, imap_server
from tests.support.mail_servers import PASSWORD, USER, client_tls
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


def serving(fails_at: str = "") -> AbstractContextManager[ImapServer]:
    return imap_server(dict(MESSAGES), fails_at)


def read(server: ImapServer, password: str = PASSWORD) -> Iterator[bytes]:
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


def test_only_the_named_folder_is_read() -> None:
    with serving() as server:
        read_votes = read_imap(
            "localhost", server.server_address[1], USER, PASSWORD, client_tls(), "My Votes"
        )
        with pytest.raises(InboxError, match="does not open the folder My Votes"):
            list(read_votes)
        server.folder = "My Votes"
        assert list(
            read_imap(
                "localhost", server.server_address[1], USER, PASSWORD, client_tls(), "My Votes"
            )
        ) == list(MESSAGES.values())
