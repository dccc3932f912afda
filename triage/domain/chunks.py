"""Sequences in pieces, as `itertools.batched` gives them from Python 3.12 on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield slices of `size` items, the last one perhaps shorter; no items give none."""
    return (items[start : start + size] for start in range(0, len(items), size))
