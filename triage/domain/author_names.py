"""Author names in one form, so that they can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from triage.domain.plain_text import without_accents

_WORD = re.compile(r"\w+")


@lru_cache(maxsize=65_536)
def author_key(name: str) -> str:
    """Return a name without case, accents and punctuation, first names first."""
    last, comma, first = name.partition(",")
    text = f"{first} {last}" if comma else name
    return " ".join(_WORD.findall(without_accents(text.casefold())))


def share_an_author(some: Iterable[str], others: Iterable[str]) -> bool:
    """Return whether two lists of authors share a last name."""
    return not _last_names(some).isdisjoint(_last_names(others))


def _last_names(names: Iterable[str]) -> set[str]:
    return {author_key(name).rpartition(" ")[2] for name in names} - {""}


@lru_cache(maxsize=65_536)
def author_keys(names: tuple[str, ...]) -> frozenset[str]:
    """Return the keys of a paper's authors."""
    return frozenset(author_key(name) for name in names)
