"""Author names: lists of them are split, and names are put in one form to be compared."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from triage.domain.plain_text import without_accents

_WORD = re.compile(r"\w+")
_LIST_CHARS = 100_000
_SEPARATOR = re.compile("[;\uff1b\uff0c\u3001]")
# Not before a suffix: "Martin L. King, Jr." is one person.
_COMMA = re.compile(r",(?!\s*(?:[JS]r|I{2,3}|IV)\b)")
_AND = re.compile(r"(?<![,\s])[,\s]+(?:and|&)\s+", re.IGNORECASE)
_INITIALS = re.compile(r"(?:[^\W\d_]\.?[\s-]?){1,4}(?:,\s*(?:[JS]r\.?|I{2,3}|IV))?")
_DEGREE = re.compile(r",\s*(?:Ph\.?\s?D|M\.?D|[BM]Sc)\b\.?")
_ET_AL = re.compile(r"(?:\s|^)(?:et\s+al\b\.?|(?:and\s+)?others\s*$)")
_GROUP = re.compile(
    r"\b(?:collaborations?|consortium|group|team|network|for|of|the)\b", re.IGNORECASE
)
_GROUP_IN_BRACKETS = re.compile(r"\(([^()]{1,80}\b(?:Collaboration|Consortium))\)")


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


def split_names(text: str) -> list[str]:
    """Return the names of a list of authors that is one text.

    Names are separated by semicolons, by commas, or by "and" or "&". A comma may also stand within
    a name: "Lovelace, Ada" is one person, as is every pair of HighWire's "Lovelace, A., Babbage,
    C.". Groups such as "the CMS Collaboration" stay whole. "et al." and degrees are left out.
    Empty text gives none.
    """
    text = _DEGREE.sub("", text[:_LIST_CHARS])
    text = _GROUP_IN_BRACKETS.sub(r", \1", _ET_AL.sub("", text))
    return [name for part in _SEPARATOR.split(text) for name in _split_sentence(part)]


def _split_sentence(text: str) -> list[str]:
    """Split "A, B and C" and "Last, First and Last, First"."""
    text = text.strip(" ,\t\r\n")
    parts = _AND.split(text)
    is_name = all(" " in part or "," in part for part in parts) and not text.endswith("ations")
    if _GROUP.search(text) and not is_name:
        # "Centers for Disease Control and Prevention", "the CMS and ATLAS Collaborations"
        parts = [text]
    people = [part for part in parts if not _GROUP.search(part)]
    # In "A, B and C", nobody is written as "Last, First".
    are_pairs = len(people) < 2 or "," in people[-1]
    return [name for part in parts for name in _split_commas(part, may_pair=are_pairs)]


def _split_commas(text: str, *, may_pair: bool) -> list[str]:
    """Split at all commas, or, if `may_pair`, only at those that separate persons."""
    pieces = [piece.strip() for piece in _COMMA.split(text) if piece.strip()]
    people = [piece for piece in pieces if not _GROUP.search(piece)]
    families, given = people[::2], people[1::2]
    if may_pair and len(families) == len(given) and _are_pairs(families, given):
        groups = [piece for piece in pieces if _GROUP.search(piece)]
        return [f"{a}, {b}" for a, b in zip(families, given, strict=True)] + groups
    return pieces


def _are_pairs(families: list[str], given: list[str]) -> bool:
    if all(map(_are_initials, given)):
        return True
    if len(given) == 1 and " " not in given[0]:
        return True
    # "van der Waals" is no full name, "Johannes van der Waals" is.
    return all(" " not in family or family[0].islower() for family in families)


def _are_initials(text: str) -> bool:
    """Return whether a text is `A. B.` or `AB`, perhaps with `, Jr.`; "C. Doe" is a name."""
    first = text.partition(",")[0]
    return first == first.upper() and _INITIALS.fullmatch(text) is not None
