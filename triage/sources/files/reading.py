"""Reads a plain, gzip or zip file line by line, with a longest line and a cursor that resumes."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import json
import re
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Final, cast

from triage.domain.source_records import Batch, FetchedPaper, PaperId, Rejected
from triage.errors import SourceError
from triage.sources.text.decoding import utf_16

Record = FetchedPaper | PaperId | Rejected

BATCH_SIZE: Final = 500
LONGEST_LINE: Final = 16 * 1024 * 1024
_LONGEST_LIST: Final = 64 * 1024 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZIP_MAGIC: Final = b"PK\x03\x04"
_JSON_LIST: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*(?:\{|\Z)")
_MARKUP: Final = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<rss", b"<feed")


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line of a plain, gzip or zip file with its 1-based number, line ends kept.

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
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as error:
        raise SourceError(
            f"{path.name} is damaged or no gzip file ({error}). {number} lines could be read. "
            "Get the file again, or name it .jsonl if it is not compressed."
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _lines(stream: io.BufferedReader | zipfile.ZipExtFile) -> Iterator[bytes]:
    wide = utf_16(stream.peek(4096)[:4096])
    if wide is None:
        return iter(lambda: stream.readline(LONGEST_LINE), b"")
    return (line.encode() for line in codecs.getreader(wide)(stream, "replace"))


def begins_json_list(line: bytes) -> bool:
    """Tell whether a file with this first line is one JSON list of objects."""
    return _JSON_LIST.match(line) is not None


def json_records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered lines of a file, or the numbered objects of a file that is a JSON list.

    Raises:
        SourceError: as for `numbered_lines`, or the list is damaged or too large.
    """
    lines = numbered_lines(path)
    for number, line in lines:
        if begins_json_list(line):
            yield from _list_items(path.name, line, lines)
            return
        yield number, line
        if line.strip():
            break
    yield from lines


def _list_items(
    name: str, first: bytes, lines: Iterator[tuple[int, bytes]]
) -> Iterator[tuple[int, bytes]]:
    text = bytearray(first)
    for _, line in lines:
        text += line
        if len(text) > _LONGEST_LIST:
            raise SourceError(
                f"{name} is one JSON list of more than 64 MiB. Write one paper a line, for example"
                " with `jq -c '.[]'`, and import that file."
            )
    try:
        items = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{name} is a damaged JSON list ({str(error)[:100]}). Get the file again."
        ) from error
    for number, item in enumerate(items, start=1):
        yield number, json.dumps(item).encode()


def _unreadable(path: Path, error: OSError) -> SourceError:
    reason = error.strerror or str(error)
    return SourceError(f"{path.name} cannot be read: {reason}. Check the path and its permissions.")


def _opened(path: Path) -> io.BufferedReader | zipfile.ZipExtFile:
    stream = path.open("rb")
    start = stream.read(4)
    if start == _ZIP_MAGIC:
        stream.close()
        return _only_member(path)
    compressed = start[:2] == _GZIP_MAGIC or path.suffix == ".gz"
    stream.seek(0)
    if not compressed:
        return stream
    # GzipFile closes only what it opened itself.
    stream.close()
    return io.BufferedReader(gzip.GzipFile(path, "rb"), 1 << 16)


def _only_member(path: Path) -> zipfile.ZipExtFile:
    try:
        with zipfile.ZipFile(path) as packed:
            names = [each.filename for each in packed.infolist() if not each.is_dir()]
            names = [name for name in names if not name.startswith("__MACOSX/")]
            if len(names) == 1:
                # It keeps the file open until it is closed.
                return cast(zipfile.ZipExtFile, packed.open(names[0]))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise SourceError(
            f"{path.name} cannot be unpacked ({str(error)[:100]}). Unpack it with another program"
            " and name the file with the papers."
        ) from error
    raise SourceError(
        f"{path.name} is a zip file with {len(names)} files. Unpack it and name the file with the"
        " papers."
    )


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
        """Yield the `numbered_lines` as text; SourceError also if one is markup or binary."""
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
