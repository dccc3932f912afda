"""Shared by the enrichers: venues, counts and other ids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from triage.domain.paper_ids import identify, title_key
from triage.sources.text.cleaning import clean

VENUE_CHARS: Final = 150
TLDR_CHARS: Final = 1_000
_MOST_COUNTED: Final = 10**7
_MOST_IDS: Final = 20
# A preprint server is not a venue. As `title_key`s.
_PREPRINT_SERVERS: Final = frozenset(
    "arxiv arxivorg biorxiv medrxiv chemrxiv psyarxiv socarxiv eartharxiv engrxiv techrxiv corr "
    "ssrn ssrnelectronicjournal researchsquare preprintsorg osfpreprints openreview "
    "openreviewnet".split()
)


def first_venue(*names: Any) -> str:
    """Return the first of `names` that is a venue, as clean text; empty if none is."""
    for name in names:
        text = clean(name, VENUE_CHARS) if isinstance(name, str) else ""
        if title_key(text) and title_key(text) not in _PREPRINT_SERVERS:
            return text
    return ""


def parse_count(value: Any) -> int | None:
    """Return a count of citations or upvotes; None if `value` is not one."""
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return value if is_count and 0 <= value <= _MOST_COUNTED else None


def other_ids(texts: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    """Return the arXiv ids and DOIs among `texts` as pairs of scheme and id, each once."""
    found = (identify(text) for text in texts if isinstance(text, str))
    return tuple(dict.fromkeys((id[0], id[1]) for id in found if id))[:_MOST_IDS]
