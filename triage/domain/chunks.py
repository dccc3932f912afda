"""A replacement for `itertools.batched`, which exists from Python 3.12 on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield slices of `size` items; the last may be shorter; empty input yields none."""
    return (items[start : start + size] for start in range(0, len(items), size))
