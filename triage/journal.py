"""What was sent, in a file outside of the database: no database that is restored sends it again.

    triage sent journal 1 4b1c… 2026-03-02T06:58:11+00:00 5d0c9a1e
    2026-03-02T07:00:01+00:00 <d.5f0e…@example.org> 0c9e… 2026-03-02 digest 1a2b3c4d

A line says when a message was taken, its id, its subscriber's public id, its date and its kind; the
last word is a checksum of what stands before. It is on the disk after the receiver's answer and
before the database learns of it. So what the database knows as sent stands here, too, whatever is
killed when; and what was taken but does not stand here is at most what was on its way at that
moment, one message a connection, which the database has as in doubt.

A line that was cut short by a power cut is the last one and was never relied upon: it is dropped.
Any other damage is an error, for a line that cannot be read may name a message that was sent.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path

from triage._assets import sync, write_synced
from triage.errors import DatabaseError
from triage.records import Sent

NAME = "sent.journal"
_TITLE = "triage sent journal 1"


class JournalDamaged(DatabaseError):
    pass


class Journal:
    """Appends to the file and reads it, for several threads and processes at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = threading.Lock()
        self._syncing = threading.Lock()
        self._descriptor: int | None = None
        self._written = 0
        self._synced = 0

    def close(self) -> None:
        with self._guard:
            self._drop()

    # -- its generation ----------------------------------------------------------------------------

    def generation(self) -> str | None:
        """Return the mark that this file was begun with; None if there is no file.

        Raises:
            JournalDamaged: the file does not begin as a journal does.
        """
        try:
            with self.path.open("rb") as file:
                words = _checked(file.readline())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._trouble(error) from error
        if words is None or not " ".join(words).startswith(f"{_TITLE} "):
            raise JournalDamaged(f"{self.path} does not begin as a sent journal does")
        return words[len(_TITLE.split())]

    def begin(self, generation: str, at: datetime) -> str:
        """Begin the file, unless it is there already; return the mark that it has."""
        with self._replacement([], generation, at) as temporary:
            try:
                os.link(temporary, self.path)
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        found = self.generation()
        if found is None:
            raise DatabaseError(f"{self.path} vanished as it was begun: run again")
        return found

    # -- writing -----------------------------------------------------------------------------------

    def add(self, sent: Sent) -> None:
        """Write down that a message was sent; it is on the disk when this returns.

        Raises:
            DatabaseError: it cannot be written, or the file is gone.
        """
        try:
            with self._guard, self._locked() as descriptor:
                _append(descriptor, _line(_words(sent)))
                self._written += 1
                mine = self._written
            with self._syncing:
                # Whoever waited here finds that the disk has their line, too.
                if self._synced < mine:
                    self._synced = self._sync()
        except OSError as error:
            raise self._trouble(error) from error

    def _sync(self) -> int:
        """Bring to the disk what was written; return how many lines that were since the start."""
        with self._guard:
            # Lines of a file that was written anew by others are in the new one, and on the disk.
            with self._locked() as descriptor:
                own = os.dup(descriptor)
            up_to = self._written
        try:
            os.fsync(own)
        finally:
            os.close(own)
        return up_to

    def restart(self, generation: str, at: datetime) -> None:
        """Give the file another mark; lines that cannot be read go."""
        if self.path.exists():
            self._write_anew(generation, at, datetime.min.replace(tzinfo=UTC))
        else:
            self.begin(generation, at)

    def forget(self, before: datetime) -> None:
        """Drop the lines from before then, if there are any; damaged ones stay for a person."""
        oldest = next(self.readable(), None)
        if oldest is not None and oldest.at < before and not self.damage():
            self._write_anew(str(self.generation()), before, before)

    def _write_anew(self, generation: str, at: datetime, first: datetime) -> None:
        try:
            with self._guard, self._locked():
                kept = [sent for sent in self._lines() if sent.at >= first]
                with self._replacement(kept, generation, at) as temporary:
                    temporary.replace(self.path)
        except OSError as error:
            raise self._trouble(error) from error

    # -- reading -----------------------------------------------------------------------------------

    def newest_first(self) -> Iterator[Sent]:
        """Yield all lines, the newest first.

        Raises:
            JournalDamaged: one of them cannot be read.
        """
        with self._mapped() as content:
            end = content.rfind(b"\n") + 1
            while end:
                start = content.rfind(b"\n", 0, end - 1) + 1
                if start == 0:
                    return
                sent = _sent(content[start:end])
                if sent is None:
                    n = content[:end].count(b"\n")
                    raise JournalDamaged(f"line {n} of {self.path} is damaged")
                yield sent
                end = start

    def readable(self) -> Iterator[Sent]:
        """Yield the lines that can be read, the oldest first; none where there is no file."""
        with suppress(FileNotFoundError):
            yield from self._lines()

    def damage(self) -> str:
        """Return which line cannot be read; "" if there is none."""
        try:
            for _ in self.newest_first():
                pass
        except JournalDamaged as error:
            return str(error)
        return ""

    def holds(self, message_id: str) -> bool:
        """Tell whether a message was sent."""
        with self._mapped() as content:
            at = content.find(f" {message_id} ".encode())
            if at < 0:
                return False
            start, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at) + 1
            sent = _sent(content[start:end])
            return sent is not None and sent.message_id == message_id

    def _lines(self) -> Iterator[Sent]:
        with self.path.open("rb") as file:
            file.readline()
            yield from (sent for line in file if (sent := _sent(line)) is not None)

    @contextmanager
    def _mapped(self) -> Iterator[mmap.mmap | bytes]:
        """Yield the content; nothing of it is in memory before it is looked at."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    yield b""
                    return
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    yield content
        except FileNotFoundError:
            yield b""
        except OSError as error:
            raise self._trouble(error) from error

    # -- the file ----------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Yield the open file, which no other process changes until the block ends."""
        while True:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            descriptor = self._descriptor
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_ino == self.path.stat().st_ino:
                break
            # Another process has written the file anew.
            self._drop()
        try:
            yield descriptor
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _drop(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def _replacement(self, whole: Iterable[Sent], generation: str, at: datetime) -> Iterator[Path]:
        """Yield a file beside this one that is on the disk, with these lines."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            title = _line(f"{_TITLE} {generation} {at.isoformat()}")
            write_synced(temporary, title + b"".join(_line(_words(sent)) for sent in whole))
            yield temporary
            sync(self.path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._trouble(error) from error

    def _trouble(self, error: OSError) -> DatabaseError:
        if isinstance(error, FileNotFoundError):
            return DatabaseError(
                f"{self.path} is gone while mail is being sent: stop triage and put it back"
            )
        return DatabaseError(
            f"the sent journal {self.path} cannot be used: {error.strerror}. See that its disk has"
            " room and that this account may write there, then run again"
        )


def _words(sent: Sent) -> str:
    return f"{sent.at.isoformat()} {sent.message_id} {sent.subscriber} {sent.on} {sent.kind}"


def _line(words: str) -> bytes:
    return f"{words} {zlib.crc32(words.encode()):08x}\n".encode()


def _checked(line: bytes) -> list[str] | None:
    """Return the words of a line without its checksum; None if it does not agree with them."""
    words, _, checksum = line.rpartition(b" ")
    if checksum != f"{zlib.crc32(words):08x}\n".encode():
        return None
    return words.decode("utf-8", "replace").split(" ")


def _sent(line: bytes) -> Sent | None:
    words = _checked(line)
    if words is None or len(words) != 5:
        return None
    at, message_id, subscriber, on, kind = words
    return Sent(datetime.fromisoformat(at), message_id, subscriber, date.fromisoformat(on), kind)


def _append(descriptor: int, line: bytes) -> None:
    """Append a whole line, after dropping one that was cut short; nothing if it does not fit."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        while size and os.pread(descriptor, 1, size - 1) != b"\n":
            size -= 1
        os.ftruncate(descriptor, size)
    try:
        written = os.write(descriptor, line)
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        os.ftruncate(descriptor, size)
        raise
