"""Keeps an index of vectors in a file, which is mapped into memory and not read.

    header (512 bytes) │ ids │ signs, block by block │ scales │ bytes

The parts are those of `vector_index.Block`, little-endian. The header is a line of JSON, with the
encoder, the number and width of the vectors, and the CRC-32 of all that follows.

All of it is made from the database, so it can be deleted at any time. A file is replaced as a
whole, and a process that has mapped the old one keeps it. So it must be on a disk of this machine.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import secrets
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from triage.domain.records import F32, I64
from triage.papers.vector_index import Block
from triage.resources import rename_synced

BLOCK: Final = 20_000
"""The number of vectors in each block but the last."""
_FORM: Final = "triage vectors 1"
_HEADER: Final = 512
_SUFFIX: Final = ".vectors"


def path_in(folder: Path, encoder_version: str) -> Path:
    """Return the path of an encoder's file."""
    return folder / f"{encoder_version}{_SUFFIX}"


def _open_locked(path: Path) -> BinaryIO:
    """Open a new file and lock it; until then, another writer may delete it as a left one."""
    while True:
        file = path.open("w+b")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def write(folder: Path, encoder_version: str, n: int, chunks: Iterable[tuple[I64, F32]]) -> None:
    """Write the file of an encoder, and delete those of other encoders.

    Several processes may do this at once; each file is complete, and the last one stays.

    Args:
        folder: created if missing.
        n: the number of vectors, at least 1.
        chunks: ids, int64 (m,), ascending, and unit vectors, float32 (m, d); m is BLOCK in all but
            the last.

    Raises:
        OSError: it cannot be written; nothing has changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _delete_unfinished(folder)
    path = path_in(folder, encoder_version)
    temporary = folder / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with _open_locked(temporary) as file:
            width = 0
            for at, (ids, vectors) in enumerate(chunks):
                width = vectors.shape[1]
                starts = _starts(n, width, at * BLOCK)
                for part, start in zip(_parts(Block.of(ids, vectors)), starts, strict=True):
                    file.seek(start)
                    file.write(part.tobytes())
            file.flush()
            header = {
                "form": _FORM,
                "encoder": encoder_version,
                "n": n,
                "width": width,
                "crc32": _checksum(file),
            }
            file.seek(0)
            file.write(json.dumps(header).encode().ljust(_HEADER - 1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            rename_synced(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    for other in folder.glob(f"*{_SUFFIX}"):
        if other != path:
            other.unlink(missing_ok=True)


def map_blocks(folder: Path, encoder_version: str) -> list[Block]:
    """Return the blocks of an encoder's file, [] if it is missing or not complete."""
    try:
        with path_in(folder, encoder_version).open("rb") as file:
            header = _read_header(file)
            if header.get("encoder") != encoder_version:
                return []
            n, width = header["n"], header["width"]
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        return []
    # A search reads all signs, and then vectors here and there.
    last = _starts(n, width, 0)[-1] // mmap.PAGESIZE * mmap.PAGESIZE
    content.madvise(mmap.MADV_WILLNEED, 0, last)
    content.madvise(mmap.MADV_RANDOM, last)
    blocks = []
    for first in range(0, n, BLOCK):
        m = min(BLOCK, n - first)
        ids, bits, scales, bytes_ = (
            np.frombuffer(content, dtype, m * each, start)
            for dtype, each, start in zip(
                ("<i8", "<u8", "<f4", "i1"),
                (1, _n_words(width), 1, width),
                _starts(n, width, first),
                strict=True,
            )
        )
        blocks.append(Block(ids, scales, bits.reshape(-1, m), bytes_.reshape(m, width)))
    return blocks


def is_intact(folder: Path, encoder_version: str) -> bool:
    """Return whether the whole file of an encoder is as it was written; this reads all of it."""
    try:
        with path_in(folder, encoder_version).open("rb") as file:
            return bool(_read_header(file).get("crc32") == _checksum(file))
    except OSError:
        return False


def _read_header(file: BinaryIO) -> dict[str, Any]:
    """Return the header, {} if there is none or the file has another size than it says."""
    try:
        header = json.loads(file.read(_HEADER))
        size = _starts(header["n"], header["width"], header["n"])[-1]
    except (ValueError, KeyError, TypeError):
        return {}
    complete = header.get("form") == _FORM and size == os.fstat(file.fileno()).st_size
    return header if complete else {}


def _parts(block: Block) -> tuple[I64, Any, F32, Any]:
    return block.ids, block.bits, block.scales, block.bytes_


def _starts(n: int, width: int, row: int) -> list[int]:
    """Return where in the file each part has what belongs to a row, the first one of a block."""
    starts, start = [], _HEADER
    for size in (8, 8 * _n_words(width), 4, width):
        starts.append(start + row * size)
        start += n * size
    return starts


def _n_words(width: int) -> int:
    return -(-width // 64)


def _checksum(file: BinaryIO) -> int:
    file.seek(_HEADER)
    crc = 0
    while some := file.read(2**20):
        crc = zlib.crc32(some, crc)
    return crc


def _delete_unfinished(folder: Path) -> None:
    """Delete the files of writers that were killed; those at work have them locked."""
    for left in folder.glob(f".*{_SUFFIX}.*"):
        try:
            with left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue
