"""Record matching: decides whether two records are of one work, also without a shared id.

    blocking keys of each record → records that share one → `match_reason` → a reason, or empty

Two records of one work have the same authors and nearly the same abstract; the title may differ.
Two works of one group often have nearly the same title, so a title alone never joins works that
have ids. `benchmarks/identity.py` measures the errors.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Final

from triage.domain.paper_ids import identify, source_name, title_key
from triage.domain.plain_text import fold
from triage.domain.source_records import FetchedPaper

Name = tuple[str, str]
"""An author's family name, folded, and the first letter of the given name, empty if unknown."""

_WORD: Final = re.compile(r"[^\W_]+")
_TEX: Final = re.compile(r"\\[A-Za-z]+|[{}$\\^_~]")
_LIGHT: Final = frozenset(
    "a an the of for and in on to with from by via at as is are be or using towards toward it its"
    " do does how what why when".split()
)
_ET_AL: Final = re.compile(r"(?:^|[\s,]+)(?:and |& )?(?:et al\.?|others)\s*$", re.IGNORECASE)
_SUFFIXES: Final = frozenset({"jr", "sr", "ii", "iii", "iv"})
# Such a title is about another work, whose title often follows.
_ABOUT: Final = re.compile(
    r"^(?:author |publisher )?(?:erratum|errata|corrigend(?:um|a)|correction|addendum|retraction"
    r"|expression of concern|reply|response|rebuttal|comments?|commentary|discussion|review of"
    r"|withdrawn|supplement(?:ary|al)?)\b(?=\s*(?:to|on|of|for|:|\W|material))",
    re.IGNORECASE,
)
_ROMAN: Final = re.compile(r"(?=[ivx])x{0,2}(?:ix|iv|v?i{0,3})")
_ORDINALS: Final = frozenset("first second third fourth fifth sixth seventh eighth".split())
_CARDINALS: Final = frozenset("one two three four five six seven eight".split())
_PARTS: Final = frozenset("part volume vol chapter paper report task".split())
_N_LONGEST_WORDS: Final = 3
_OPENING_WORDS: Final = 6
_OPENING_CHARS: Final = 300
_KEY_CHARS: Final = 510

# Shares are of three-word runs (abstracts) and of three letters in a row (titles).
_AUTHORS_AGREE: Final = 0.6
_SAME_TITLE_ABSTRACT: Final = 0.15
_LIKE_TITLE, _LIKE_TITLE_ABSTRACT = 0.5, 0.4
_OTHER_TITLE_ABSTRACT, _ALL_AUTHORS = 0.75, 0.8
_NEAR_TITLE: Final = 0.95
_SAME_ABSTRACT: Final = 0.9
_FEWEST_RUNS: Final = 10
_YEARS_APART: Final = 3 * 365


