"""Mailers that write files: a Maildir, or a folder of `.eml` files.

A message's file is named after its Message-ID, so handing the same message over again replaces the
file and never makes a second one. Both report a message as delivered wherever its file lies now.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from hashlib import sha256
from pathlib import Path

from triage._assets import rename_synced, write_synced
from triage.errors import MailDeferred
from triage.records import OutgoingMessage

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Maildir:
    """Delivers into `new/` of a Maildir (https://cr.yp.to/proto/maildir.html).

    Args:
        path: made with its three folders when the first message comes.
    """

    name = "maildir"

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        name = self._file_name(message.message_id)
        if self._moved(name):
            about_to_end()
            return "delivered before, and read since"
        with _put_off(self._path):
            for folder in ("tmp", "new", "cur"):
                (self._path / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = _written(self._path / "tmp", name, message.mime)
        _end(temporary, self._path / "new" / name, about_to_end)
        return f"delivered to new/{name}"

    def delivered(self, message_id: str) -> bool:
        name = self._file_name(message_id)
        return (self._path / "new" / name).exists() or self._moved(name)

    def close(self) -> None:
        """Nothing is open between messages."""

    def _moved(self, name: str) -> bool:
        """Tell whether a mail reader has taken the file over: it adds flags to the name then."""
        return any((self._path / "cur").glob(f"{name}*"))

    @staticmethod
    def _file_name(message_id: str) -> str:
        # Maildir names end with a host so that hosts do not collide. A digest of the Message-ID
        # cannot, and a container has another host name after every restart.
        return f"{sha256(message_id.encode()).hexdigest()[:32]}.triage"


class EmlFolder:
    """Writes one `.eml` file a message, named so that a person finds the one they want.

    Args:
        path: made when the first message comes.
    """

    name = "eml"

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        name = self._file_name(message)
        with _put_off(self._path):
            self._path.mkdir(parents=True, exist_ok=True)
            temporary = _written(self._path, name, message.mime)
        _end(temporary, self._path / name, about_to_end)
        return f"wrote {name}"

    def delivered(self, message_id: str) -> bool:
        return any(self._path.glob(f"*-{_short_id(message_id)}.eml"))

    def close(self) -> None:
        """Nothing is open between messages."""

    @staticmethod
    def _file_name(message: OutgoingMessage) -> str:
        headers = message_from_bytes(message.mime, policy=policy.default)
        day = str(headers["Feedback-ID"] or "").partition(":")[0]
        who = _UNSAFE.sub("-", message.recipient.partition("@")[0])[:40]
        return f"{day}-{who}-{_short_id(message.message_id)}.eml"


def _short_id(message_id: str) -> str:
    return sha256(message_id.encode()).hexdigest()[:12]


def _written(workplace: Path, name: str, content: bytes) -> Path:
    """Write a file under a name that no reader looks for, so that it survives a power cut."""
    # Its own suffix: what a crash leaves behind must not look like a message that is there.
    temporary = workplace / f".{name}.{os.getpid()}.tmp"
    try:
        write_synced(temporary, content)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    return temporary


def _end(temporary: Path, final: Path, about_to_end: Callable[[], None]) -> None:
    """Give a whole file the name under which readers find it, or remove it."""
    try:
        about_to_end()
        with _put_off(final.parent):
            rename_synced(temporary, final)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def _put_off(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MailDeferred(
            f"{path} cannot be written: {error.strerror}. Free space or mend its permissions;"
            " the message waits and is tried again"
        ) from error
