"""Splits lists into parts: by number, or by the time that each part takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from triage.domain.protocols import Clock

T = TypeVar("T")

# All other writers wait for a transaction; none of them should notice one of this length.
_GOAL_S: Final = 0.05
_FEWEST: Final = 10
_MOST: Final = 500


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield slices of `size` items; the last may be shorter; empty input yields none."""
    return (items[start : start + size] for start in range(0, len(items), size))


class TimedChunks:
    """Splits lists so that the caller needs about 50 ms for each part.

    The parts begin with 10 items and have at most 500. A part that takes too long, also because
    other writers came first, makes the next one shorter.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
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
            if took_s > _GOAL_S or len(some) == self._size:
                suitable = int(self._size * _GOAL_S / max(took_s, _GOAL_S / 2))
                self._size = min(max(suitable, _FEWEST), _MOST)
