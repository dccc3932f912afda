"""The nearest of many vectors, held small: a byte a number and a bit a number.

The bits, one for each sign, tell roughly who is near: signs of two vectors differ where a random
plane parts them, which happens in proportion to their angle (Charikar 2002, section 3). Counting
them is so fast that nothing cleverer is needed for a million vectors. The bytes then put the few
that are left into order. A million vectors of 512 numbers take 0.6 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from triage.domain.records import F32, I64

U64 = NDArray[np.uint64]

# How many more than are wanted are put into order: neighbours by signs are no exact neighbours.
_MORE: Final = 16
_AT_LEAST: Final = 8_000


@dataclass(frozen=True, slots=True)
class _Block:
    """Some vectors: ids ascending, rows the same everywhere.

    Attributes:
        ids: int64 (n,).
        bytes_: int8 (n, d).
        scales: float32 (n,): a row times its scale is the vector.
        bits: uint64 (d / 64, n), the signs.
    """

    ids: I64
    bytes_: NDArray[np.int8]
    scales: F32
    bits: U64


class Nearest:
    """Vectors by id, which only grow in number; ids come in ascending order.

    One thread may add while others look.
    """

    def __init__(self) -> None:
        self._blocks: list[_Block] = []

    def __len__(self) -> int:
        return sum(len(block.ids) for block in self._blocks)

    @property
    def newest(self) -> int:
        """The highest id, 0 while there is none."""
        return int(self._blocks[-1].ids[-1]) if self._blocks else 0

    def add(self, ids: I64, vectors: F32) -> None:
        """Take in vectors of unit length, ids ascending and above `newest`; none is fine."""
        if not len(ids):
            return
        scales = (np.abs(vectors).max(axis=1) / 127).astype(np.float32)
        rounded = np.rint(vectors / np.where(scales > 0, scales, 1)[:, np.newaxis])
        block = _Block(ids.astype(np.int64), rounded.astype(np.int8), scales, _signs(vectors))
        self._blocks.append(block)

    def find(self, vector: F32, n: int, among: I64 | None = None) -> list[int]:
        """Return the ids of the at most `n` nearest, the nearest first, less than 90 degrees away.

        Args:
            vector: float32 (d,) of any length; one of zeros is near nothing.
            among: int64, ascending: all other ids are passed over.
        """
        blocks = tuple(self._blocks)
        if not blocks or n <= 0 or not vector.any():
            return []
        ids = np.concatenate([block.ids for block in blocks])
        bits = _signs(vector[np.newaxis])
        apart = np.concatenate([_differing(block.bits, bits) for block in blocks])
        if among is not None:
            wanted = np.isin(ids, among, assume_unique=True)
            apart[~wanted] = np.iinfo(apart.dtype).max
            n = min(n, int(wanted.sum()))
        rows = _least(apart, max(_MORE * n, _AT_LEAST))
        if among is not None:
            rows = rows[wanted[rows]]
        scores = _cosines(blocks, rows, vector)
        order = np.lexsort((ids[rows], -scores))[:n]
        return [int(id) for id in ids[rows[order[scores[order] > 0]]]]

    def vectors(self, ids: I64) -> F32:
        """Return float32 (m, d), the vectors of those ids that there are, in no certain order."""
        found = [
            block.bytes_[at] * block.scales[at, np.newaxis]
            for block in self._blocks
            if len(at := np.flatnonzero(np.isin(block.ids, ids)))
        ]
        return np.vstack(found) if found else np.zeros((0, 0), dtype=np.float32)


def _cosines(blocks: Sequence[_Block], rows: I64, vector: F32) -> F32:
    """Return float32, of ascending rows; in the calling thread alone, which a server likes."""
    scores = []
    start = 0
    for block in blocks:
        end = start + len(block.ids)
        at = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)] - start
        dots = np.einsum("ij,j->i", block.bytes_[at].astype(np.float32), vector)
        scores.append(dots * block.scales[at])
        start = end
    return np.concatenate(scores)


def _signs(vectors: F32) -> U64:
    """Return uint64 (ceil(d / 64), n)."""
    packed = np.packbits(vectors > 0, axis=1)
    padded = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))
    return np.ascontiguousarray(padded.view(np.uint64).T)


def _differing(bits: U64, others: U64) -> NDArray[np.uint16]:
    """Return uint16 (n,), how many signs of each vector differ from those of one other."""
    found = np.zeros(bits.shape[1], dtype=np.uint16)
    for row, other in zip(bits, others[:, 0], strict=True):
        found += np.bitwise_count(row ^ other)
    return found


def _least(apart: NDArray[np.uint16], n: int) -> I64:
    """Return at least `n` rows with the least numbers, all of an equal number, ascending."""
    if n >= len(apart):
        return np.arange(len(apart))
    farthest = np.searchsorted(np.cumsum(np.bincount(apart)), n)
    return np.flatnonzero(apart <= farthest)
