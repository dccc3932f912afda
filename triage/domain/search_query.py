"""What somebody who searches wrote, as words that an index can be asked for.

Whatever is written means something: quotes that are not closed, operators, emoji and texts of any
length give the words that are in them, or none.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 2000
"""Characters that are read; nobody types more, and a whole abstract is shorter."""

MOST_TERMS: Final = 32
_PIECE: Final = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<quoted>[^"]*)(?:"|$)|(?P<bare>[^\s"]+))')
_WORD: Final = re.compile(r"[^\W_]+")
_ACCENTS: Final = re.compile("[\u0300-\u036f]+")
# They say nothing of what a paper is about.
_STOP: Final = frozenset(
    "a about all an and any are as at be been but by can do does for from has have how if in into "
    "is it its may more not of on or our paper papers such than that the their them then there "
    "these they this those to was we were what when where which while who why will with".split()
)

Term = tuple[str, ...]
"""Words that stand side by side, in this order: one word, `k-means`, or a phrase in quotes."""


@dataclass(frozen=True, slots=True)
class Query:
    """A search as it was understood.

    Attributes:
        text: what encoders read: everything but what is excluded.
        terms: what is asked for, in the order in which it was written, each once.
        required: those of `terms` that stood in quotes: nothing without them.
        excluded: what stood behind a minus sign.
    """

    text: str
    terms: tuple[Term, ...]
    required: tuple[Term, ...] = ()
    excluded: tuple[Term, ...] = ()


def parse(written: str) -> Query:
    """Read what was written. Stop words count only where nothing else is asked for."""
    terms: list[Term] = []
    idle: list[Term] = []
    required: list[Term] = []
    excluded: list[Term] = []
    texts: list[str] = []
    for piece in _PIECE.finditer(written[:LONGEST]):
        quoted, bare = piece["quoted"], piece["bare"]
        said = quoted if bare is None else bare
        term = words_of(said)
        if piece["minus"]:
            excluded.append(term)
            continue
        texts.append(said)
        if quoted is not None:
            required.append(term)
        stops = quoted is None and len(term) == 1 and term[0] in _STOP
        (idle if stops else terms).append(term)
    return Query(" ".join(texts), _once(terms) or _once(idle), _once(required), _once(excluded))


def words_of(text: str) -> Term:
    """Return the words of a text as an index has them: no case, no accents, no punctuation."""
    plain = unicodedata.normalize("NFC", without_diacritics(text[:LONGEST]))
    return tuple(_WORD.findall(plain.lower()))


def without_diacritics(text: str) -> str:
    """Return text as databases index it: without Latin accents, with other scripts' marks."""
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text))


def _once(terms: list[Term]) -> tuple[Term, ...]:
    return tuple(dict.fromkeys(term for term in terms if term))[:MOST_TERMS]
