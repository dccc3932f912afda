"""What citations need and papers do not have: parts of names, the date of publication, keys.

Ashish Vaswani, arXiv 1706.03762, “Attention Is All You Need” → vaswani2017attention
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

from triage.domain.paper_ids import arxiv_month, parse_arxiv
from triage.domain.plain_text import fold
from triage.domain.records import Paper

_SUFFIX: Final = re.compile(r"(?:[JS]r|I{2,3}|IV)\.?")
_DEGREE: Final = re.compile(r"Ph\.?\s?D\.?|M\.?D\.?|[BM]Sc\.?")
_INITIAL: Final = re.compile(r"[^\W\d_]\.?")
_GROUP: Final = re.compile(
    r"\b(?:collaborations?|consortium|consortia|groups?|teams?|network|universit\w+|institut\w*"
    r"|laborator\w+|labs|foundation|observatory|initiative|community|inc|ltd|llc|gmbh|corp"
    r"|and|for|of|the)\b|\b(?-i:AI)$",
    re.IGNORECASE,
)
# Chinese, Japanese and Korean names have the family name first, and often no blank.
_EAST_ASIAN: Final = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
_IN_BRACKETS: Final = re.compile(r"\s*\([^()]*\)")
# With what a family name without a given name may begin; in “bell hooks” it is a given name.
_PARTICLES: Final = frozenset(
    "af al av bin da de del della den der di dos du el ibn la le ten ter van von zu".split()
)
# “Santiago Ramón y Cajal”
_JOINING: Final = frozenset({"y", "e", "i"})
# Letters that Unicode does not take apart.
_ASCII: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"}
)
_NOT_OF_KEYS: Final = re.compile(r"[^a-z0-9]+")
_LONGEST_PART: Final = 40
_STOP_WORDS: Final = frozenset(
    "a an and are as at be by can do does for from how in into is it its of on or that the their "
    "this to toward towards via what when where which who why with".split()
)

_YEAR: Final = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)", re.ASCII)
_YEAR_IN_BRACKETS: Final = re.compile(r"\(((?:19|20)\d\d)\)", re.ASCII)
# The DOIs of bioRxiv and medRxiv since December 2019.
_DATED_DOI: Final = re.compile(r"10\.(?:1101|64898)/(20\d\d)\.(0[1-9]|1[0-2])\.\d\d\.\d+", re.ASCII)
_CONFERENCE: Final = re.compile(
    r"conference|workshop|symposium|annual meeting|proceedings of the \d|neural information"
    r"|computer vision and pattern|\b(?:neurips|nips|icml|iclr|cvpr|iccv|eccv|acl|emnlp|naacl|eacl"
    r"|coling|aaai|ijcai|kdd|sigir|interspeech|icassp|chi|icra|iros|colt|aistats|uai)\b",
    re.IGNORECASE,
)


class NameParts(NamedTuple):
    """A name: that of a group, or of which the parts are unknown, is all in `family`."""

    family: str
    given: str = ""
    suffix: str = ""


def split_name(name: str) -> NameParts:
    """Return the parts of “Jan van der Berg”, “van der Berg, Jan” or “Martin Luther King Jr.”.

    Words in lower case before the last one belong to the family name.
    """
    name = " ".join(name.split())
    if _GROUP.search(name) or _EAST_ASIAN.search(name):
        return NameParts(name)
    family, *others = (part.strip() for part in name.split(","))
    suffix = " ".join(filter(_SUFFIX.fullmatch, others))
    given = [each for each in others if not (_SUFFIX.fullmatch(each) or _DEGREE.fullmatch(each))]
    if given:
        return (
            NameParts(family, given[0], suffix) if len(given) == 1 and family else NameParts(name)
        )
    words = family.split()
    if len(words) > 2 and _SUFFIX.fullmatch(words[-1]):
        suffix = words.pop()
    if len(words) == 2 and _INITIAL.fullmatch(words[1]) and not _INITIAL.fullmatch(words[0]):
        return NameParts(words[0], words[1], suffix)
    at = _family_at(words)
    # What precedes a suffix alone is not known to be a family name.
    return NameParts(" ".join(words[at:]), " ".join(words[:at]), suffix) if at else NameParts(name)


def _family_at(words: Sequence[str]) -> int:
    """Return where the family name begins in a name that ends with it."""
    at = max(len(words) - 1, 0)
    while at and words[at - 1].islower() and not words[-1].islower():
        at -= 1
    if at == 0 and words and words[0] not in _PARTICLES:
        at = min(1, len(words) - 1)
    return at - 1 if at and words[at] in _JOINING else at


class Published(NamedTuple):
    """When a paper was published, as far as it is known."""

    year: int
    month: int | None = None

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02}" if self.month else f"{self.year}"


def published(paper: Paper) -> Published:
    """Return when a paper was published, which may be long before a source listed it.

    The year in the name of a journal or conference is known best, then comes the month in the id of
    a preprint, then the day of the listing.
    """
    venue = paper.venue
    years = _YEAR_IN_BRACKETS.findall(venue) or _YEAR.findall(venue)
    on = _preprint_month(paper) or paper.listed_on
    known = [int(year) for year in years if int(year) <= paper.listed_on.year + 1]
    # The others are numbers of pages.
    nearest = min(known, key=lambda year: abs(year - on.year), default=on.year)
    return Published(on.year, on.month) if nearest == on.year else Published(nearest)


def _preprint_month(paper: Paper) -> date | None:
    arxiv = parse_arxiv(paper.source_id or "") if paper.source == "arxiv" else None
    if arxiv is not None:
        return arxiv_month(arxiv[0])
    dated = _DATED_DOI.fullmatch(paper.source_id or "")
    return date(int(dated[1]), int(dated[2]), 1) if dated else None


def is_conference(venue: str) -> bool:
    """Return whether a venue is a conference and not a journal, as far as its name tells."""
    return _CONFERENCE.search(venue) is not None


def citation_keys(papers: Sequence[Paper]) -> list[str]:
    """Return a key for each paper: last name of the first author, year, first word of the title.

    Keys have only a to z and digits. Papers with equal ones get a, b, c … appended, in the order of
    their ids, so that their keys stay the same when a file is written again with newer papers.
    """
    keys: dict[int, str] = {}
    n_taken: Counter[str] = Counter()
    for id, paper in sorted({each.id: each for each in papers}.items()):
        bare = key = _key(paper)
        # “a2026fooa” may be the second “a2026foo” or the first of its own.
        while key in n_taken:
            n_taken[bare] += 1
            key = bare + _letters(n_taken[bare])
        n_taken[key] = 0
        keys[id] = key
    return [keys[each.id] for each in papers]


def _key(paper: Paper) -> str:
    name = _key_name(paper.authors[0]) if paper.authors else ""
    words = [_fold(word) for word in paper.title.split()]
    telling = [word for word in words if word and word not in _STOP_WORDS and not word.isdigit()]
    word = next(iter(telling or filter(None, words)), "")
    if not name and not word:
        word = f"paper{paper.id}"
    return f"{name}{published(paper).year}{word[:_LONGEST_PART]}"


def _key_name(author: str) -> str:
    """Return the last name in ASCII; of a group its first own word; "" in other scripts."""
    author = _IN_BRACKETS.sub("", author) or author
    family = split_name(author).family
    if _GROUP.search(family):
        own = filter(None, map(_fold, _GROUP.sub(" ", family).split()))
        return next(own, _fold(family))[:_LONGEST_PART]
    return _fold(family)[:_LONGEST_PART]


def _fold(text: str) -> str:
    return _NOT_OF_KEYS.sub("", fold(text).translate(_ASCII))


def _letters(n: int) -> str:
    """Return "", a, b, …, z, aa, ab, …."""
    text = ""
    while n:
        n, rest = divmod(n - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
