"""The sent log: a file outside of the database, so that a restored database sends nothing twice.

    triage sent journal 1 4b1c… 2026-03-02T06:58:11+00:00 5d0c9a1e
    2026-03-02T07:00:01+00:00 <d.5f0e…@example.org> 0c9e… 2026-03-02 digest 1a2b3c4d

The first line has the generation of the file: a random id, by which the database recognises its
log. Every other line has the time at which a message was accepted, the Message-ID, the subscriber's
public id, the date and the kind. The last word of a line is its CRC-32.

A line is synced to disk after the receiver's answer and before the database is updated. So whatever
is killed when, every message that the database has as sent is in the log. A message that was
accepted but is not in the log was being sent at that moment (at most one per connection); the
database has it as in doubt.

A power cut may leave an incomplete last line. It is dropped, since nothing relied on it. Any other
damage is an error, since an unreadable line may be a message that was sent.
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

from triage.domain.sent_entry import SentEntry
from triage.errors import DatabaseError
from triage.resources import sync, write_synced

NAME = "sent.journal"
_TITLE = "triage sent journal 1"


class SentLogDamaged(DatabaseError):
    pass


class SentLog:
    """Appends to the file and reads it. Several threads and processes may use it at once."""

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
        """Return the generation of this file; None if there is no file.

        Raises:
            JournalDamaged: the first line is not that of a sent log.
        """
        try:
            with self.path.open("rb") as file:
                words = _checked(file.readline())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._database_error(error) from error
        if words is None or not " ".join(words).startswith(f"{_TITLE} "):
            raise SentLogDamaged(f"the first line of {self.path} is not that of a sent log")
        return words[len(_TITLE.split())]

    def create_if_missing(self, generation: str, at: datetime) -> str:
        """Create the file if there is none; return the generation that it has."""
        with self._replacement([], generation, at) as temporary:
            try:
                os.link(temporary, self.path)
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        found = self.generation()
        if found is None:
            raise DatabaseError(f"{self.path} disappeared while it was created: run again")
        return found

    # -- writing -----------------------------------------------------------------------------------

    def add(self, sent: SentEntry) -> None:
        """Append a sent message; it is synced to disk when this returns.

        Raises:
            DatabaseError: it cannot be written, or the file is missing.
        """
        try:
            with self._guard, self._locked() as descriptor:
                _append(descriptor, _line(_words(sent)))
                self._written += 1
                mine = self._written
            with self._syncing:
                # While this thread waited, another one may have synced its line, too.
                if self._synced < mine:
                    self._synced = self._sync()
        except OSError as error:
            raise self._database_error(error) from error

    def _sync(self) -> int:
        """Sync the file to disk; return how many lines this object has written and synced."""
        with self._guard:
            # If another process has replaced the file, the new file has our lines, and is synced.
            with self._locked() as descriptor:
                duplicate = os.dup(descriptor)
            n_written = self._written
        try:
            os.fsync(duplicate)
        finally:
            os.close(duplicate)
        return n_written

    def restart(self, generation: str, at: datetime) -> None:
        """Give the file a new generation; drop unreadable lines."""
        if self.path.exists():
            self._rewrite(generation, at, datetime.min.replace(tzinfo=UTC))
        else:
            self.create_if_missing(generation, at)

    def forget(self, before: datetime) -> None:
        """Drop the lines from before that time; change nothing if any line is damaged."""
        oldest = next(self.readable(), None)
        if oldest is not None and oldest.at < before and not self.damage():
            self._rewrite(str(self.generation()), before, before)

    def _rewrite(self, generation: str, at: datetime, first: datetime) -> None:
        try:
            with self._guard, self._locked():
                entries = [sent for sent in self.readable() if sent.at >= first]
                with self._replacement(entries, generation, at) as temporary:
                    temporary.replace(self.path)
        except OSError as error:
            raise self._database_error(error) from error

    # -- reading -----------------------------------------------------------------------------------

    def newest_first(self) -> Iterator[SentEntry]:
        """Yield all entries, the newest first.

        Raises:
            JournalDamaged: a line cannot be read.
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
                    raise SentLogDamaged(f"line {n} of the sent log {self.path} is damaged")
                yield sent
                end = start

    def readable(self) -> Iterator[SentEntry]:
        """Yield the entries of all readable lines, the oldest first; none if there is no file."""
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            file.readline()
            yield from (sent for line in file if (sent := _sent(line)) is not None)

    def damage(self) -> str:
        """Return which line is damaged; "" if none is."""
        try:
            for _ in self.newest_first():
                pass
        except SentLogDamaged as error:
            return str(error)
        return ""

    def has(self, message_id: str) -> bool:
        """Return whether the log has a message."""
        with self._mapped() as content:
            at = content.find(f" {message_id} ".encode())
            if at < 0:
                return False
            start, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at) + 1
            sent = _sent(content[start:end])
            return sent is not None and sent.message_id == message_id

    @contextmanager
    def _mapped(self) -> Iterator[mmap.mmap | bytes]:
        """Yield the content as a memory map, so that only what is used is read."""
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
            raise self._database_error(error) from error

    # -- the file ----------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Yield the open file; no other process changes it until the block ends."""
        while True:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            descriptor = self._descriptor
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_ino == self.path.stat().st_ino:
                break
            # Another process has replaced the file.
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
    def _replacement(
        self, entries: Iterable[SentEntry], generation: str, at: datetime
    ) -> Iterator[Path]:
        """Yield a new, synced file with these entries, in the same folder."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            title = _line(f"{_TITLE} {generation} {at.isoformat()}")
            write_synced(temporary, title + b"".join(_line(_words(sent)) for sent in entries))
            yield temporary
            sync(self.path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._database_error(error) from error

    def _database_error(self, error: OSError) -> DatabaseError:
        if isinstance(error, FileNotFoundError):
            return DatabaseError(
                f"the sent log {self.path} disappeared while mail was being sent: stop triage and"
                " put it back"
            )
        return DatabaseError(
            f"the sent log {self.path} cannot be used: {error.strerror}. Check that its disk has"
            " room and that this account may write there, then run again"
        )


def _words(sent: SentEntry) -> str:
    return f"{sent.at.isoformat()} {sent.message_id} {sent.subscriber} {sent.on} {sent.kind}"


def _line(words: str) -> bytes:
    return f"{words} {zlib.crc32(words.encode()):08x}\n".encode()


def _checked(line: bytes) -> list[str] | None:
    """Return the words of a line without the checksum; None if the checksum is wrong."""
    words, _, checksum = line.rpartition(b" ")
    if checksum != f"{zlib.crc32(words):08x}\n".encode():
        return None
    return words.decode("utf-8", "replace").split(" ")


def _sent(line: bytes) -> SentEntry | None:
    words = _checked(line)
    if words is None or len(words) != 5:
        return None
    at, message_id, subscriber, on, kind = words
    return SentEntry(
        datetime.fromisoformat(at), message_id, subscriber, date.fromisoformat(on), kind
    )


def _append(descriptor: int, line: bytes) -> None:
    """Append a line after dropping an incomplete last one; if it fails, append no part of it."""
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
