"""Sequences in pieces."""

from __future__ import annotations

from datetime import timedelta

from tests.support.fakes import StoppedClock
from triage.domain.chunks import TimedChunks, chunks

ONE_SECOND = timedelta(seconds=1)


def test_pieces_hold_all_in_order_and_the_last_may_be_short() -> None:
    assert list(chunks([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(chunks("abcd", 2)) == ["ab", "cd"]
    assert list(chunks((), 2)) == []


def sizes(
    clock: StoppedClock, n: int, each_s: float, timed: TimedChunks | None = None
) -> list[int]:
    found = []
    for some in (timed or TimedChunks(clock, 0.05)).split(range(n)):
        found.append(len(some))
        clock.at += each_s * len(some) * ONE_SECOND
    return found


def test_timed_pieces_hold_all_in_order() -> None:
    timed = TimedChunks(StoppedClock(), 0.05)
    assert [each for some in timed.split(range(1234)) for each in some] == list(range(1234))
    assert list(timed.split(())) == []


def test_pieces_that_take_no_time_grow_to_a_limit() -> None:
    assert sizes(StoppedClock(), 2000, 0) == [10, 20, 40, 80, 160, 320, 500, 500, 370]


def test_pieces_become_as_long_as_fifty_milliseconds_allow() -> None:
    assert sizes(StoppedClock(), 300, 0.001) == [10, 20, 40, 50, 50, 50, 50, 30]


def test_a_piece_that_takes_too_long_makes_the_next_ones_shorter() -> None:
    clock = StoppedClock()
    timed = TimedChunks(clock, 0.05)
    assert sizes(clock, 150, 0, timed) == [10, 20, 40, 80]
    assert sizes(clock, 200, 0.002, timed) == [160, 25, 15]
    # Never fewer than ten, however slow the disk.
    assert sizes(clock, 30, 60, timed) == [25, 5]
    assert sizes(clock, 30, 60, timed) == [10, 10, 10]


def test_a_clock_that_is_set_back_only_lets_the_pieces_grow() -> None:
    assert sizes(StoppedClock(), 60, -3600) == [10, 20, 30]
