"""Names for chances: words for readers, and the lengths of digests."""

from __future__ import annotations

from collections.abc import Mapping

LENGTHS: Mapping[str, float] = {"likely": 0.1, "more": 0.015, "all": 0.0}
"""The lengths of digests: the lowest chance that a paper must have."""

USUAL_FLOOR = LENGTHS["more"]

_WORDS = ((0.8, "very likely yours"), (0.5, "likely yours"), (0.2, "perhaps yours"))


def describe_chance(chance: float) -> str:
    """Return a chance in words; empty if it is small, as that of most papers is."""
    return next((words for least, words in _WORDS if chance >= least), "")


def length_of(floor: float | None) -> str | None:
    """Return the name of the length with this floor; None if there is none."""
    return next((name for name, least in LENGTHS.items() if least == floor), None)
