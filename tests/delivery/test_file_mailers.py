"""Delivery into files: a Maildir that mail readers understand."""

from __future__ import annotations

import errno
import mailbox
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.contracts import MailerContract
from tests.support.fakes import FakeMailer
from triage.delivery.file_mailers import Maildir
from triage.errors import MailDeferred


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def nothing() -> None:
    """Do nothing before the end."""


def _raising(error: BaseException) -> Callable[[int], None]:
    def fsync(_: int) -> None:
        raise error

    return fsync


class TestMaildir(MailerContract):
    @pytest.fixture(autouse=True)
    def _places(self, tmp_path: Path) -> None:
        self.path = tmp_path / "mail"
        (tmp_path / "a-file").write_bytes(b"")
        self.impossible = tmp_path / "a-file" / "mail"

    def mailer(self) -> Maildir:
        return Maildir(self.path)

    def broken_mailer(self) -> Maildir:
        return Maildir(self.impossible)

    def received(self) -> list[bytes]:
        return [path.read_bytes() for path in files(self.path) if path.suffix != ".tmp"]

    def test_nothing_is_left_of_a_message_that_was_stopped(self) -> None:
        def stop() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.mailer().send(self.message(), stop)
        assert files(self.path) == []

    def test_the_same_message_sent_again_replaces_itself(self) -> None:
        message = self.message()
        for _ in range(3):
            self.mailer().send(message, nothing)
        assert self.received() == [message.mime]

    def test_what_a_crash_leaves_half_written_is_not_delivered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        message = self.message()

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", _raising(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                self.mailer().send(message, nothing)
        assert len(files(self.path)) == 1
        assert not self.mailer().delivered(message.message_id)
        self.mailer().send(message, nothing)
        assert self.mailer().delivered(message.message_id)
        assert self.received() == [message.mime]

    def test_a_full_disk_puts_the_message_off_and_leaves_nothing_behind(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        message = self.message()
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", _raising(full))
            with pytest.raises(MailDeferred) as failure:
                self.mailer().send(message, nothing)
        assert "No space left" in str(failure.value)
        assert "Free space" in str(failure.value)
        assert message.recipient not in str(failure.value)
        assert self.received() == []

    def test_another_host_name_makes_no_second_copy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        message = self.message()
        self.mailer().send(message, nothing)
        monkeypatch.setattr("socket.gethostname", lambda: "restarted-container")
        assert self.mailer().delivered(message.message_id)
        self.mailer().send(message, nothing)
        assert self.received() == [message.mime]

    def reader(self) -> mailbox.Maildir:
        return mailbox.Maildir(self.path, create=False)

    def test_a_mail_reader_finds_new_mail(self) -> None:
        message = self.message()
        self.mailer().send(message, nothing)
        [found] = self.reader()
        assert isinstance(found, mailbox.MaildirMessage)
        assert found["Message-ID"] == message.message_id
        assert found.get_subdir() == "new"

    def test_mail_that_was_read_stays_delivered_and_read(self) -> None:
        message = self.message()
        self.mailer().send(message, nothing)
        reader = self.reader()
        [(key, mail)] = reader.items()
        mail.set_subdir("cur")
        mail.set_flags("RS")
        reader[key] = mail
        assert [path.parent.name for path in files(self.path)] == ["cur"]

        assert self.mailer().delivered(message.message_id)
        assert self.mailer().send(message, nothing)
        [path] = files(self.path)
        assert path.name.endswith(":2,RS")


class TestFakeMailer(MailerContract):
    """The fake that other tests rely on keeps the same promises."""

    @pytest.fixture(autouse=True)
    def _fakes(self) -> None:
        self._mailer = FakeMailer()
        self._broken = FakeMailer(MailDeferred("451 not now"))

    def mailer(self) -> FakeMailer:
        return self._mailer

    def broken_mailer(self) -> FakeMailer:
        return self._broken

    def received(self) -> list[bytes]:
        return [message.mime for message in [*self._mailer.sent, *self._broken.sent]]
