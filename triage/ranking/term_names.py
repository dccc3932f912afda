"""Writes the terms of an encoder as words that a reader knows from a text.

The encoder splits words at hyphens, drops stop words, writes everything in lower case, and has
terms that every paper has. In a sentence for people, "non" of "non-linear", "end end" of
"end-to-end", "mathrm" of a formula and "method" are debris.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from triage.domain.plain_text import without_accents
from triage.domain.records import CSR, Bools

# So many of the terms that weigh most are worth a look, because many of them say little.
MAX_TERMS = 24
# A term in a larger share of the day's papers says little about one of them.
MAX_SHARE = 0.1
# Shares among fewer papers are chance.
FEWEST_PAPERS = 50

# Words with the same first letters have the same stem, as "watermark" and "watermarking".
STEM = 7

# Words of scholarly English. They are no reason alone, nor two of them together.
_GENERAL = frozenset(
    "ability able accuracy accurate address aim analysis application approach aspect author"
    " available base baseline better case challenge challenging class common comparison complete"
    " complex complexity component comprehensive concept condition content context core cost"
    " current data dataset design detail development difference different direct diverse domain"
    " effect effective effectiveness efficiency efficient error estimate evaluation evidence"
    " experience experiment experimental explicit extensive external factor feature field final"
    " finding first framework function functionality fundamental future gap general global goal"
    " good group help high impact implicit important improvement independent individual"
    " information input insight issue key knowledge known large latest level like limit"
    " limitation limited line local long low main major mean mechanism method metric model"
    " modern module multi multiple need new non novel number objective observed online open"
    " operation optimal order original output overall paper paradigm parameter part particular"
    " past pattern performance pipeline point possible potential power practical pre prior"
    " problem process progress property quality question range rapid rate real realistic recent"
    " recently reference region related relation relative research resource response result"
    " review robust role rule sample scale scenario scheme self semi sense set setting short"
    " significant similar simple single size small solution source space special specific stage"
    " standard state step strategy strong structure structured subject success survey system"
    " systems task technique term test theory time tool total traditional trained training type"
    " understanding unified unit unknown usage use user value variable various version view way"
    " wide work world".split()
)
# Forms of verbs and adverbs, and the second halves of compounds. No term with one of them is good.
_NEVER = frozenset(
    "achieve achieving address addresses addressing allow allowing allows also applied apply"
    " applying art aware based become best called capture capturing com come compared conduct"
    " conducted consider considering consistently demonstrate demonstrated demonstrating"
    " designed developed developing doi driven effectively employ employing enable enabling"
    " enhance enhanced ensure ensuring et evaluate evaluating exhibit exist existing explore"
    " exploring facilitate facilitates facilitating find focus free generally github given"
    " guided highly http https improve improved improving include including increase increasing"
    " integrate integrates integrating introduce investigate know lead leading leverage"
    " leveraging make obtain obtained offer offers org outperform outperforming particularly"
    " perform performed present presented preserving previous previously propose proposed"
    " proposing prove provide provided providing publicly reduce remain remains reported require"
    " required requires requiring respectively reveal reveals show showing shown shows"
    " significantly specifically study suggest suggests toward typically used using utilize"
    " utilizes via well widely www".split()
)
# "2d" is a word, but "7b", "10x" and "95" are not.
_DIGITS = re.compile(r"\d(?!d$)")
_ATTACHED = r"\w\\{}\u2010-\u2015_^$/-"


def find_common_terms(words: CSR) -> Bools:
    """Return bool (v,): the terms that more than MAX_SHARE of the papers have.

    `words` are the TF-IDF rows of the day's papers; for too few papers no term is common.
    """
    n = words.shape[0]
    if n < FEWEST_PAPERS:
        return np.zeros(words.shape[1], dtype=bool)
    return np.asarray(np.bincount(words.indices, minlength=words.shape[1]) > MAX_SHARE * n)


def name_terms(terms: Sequence[str], text: str) -> list[str]:
    """Return the terms that say something, as the text writes them, in their order.

    Left out are what occurs in the text only as a part of a longer word or a formula, general
    words, numbers, and what has the same stem as a term before. A term that is a part of another,
    as "decoding" of "speculative decoding", gives its place to that one.
    """
    text = _plain(text)
    named = {term: _as_written(term, text) for term in terms if _says_something(term)}
    kept = [term for term, name in named.items() if name]
    by_stem: dict[str, str] = {}
    for term in kept:
        whole = next((t for t in kept if t != term and f" {term} " in f" {t} "), term)
        by_stem.setdefault(whole[:STEM], named[whole])
    return list(by_stem.values())


def _says_something(term: str) -> bool:
    words = term.split()
    return (
        not _NEVER.intersection(words)
        and not _GENERAL.issuperset(words)
        and not any(map(_DIGITS.match, words))
    )


# On one day, the same words of the same papers are named to many subscribers.
_plain = lru_cache(maxsize=4_096)(without_accents)


@lru_cache(maxsize=32_768)
def _as_written(term: str, text: str) -> str:
    """Return how the text writes a term, in lower case if it does so anywhere; "" if it has it not.

    A word of two letters counts only as an abbreviation, as in "RL".
    """
    found = _pattern(term).findall(text)
    # At the start of a sentence and in titles, words begin with a capital.
    forms = {form.lower() if form in (form.title(), form.capitalize()) else form for form in found}
    if len(term) == 2:
        forms = {form for form in forms if form != form.lower()}
    return min(forms, key=lambda form: (not form.islower(), len(form), form), default="")


@lru_cache(maxsize=4_096)
def _pattern(term: str) -> re.Pattern[str]:
    words = (
        rf"{re.escape(word[:-1])}(?:y|ies)" if word.endswith("y") else rf"{re.escape(word)}(?:e?s)?"
        for word in term.split()
    )
    joined = r"[ \u2010-\u2013-]".join(words)
    return re.compile(rf"(?<![{_ATTACHED}]){joined}(?![{_ATTACHED}])", re.IGNORECASE)


# Only words of English: phrases in other languages still match as a whole.
_SMALL = frozenset("a an and as at by for from in into is of on or the their to via with".split())


def shared_parts(phrase: str, text: str) -> list[str]:
    """Return the parts of a phrase that a text has, longest first; `[phrase]` if it has all of it.

    A plural is like its singular. Parts that say little, as "large", are left out.
    """
    words = re.findall(r"[^\W_]+", phrase)
    wanted = [_stem(word) for word in words]
    spaced, folded = _stems(text)
    if (wanted and f" {' '.join(wanted)} " in spaced) or phrase.casefold() in folded:
        return [phrase]
    parts: list[str] = []
    covered: set[int] = set()
    for n in range(len(words) - 1, 0, -1):
        for start in range(len(words) - n + 1):
            rows = range(start, start + n)
            part = wanted[start : start + n]
            if not covered.isdisjoint(rows) or _SMALL & {part[0], part[-1]} or len(part[0]) < 2:
                continue
            if f" {' '.join(part)} " in spaced and _says_something(" ".join(part)):
                parts.append(" ".join(words[start : start + n]))
                covered.update(rows)
    return parts


@lru_cache(maxsize=4_096)
def _stems(text: str) -> tuple[str, str]:
    """Return the stems of a text, each between two spaces, and the text without case."""
    words = re.findall(r"[^\W_]+", text)
    return " ".join(["", *map(_stem, words), ""]), text.casefold()


def _stem(word: str) -> str:
    word = without_accents(word).casefold()
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