class RecordTraits:
    """The parts of a record that are compared; each is computed once, on first use."""

    def __init__(self, paper: FetchedPaper) -> None:
        self.paper = paper

    @cached_property
    def words(self) -> list[str]:
        return _words(_TEX.sub("", self.paper.title))

    @cached_property
    def key(self) -> str:
        """The title for exact comparison."""
        return title_key(self.paper.title) or self.paper.title

    @cached_property
    def names(self) -> list[Name]:
        names = (_name(each) for each in self.paper.authors)
        return [name for name in names if name[0]]

    @cached_property
    def initials(self) -> dict[str, Counter[str]]:
        """The first letters of the given names, by family name."""
        found: dict[str, Counter[str]] = {}
        for family, initial in self.names:
            found.setdefault(family, Counter())[initial] += 1
        return found

    @cached_property
    def ids(self) -> frozenset[str]:
        """All ids of the record; a preprint's DOI is the same id as its server's."""
        keys = [(self.paper.source, self.paper.source_id), ("doi", self.paper.doi)]
        return frozenset(_outside_id(source, id) for source, id in keys if id is not None)

    @cached_property
    def archive(self) -> str:
        """The archive that gave the id; one work may have ids of several archives."""
        return archive_of(self.paper.source, self.paper.source_id)

    @cached_property
    def letters(self) -> Counter[str]:
        return _letters(self.words)

    @cached_property
    def head(self) -> Counter[str]:
        """The letters of the title before the colon."""
        return _letters(_words(_TEX.sub("", re.split(r":\s| [-–—]+ ", self.paper.title)[0])))

    @cached_property
    def runs(self) -> set[tuple[str, ...]]:
        """All runs of three words of the abstract."""
        words = _words(self.paper.abstract)
        return set(zip(words, words[1:], words[2:], strict=False))

    @cached_property
    def numbers(self) -> Counter[str]:
        """The numbers, numerals and ordinals of the title; they differ in parts of a series."""
        found: Counter[str] = Counter()
        for before, word in zip(["", *self.words], self.words, strict=False):
            if (
                any(map(str.isdigit, word))
                or word in _ORDINALS
                or (word in _CARDINALS and before in _PARTS)
                or (before and _ROMAN.fullmatch(word))
            ):
                found[word.lstrip("0")] += 1
        return found

    @cached_property
    def about(self) -> str:
        """The word, such as "erratum", by which the title is about another work, or empty."""
        match = _ABOUT.match(self.paper.title)
        return match[0].casefold() if match else ""

    @cached_property
    def blocking_keys(self) -> frozenset[str]:
        """Strings of which records of one work share at least one, even when edited.

        These are the ids, the title, and an author's name with a word of the title: the first
        author and the first by alphabet; the first word and the longest words. The first author
        with the beginning of the abstract finds works that were renamed.
        """
        found = {f"#{id}" for id in self.ids}
        if self.paper.title:
            found.add(title_blocking_key(self.paper.title))
        words = [word for word in self.words if word not in _LIGHT]
        if words and self.names:
            longest = sorted(set(words), key=lambda word: (-len(word), word))[:_N_LONGEST_WORDS]
            for family, initial in {self.names[0], min(self.names)}:
                found |= {f"{family} {initial} {word}" for word in (words[0], *longest)}
        opening = _words(self.paper.abstract[:_OPENING_CHARS])[:_OPENING_WORDS]
        if self.names and len(opening) == _OPENING_WORDS:
            found.add(f"{' '.join(self.names[0])} ~ {' '.join(opening)}")
        return frozenset(key[:_KEY_CHARS] for key in found)


def archive_of(source: str, source_id: str | None) -> str:
    """Return the archive that gave an id; two ids of one archive are never matched."""
    return f"doi {source_id}".partition("/")[0] if source == "doi" else source


def title_blocking_key(title: str) -> str:
    """Return the blocking key of a title."""
    return f"={title_key(title) or title}"[:_KEY_CHARS]


def match_reason(one: RecordTraits, other: RecordTraits, known_as: str = "") -> str:
    """Return in words why two records are of one work; empty if they are not.

    Two ids of one archive are two works, however similar: papers that are twice in an archive are
    rarer than similar papers of one group. A record without an id is identified by its title.

    Args:
        known_as: an id, `scheme:value`, that another service gave to both.
    """
    if one.about != other.about:
        return ""
    a, b = one.paper, other.paper
    has_ids = a.source_id is not None and b.source_id is not None
    shared = one.ids & other.ids or ({known_as} if known_as else set())
    if not shared and has_ids and one.archive == other.archive:
        return ""
    agree = _authors_agree(one, other)
    if shared and not _contradict(one, other, agree):
        source, _, value = min(shared).partition(":")
        return f"both are {source_name(source)} {value}"
    if agree is False or not (a.title and b.title):
        return ""
    same_title = one.key == other.key
    if not has_ids:
        return "the same title" if same_title else _similarity_reason(one, other, agree)
    return "" if one.archive == other.archive else _similarity_reason(one, other, agree)


def _contradict(one: RecordTraits, other: RecordTraits, agree: bool | None) -> bool:
    """Return whether two records with a shared id are of different works.

    Papers may have the DOI of their volume, and one part of a series the DOI of another part.
    """
    if not (one.paper.title and other.paper.title):
        return False
    if agree is False and alike(one.letters, other.letters) < _LIKE_TITLE:
        return True
    return one.numbers != other.numbers and 0 <= share_of_runs(one, other) < _LIKE_TITLE_ABSTRACT


def _similarity_reason(one: RecordTraits, other: RecordTraits, agree: bool | None) -> str:
    abstracts = share_of_runs(one, other)
    if _are_two_parts(one, other, abstracts):
        return ""
    if one.key != other.key:
        return _other_title_reason(one, other, abstracts) if agree else ""
    if abstracts < 0:
        return "title and authors are the same" if agree and _near_in_time(one, other) else ""
    enough = _SAME_TITLE_ABSTRACT if agree else _OTHER_TITLE_ABSTRACT
    return "title, authors and abstract are the same" if abstracts >= enough else ""


