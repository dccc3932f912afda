"""Names for chances: words for readers, and the lengths of digests."""

from __future__ import annotations

from collections.abc import Mapping

from triage.domain.records import Impression, Policy

LENGTHS: Mapping[str, float] = {"likely": 0.1, "more": 0.01, "all": 0.0}
"""The lengths of digests: the lowest chance that a paper must have."""

_WORDS = ((0.8, "very likely yours"), (0.5, "likely yours"), (0.2, "perhaps yours"))


def describe_chance(shown: Impression) -> str:
    """Return how likely a vote for a shown paper is, in words; empty if it is not likely.

    It is empty for exploration papers, too, and if the score is no chance.
    """
    if shown.prior is None or shown.policy is Policy.EXPLORATION:
        return ""
    return words_of(shown.score)


def words_of(chance: float) -> str:
    """Return a chance in words; empty if it is low."""
    return next((words for least, words in _WORDS if chance >= least), "")


def length_of(floor: float | None) -> str | None:
    """Return the name of the length with this floor; None if there is none."""
    return next((name for name, least in LENGTHS.items() if least == floor), None)
