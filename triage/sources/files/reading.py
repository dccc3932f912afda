"""Reads a plain or gzip file line by line, with a longest line and a cursor that resumes."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from triage.domain.source_records import Batch, FetchedPaper, PaperId, Rejected
from triage.errors import SourceError
from triage.sources.text.decoding import utf_16

Record = FetchedPaper | PaperId | Rejected

BATCH_SIZE: Final = 500
LONGEST_LINE: Final = 16 * 1024 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"
_MARKUP: Final = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<rss", b"<feed")


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line of a plain or gzip file with its 1-based number, line ends kept.

    Lines of UTF-16 become UTF-8.

    Raises:
        SourceError: the file cannot be read (further); the message names the last good line.
    """
    number = 0
    try:
        with _opened(path) as stream:
            for line in _lines(stream):
                number += 1
                if len(line) >= LONGEST_LINE and not line.endswith(b"\n"):
                    raise SourceError(
                        f"{path.name}: line {number} is longer than 16 MiB, so this is no file of "
                        "papers. Check the path."
                    )
                yield number, line
    except EOFError as error:
        raise SourceError(
            f"{path.name} is incomplete: the copy or download was interrupted. {number} lines could"
            " be read. Get the file again and repeat the import; stored papers are recognised."
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(
            f"{path.name} is damaged or no gzip file ({error}). {number} lines could be read. "
            "Get the file again, or name it .jsonl if it is not compressed."
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _lines(stream: io.BufferedReader) -> Iterator[bytes]:
    wide = utf_16(stream.peek(4096)[:4096])
    if wide is None:
        return iter(lambda: stream.readline(LONGEST_LINE), b"")
    return (line.encode() for line in codecs.getreader(wide)(stream, "replace"))


def _unreadable(path: Path, error: OSError) -> SourceError:
    reason = error.strerror or str(error)
    return SourceError(f"{path.name} cannot be read: {reason}. Check the path and its permissions.")


def _opened(path: Path) -> io.BufferedReader:
    stream = path.open("rb")
    compressed = stream.read(2) == _GZIP_MAGIC or path.suffix == ".gz"
    stream.seek(0)
    if not compressed:
        return stream
    # GzipFile closes only what it opened itself.
    stream.close()
    return io.BufferedReader(gzip.GzipFile(path, "rb"), 1 << 16)


def looks_like_markup(line: bytes) -> bool:
    """Tell whether `line` begins a web page or a feed."""
    return line.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_MARKUP)


def decode_line(line: bytes) -> str:
    """Return `line` as text; bytes that are not UTF-8 become U+FFFD."""
    return line.decode("utf-8-sig", errors="replace").strip()


class FileSource(ABC):
    """The records of one file, and a cursor that is valid for that file only.

    Another file of the same name has another fingerprint and is read from its beginning, which is
    harmless, as stored papers are recognised.

    Args:
        path: the file.
        imported_on: the listing day of papers that have none.
    """

    def __init__(self, path: Path, imported_on: date) -> None:
        self.name = f"file:{path.name}"
        self._path = path
        self._imported_on = imported_on

    @abstractmethod
    def _records(self, start: int) -> Iterator[tuple[int, Record | None]]:
        """Yield the records after number `start` with their numbers; None moves the cursor only."""

    def _text_lines(self, expected: str) -> Iterator[tuple[int, str]]:
        """Yield the numbered lines as text.

        Raises:
            SourceError: as for `numbered_lines`, or a line is markup or binary.
        """
        for number, line in numbered_lines(self._path):
            if looks_like_markup(line) or b"\0" in line:
                raise SourceError(
                    f"Line {number} of {self._path.name} is markup or binary. Expected {expected}."
                )
            yield number, decode_line(line)

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield the records after `cursor`; an unusable one is rejected alone.

        An empty file yields nothing. Records before an error are yielded first.

        Raises:
            SourceError: the file is missing, damaged, incomplete, or of another kind.
        """
        fingerprint = _fingerprint(self._path)
        position, _, of = (cursor or "").partition(":")
        start = count = int(position) if of == fingerprint and position.isdecimal() else 0
        held: list[Record] = []
        n_records = 0
        problem: SourceError | None = None
        try:
            for number, record in self._records(start):
                if len(held) >= BATCH_SIZE:
                    yield _batch(held, f"{count}:{fingerprint}")
                    held = []
                count = number
                if record is not None:
                    held.append(record)
                    n_records += 1
        except SourceError as error:
            problem = error
        if held:
            yield _batch(held, f"{count}:{fingerprint}")
        if problem is not None:
            raise SourceError(f"{problem} Records read before it: {n_records}.") from problem


def _batch(records: Sequence[Record], cursor: str) -> Batch:
    return Batch(
        tuple(each for each in records if isinstance(each, FetchedPaper)),
        tuple(each for each in records if isinstance(each, Rejected)),
        cursor,
        ids=tuple(each for each in records if isinstance(each, PaperId)),
    )


def _fingerprint(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            head = stream.read(1 << 16)
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error
    return hashlib.sha256(b"%d:%b" % (size, head)).hexdigest()[:12]