def _are_two_parts(one: RecordTraits, other: RecordTraits, abstracts: float) -> bool:
    """Return whether two titles have the numbers of two parts of a series."""
    lost, gained = one.numbers - other.numbers, other.numbers - one.numbers
    is_cut = one.letters != other.letters and _part(one, other) == 1.0
    if not (lost and gained) and (abstracts >= _SAME_ABSTRACT or is_cut):
        return False
    return bool(lost or gained)


def _other_title_reason(one: RecordTraits, other: RecordTraits, abstracts: float) -> str:
    letters = alike(one.letters, other.letters)
    likest = max(letters, _part(one, other))
    if likest >= _LIKE_TITLE and abstracts >= _LIKE_TITLE_ABSTRACT:
        return "title, authors and abstract are nearly the same"
    if _n_common(one, other) < _ALL_AUTHORS * max(len(one.names), len(other.names)):
        return ""
    if abstracts < 0 and letters >= _NEAR_TITLE and _near_in_time(one, other):
        return "title and authors are nearly the same"
    if abstracts >= _OTHER_TITLE_ABSTRACT:
        return "authors and abstract are the same, the title is another"
    return ""


def share_of_runs(one: RecordTraits, other: RecordTraits) -> float:
    """Return the share of the shorter abstract in the other one, -1 if one is too short."""
    n = min(len(one.runs), len(other.runs))
    return len(one.runs & other.runs) / n if n >= _FEWEST_RUNS else -1.0


def alike(one: Counter[str], other: Counter[str]) -> float:
    """Return the Dice coefficient of two multisets, 0 if both are empty."""
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def _part(one: RecordTraits, other: RecordTraits) -> float:
    """Return the similarity of two titles if one is cut at its colon."""
    return max(alike(one.head, other.letters), alike(one.letters, other.head))


def _near_in_time(one: RecordTraits, other: RecordTraits) -> bool:
    first, second = one.paper.listed_on, other.paper.listed_on
    return not (first and second) or abs((first - second).days) <= _YEARS_APART


def _authors_agree(one: RecordTraits, other: RecordTraits) -> bool | None:
    """Return whether two lists of authors can be of one work; None if one of them is empty."""
    fewer, more = sorted((len(one.names), len(other.names)))
    if fewer == 0:
        return None
    if fewer == 1 < more:
        # A shortened list has the first author only.
        (family, initial), (other_family, other_initial) = one.names[0], other.names[0]
        return family == other_family and (
            initial == other_initial or not (initial and other_initial)
        )
    return _n_common(one, other) >= _AUTHORS_AGREE * fewer


def _n_common(one: RecordTraits, other: RecordTraits) -> int:
    """Return how many authors of two records can be paired one to one.

    Equal names are paired first. Then a name without an initial pairs with any other name of the
    same family name.
    """
    n = 0
    for family in one.initials.keys() & other.initials.keys():
        mine, theirs = one.initials[family], other.initials[family]
        rest, other_rest = mine - theirs, theirs - mine
        n += (mine & theirs).total()
        n += min(rest[""], other_rest.total()) + min(other_rest[""], rest.total())
    return n


@lru_cache(maxsize=1 << 14)
def _name(author: str) -> Name:
    """Parse `Ian G. Harris`, `Harris, I. G.`, `Harris IG` and `Harris et al.`."""
    if author.casefold().rstrip().rstrip(".").endswith(("al", "others")):
        author = _ET_AL.sub("", author)
    family, comma, given = author.partition(",")
    if not comma:
        parts = author.split()
        if parts and parts[-1].strip(".").casefold() in _SUFFIXES:
            parts.pop()
        last = parts[-1] if parts else ""
        initials = last.isupper() and len(last.replace(".", "")) <= 3
        if len(parts) > 1 and initials and not parts[0].isupper():
            family, given = " ".join(parts[:-1]), last
        else:
            family, given = last, " ".join(parts[:-1])
    names = [each for each in _words(family) if each not in _SUFFIXES] or _words(family)
    letters = _WORD.search(fold(given))
    return (names[-1] if names else "", letters[0][0] if letters else "")


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(text))


def _letters(words: Iterable[str]) -> Counter[str]:
    text = f" {' '.join(words)} "
    return Counter(text[i : i + 3] for i in range(len(text) - 2))


def _outside_id(source: str, source_id: str) -> str:
    found = identify(source_id) if source in {"doi", "biorxiv", "medrxiv", "arxiv"} else None
    return f"{found[0]}:{found[1]}" if found else f"{source}:{source_id}"
