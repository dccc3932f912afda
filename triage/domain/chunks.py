"""Splits lists into parts: by key, by number, or by the time that each part takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from triage.domain.protocols import Clock

K = TypeVar("K")
T = TypeVar("T")

_FEWEST: Final = 10
_MOST: Final = 500


def group(pairs: Iterable[tuple[K, T]]) -> dict[K, list[T]]:
    """Return for each first value of the pairs their second ones; all in the order of the pairs."""
    found: dict[K, list[T]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield slices of `size` items; the last may be shorter; empty input yields none."""
    return (items[start : start + size] for start in range(0, len(items), size))


class TimedChunks:
    """Splits lists so that the caller needs about `goal_s` seconds for each part.

    The parts are for transactions, for which all other writers wait. They begin with 10 items and
    have at most 500. A part that takes too long, also because other writers came first, makes the
    next one shorter.
    """

    def __init__(self, clock: Clock, goal_s: float) -> None:
        self._clock = clock
        self._goal_s = goal_s
        self._size = _FEWEST

    def split(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """Yield slices; a later call continues with the size that was found."""
        start = 0
        while start < len(items):
            some = items[start : start + self._size]
            start += len(some)
            began = self._clock.now()
            yield some
            took_s = (self._clock.now() - began).total_seconds()
            if took_s > self._goal_s or len(some) == self._size:
                suitable = int(self._size * self._goal_s / max(took_s, self._goal_s / 2))
                self._size = min(max(suitable, _FEWEST), _MOST)
