"""Sequences in pieces."""

from __future__ import annotations

from triage.domain.chunks import chunks


def test_pieces_hold_all_in_order_and_the_last_may_be_short() -> None:
    assert list(chunks([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(chunks("abcd", 2)) == ["ab", "cd"]
    assert list(chunks((), 2)) == []
