"""The mailer that writes files: a Maildir.

The name of a file comes from the Message-ID, so sending a message again replaces its file and never
makes a second one. So a message counts as delivered while a file of that name exists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from triage.domain.records import OutgoingMessage
from triage.errors import MailDeferred
from triage.resources import rename_synced, write_synced


class Maildir:
    """Delivers into `new/` of a Maildir (https://cr.yp.to/proto/maildir.html).

    Args:
        path: created with its three folders when the first message is sent.
    """

    name = "maildir"

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        name = self._file_name(message.message_id)
        if self._moved(name):
            about_to_end()
            return "delivered before, and read since"
        # The suffix differs, so that a file that a crash left behind does not count as a message.
        temporary = self._path / "tmp" / f".{name}.{os.getpid()}.tmp"
        with _defer_on_error(self._path, temporary):
            for folder in ("tmp", "new", "cur"):
                (self._path / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
            write_synced(temporary, message.mime)
        try:
            about_to_end()
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        with _defer_on_error(self._path, temporary):
            rename_synced(temporary, self._path / "new" / name)
        return f"delivered to new/{name}"

    def delivered(self, message_id: str) -> bool:
        name = self._file_name(message_id)
        return (self._path / "new" / name).exists() or self._moved(name)

    def close(self) -> None:
        """Nothing is open between messages."""

    def _moved(self, name: str) -> bool:
        """Return whether a mail program has moved the file; it adds flags to the name then."""
        return any((self._path / "cur").glob(f"{name}*"))

    @staticmethod
    def _file_name(message_id: str) -> str:
        # Maildir names usually end with a host name, so that hosts do not collide. A hash of the
        # Message-ID needs none, and a container has a new host name after every restart.
        return f"{sha256(message_id.encode()).hexdigest()[:32]}.triage"


@contextmanager
def _defer_on_error(path: Path, temporary: Path) -> Iterator[None]:
    """Turn an error of the disk into `MailDeferred`, and remove the unfinished file."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise MailDeferred(
            f"{path} cannot be written: {error.strerror}. Free space or correct its permissions;"
            " the message waits and is tried again"
        ) from error
