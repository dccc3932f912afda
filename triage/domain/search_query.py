"""Splits a search query into words and phrases for the full-text index.

Every text is valid: from open quotes, operators, emoji and long texts it takes the words, if any.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 2000
"""Characters that are read; an abstract is shorter."""

MOST_TERMS: Final = 32
_PIECE: Final = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<quoted>[^"]*)(?:"|$)|(?P<bare>[^\s"]+))')
_WORD: Final = re.compile(r"[^\W_]+")
_ACCENTS: Final = re.compile("[\u0300-\u036f]+")
# They carry no information about the subject of a paper.
_STOP: Final = frozenset(
    "a about all an and any are as at be been but by can do does for from has have how if in into "
    "is it its may more not of on or our paper papers such than that the their them then there "
    "these they this those to was we were what when where which while who why will with".split()
)

Term = tuple[str, ...]
"""Adjacent words in this order: one word, `k-means`, or a phrase in quotes."""


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search query.

    Attributes:
        text: the query without excluded terms, for encoders.
        terms: all terms to find, in their order, without duplicates.
        required: the terms in quotes; every result must have them.
        excluded: the terms after a minus sign; no result may have them.
    """

    text: str
    terms: tuple[Term, ...]
    required: tuple[Term, ...] = ()
    excluded: tuple[Term, ...] = ()


def parse(text: str) -> Query:
    """Parse a query. Stop words are ignored unless the query has nothing else."""
    terms: list[Term] = []
    stop_words: list[Term] = []
    required: list[Term] = []
    excluded: list[Term] = []
    texts: list[str] = []
    for piece in _PIECE.finditer(text[:LONGEST]):
        quoted, bare = piece["quoted"], piece["bare"]
        words = quoted if bare is None else bare
        term = words_of(words)
        if piece["minus"]:
            excluded.append(term)
            continue
        texts.append(words)
        if quoted is not None:
            required.append(term)
        is_stop_word = quoted is None and len(term) == 1 and term[0] in _STOP
        (stop_words if is_stop_word else terms).append(term)
    wanted = _unique(terms) or _unique(stop_words)
    return Query(" ".join(texts), wanted, _unique(required), _unique(excluded))


def words_of(text: str) -> Term:
    """Return the words of a text as in the index: no case, no accents, no punctuation."""
    plain = unicodedata.normalize("NFC", without_diacritics(text[:LONGEST]))
    return tuple(_WORD.findall(plain.lower()))


def without_diacritics(text: str) -> str:
    """Return text as databases index it: without Latin accents, but with other scripts' marks."""
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text))


def _unique(terms: list[Term]) -> tuple[Term, ...]:
    return tuple(dict.fromkeys(term for term in terms if term))[:MOST_TERMS]
