"""Nearest neighbours of a vector, in little memory: a byte and a bit for each number.

The bits are the signs. The number of different signs of two vectors grows with their angle
(Charikar 2002, section 3), so it finds candidates; for a million vectors that is fast enough. The
bytes then order the candidates. A million vectors of 512 numbers take 0.6 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from triage.domain.records import F32, I64

U64 = NDArray[np.uint64]

# So many times more candidates than results are ordered, because signs are not exact.
_MORE: Final = 16
_AT_LEAST: Final = 4_000


@dataclass(frozen=True, slots=True)
class Block:
    """Some vectors by row; ids ascending.

    Attributes:
        ids: int64 (n,).
        scales: float32 (n,): a row times its scale is the vector.
        bits: uint64 (ceil(d / 64), n), the signs.
        bytes_: int8 (n, d).
    """

    ids: I64
    scales: F32
    bits: U64
    bytes_: NDArray[np.int8]

    @classmethod
    def of(cls, ids: I64, vectors: F32) -> Block:
        """Return the block of unit vectors, float32 (n, d)."""
        scales = (np.abs(vectors).max(axis=1) / 127).astype(np.float32)
        rounded = np.rint(vectors / np.where(scales > 0, scales, 1)[:, np.newaxis])
        return cls(ids.astype(np.int64), scales, _signs(vectors), rounded.astype(np.int8))

    def rows_of(self, ids: I64) -> I64:
        """Return the rows of those of `ids` that are here."""
        at: I64 = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.asarray(at[self.ids[at] == ids], dtype=np.int64)


class Nearest:
    """An index of vectors by id, added in ascending order of ids.

    One thread may add vectors while others search.
    """

    def __init__(self, blocks: Sequence[Block] = ()) -> None:
        self._blocks = [*blocks]

    def __len__(self) -> int:
        return sum(len(block.ids) for block in self._blocks)

    @property
    def newest(self) -> int:
        """The highest id, 0 if empty."""
        return int(self._blocks[-1].ids[-1]) if self._blocks else 0

    def add(self, ids: I64, vectors: F32) -> None:
        """Add unit vectors, float32 (n, d); ids ascending and above `newest`; may be empty."""
        if not len(ids):
            return
        self._blocks.append(Block.of(ids, vectors))

    def find(self, vector: F32, n: int, among: I64 | None = None) -> list[int]:
        """Return the ids of up to `n` nearest vectors with a positive cosine, nearest first.

        Args:
            vector: float32 (d,) of any length; zeros give nothing.
            among: int64, ascending; all other ids are left out.
        """
        blocks = tuple(self._blocks)
        if not blocks or n <= 0 or not vector.any():
            return []
        ids = np.concatenate([block.ids for block in blocks])
        bits = _signs(vector[np.newaxis])
        distances = np.concatenate([_hamming_distances(block.bits, bits) for block in blocks])
        if among is not None:
            wanted = np.isin(ids, among, assume_unique=True)
            distances[~wanted] = np.iinfo(distances.dtype).max
            n = min(n, int(wanted.sum()))
        rows = _least(distances, max(_MORE * n, _AT_LEAST))
        if among is not None:
            rows = rows[wanted[rows]]
        scores = _cosines(blocks, rows, vector)
        if n < len(rows):
            # To find the best ones is faster than to sort all.
            best = scores >= np.partition(scores, -n)[-n]
            rows, scores = rows[best], scores[best]
        order = np.lexsort((ids[rows], -scores))[:n]
        return [int(id) for id in ids[rows[order[scores[order] > 0]]]]

    def vectors(self, ids: I64) -> F32:
        """Return the vectors of those of `ids` that are here, float32 (m, d), in any order."""
        found = [
            block.bytes_[at] * block.scales[at, np.newaxis]
            for block in tuple(self._blocks)
            if len(at := block.rows_of(ids))
        ]
        return np.vstack(found) if found else np.zeros((0, 0), dtype=np.float32)


def _cosines(blocks: Sequence[Block], rows: I64, vector: F32) -> F32:
    """Return the cosines of ascending rows, float32, times the length of `vector`.

    `einsum` uses only the calling thread, so searches of a server do not compete.
    """
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
    """Return the signs as bits, uint64 (ceil(d / 64), n)."""
    packed = np.packbits(vectors > 0, axis=1)
    padded = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))
    return np.ascontiguousarray(padded.view(np.uint64).T)


def _hamming_distances(bits: U64, others: U64) -> NDArray[np.uint16]:
    """Return the number of different signs of each vector and one other, uint16 (n,)."""
    distances = np.zeros(bits.shape[1], dtype=np.uint16)
    for row, other in zip(bits, others[:, 0], strict=True):
        distances += np.bitwise_count(row ^ other)
    return distances


def _least(distances: NDArray[np.uint16], n: int) -> I64:
    """Return at least `n` rows with the smallest distances, ascending; with all equal ones."""
    if n >= len(distances):
        return np.arange(len(distances))
    farthest = np.searchsorted(np.cumsum(np.bincount(distances)), n)
    return np.flatnonzero(distances <= farthest)
