"""What became of a paper for one subscriber: shown, ranked too low, or filtered out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class DigestFilter(StrEnum):
    """Why a paper may not be shown to a subscriber in a digest.

    The first three hold for everybody. `UNLISTED` is a paper that only people named. `DATE` is one
    that is too old for the digest, or was listed later. `SEEN` is one that was shown or voted on.
    `OWN` is one by the subscriber.
    """

    MERGED = "merged"
    WITHDRAWN = "withdrawn"
    UNLISTED = "unlisted"
    SEEN = "seen"
    OWN = "own paper"
    DATE = "date"
    KEYWORD = "keyword"
    MUTED_INTEREST = "muted interest"


class Outcome(StrEnum):
    """What became of a paper; `UNKNOWN` if it is not stored or has no vectors yet."""

    SHOWN = "shown"
    RANKED = "ranked"
    FILTERED = "filtered"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PaperOutcome:
    """What became of a paper for one subscriber, and why.

    Attributes:
        on: the date of the digest that had the paper, or of the one that the rank or the filter is
            about. None if the filter holds for every digest.
        rank, of: the place of a paper that was not shown, among so many candidates.
        score: in [0, 1]; None if the paper was not ranked.
        reasons: sentences: what raised the score, or what the filter found.
    """

    outcome: Outcome
    on: date | None = None
    rank: int | None = None
    of: int | None = None
    score: float | None = None
    reasons: tuple[str, ...] = ()
    filter: DigestFilter | None = None
