"""Labelled pairs of records, one work or two, made from real papers.

Half of the pairs are one work in two archives, half are similar works. Each kind has its rule; all
use one seed.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from benchmarks.figures import SHARED
from triage.domain.source_records import FetchedPaper
from triage.papers.record_matching import RecordTraits, alike

if TYPE_CHECKING:
    pass

PAPERS = SHARED / "bench" / "listings-2026" / "papers.jsonl.gz"
SEED = 20260901

SYNONYMS = {
    "approach": "method", "method": "approach", "framework": "system", "system": "framework",
    "novel": "new", "towards": "toward", "via": "through", "efficient": "fast", "using": "with",
    "large": "big", "study": "analysis", "analysis": "study", "improving": "enhancing",
    "learning": "training", "robust": "reliable", "evaluating": "assessing", "based": "driven",
    "show": "demonstrate", "propose": "present", "present": "introduce", "introduce": "propose",
    "results": "findings", "significantly": "considerably", "existing": "current",
    "achieves": "reaches", "demonstrate": "show", "model": "approach", "performance": "accuracy",
}  # fmt: skip
ADDED = (
    "in practice",
    "at scale",
    "for real-world use",
    "with theoretical guarantees",
    "revisited",
)


@dataclass(frozen=True)
class Pair:
    """Two records and whether they are one work; `kind` names the rule that made them.

    `origin` is the listed paper that the second one was made from, which may be stored, too.
    """

    kind: str
    first: FetchedPaper
    second: FetchedPaper
    one: bool
    origin: str | None


def corpus(limit: int | None = None) -> list[FetchedPaper]:
    """Return the first listed papers, or all without a limit, as an arXiv source does."""
    with gzip.open(PAPERS, "rt", encoding="utf-8") as file:
        return [as_fetched(json.loads(line)) for line in islice(file, limit)]


def as_fetched(row: dict[str, Any]) -> FetchedPaper:
    return FetchedPaper(
        source="arxiv",
        source_id=row["id"],
        title=row["title"],
        abstract=row["abstract"],
        raw_title=row["title"],
        raw_abstract=row["abstract"],
        version=1,
        authors=tuple(row.get("authors") or ()),
        categories=tuple(row.get("categories") or ()),
        listed_on=date.fromisoformat(row["listed_date"]),
        comment=row.get("comment") or "",
    )


# -- how the same work looks elsewhere -------------------------------------------------------------


def retitled(rng: random.Random, title: str) -> str:
    """Make one or two edits to a title, as authors and editors do."""
    for edit in rng.sample(TITLE_EDITS, rng.choice((1, 1, 2))):
        title = edit(rng, title)
    return title


def _word_changed(rng: random.Random, title: str) -> str:
    words = title.split()
    known = [i for i, word in enumerate(words) if word.lower() in SYNONYMS]
    place = rng.choice(known or range(len(words)))
    words[place] = SYNONYMS.get(words[place].lower(), rng.choice(("Neural", "Adaptive", "Deep")))
    return " ".join(words)


def _words_added(rng: random.Random, title: str) -> str:
    return f"{title} {rng.choice(ADDED)}"


def _subtitle_dropped(_rng: random.Random, title: str) -> str:
    head, colon, rest = title.partition(": ")
    return head if colon and len(head) > 3 and rest else title


def _head_dropped(_rng: random.Random, title: str) -> str:
    head, colon, rest = title.partition(": ")
    return rest if colon and len(rest.split()) > 3 and head else title


def _case_changed(rng: random.Random, title: str) -> str:
    return rng.choice((str.upper, str.lower, str.title))(title)


def _as_tex(_rng: random.Random, title: str) -> str:
    words = title.split()
    words[0] = rf"$\textbf{{{words[0]}}}$"
    return " ".join(words).replace("é", r"\'{e}")


def _as_unicode(_rng: random.Random, title: str) -> str:
    dashed = (
        title.replace("-", "\N{EN DASH}").replace("fi", "ﬁ").replace(" ", "\N{NO-BREAK SPACE}", 1)
    )
    return dashed.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")


TITLE_EDITS: Sequence[Callable[[random.Random, str], str]] = (
    _word_changed, _words_added, _subtitle_dropped, _head_dropped, _case_changed, _as_tex,
    _as_unicode,
)  # fmt: skip


def edited(rng: random.Random, text: str, kept: float, changed: float) -> str:
    """Keep sentences with one probability and change words with another, as in a new version."""
    sentences = re.split(r"(?<=[.!?]) ", text)
    stay = [each for each in sentences if rng.random() < kept] or sentences[:1]
    words = " ".join(stay).split()
    return " ".join(
        SYNONYMS.get(word.lower(), word[::-1] if len(word) > 9 else word)
        if rng.random() < changed
        else word
        for word in words
    )


def wrapped(rng: random.Random, text: str) -> str:
    words = text.split(" ")
    return "".join(word + ("\n" if rng.random() < 0.1 else " ") for word in words).strip()


def names(rng: random.Random, authors: Sequence[str]) -> tuple[str, ...]:
    """Write authors as another archive does; one form for the whole list."""
    parts = [author.split() for author in authors]
    form = rng.randrange(5)
    if form == 0:
        told = [f"{p[-1]}, {p[0][0]}." if len(p) > 1 else p[0] for p in parts]
    elif form == 1:
        told = [f"{p[-1]} {''.join(g[0] for g in p[:-1]).upper()[:3]}".strip() for p in parts]
    elif form == 2:
        told = [" ".join([*(f"{g[0]}." for g in p[:-1]), p[-1]]) for p in parts]
    elif form == 3:
        told = [f"{p[0]} {p[-1]}" if len(p) > 1 else p[0] for p in parts]  # middle names left out
    else:
        told = list(authors)
    if len(told) > 4 and rng.random() < 0.15:
        told = [*told[:3], "et al."]
    return tuple(told)


def elsewhere(rng: random.Random, n: int, paper: FetchedPaper, **fields: Any) -> FetchedPaper:
    """Return a record of another archive, some days or months later."""
    source, source_id = rng.choice(
        (("doi", f"10.5555/pair.{n}"), ("feed:journal", f"pair-{n}"), ("biorxiv", f"10.1101/p.{n}"))
    )
    moved = {
        "source": source,
        "source_id": source_id,
        "version": None,
        "comment": "",
        "listed_on": (paper.listed_on or date(2026, 1, 1)) + timedelta(days=rng.randrange(400)),
    }
    made = replace(paper, **(moved | fields))
    return replace(made, raw_title=made.title, raw_abstract=made.abstract)


def pairs(papers: Sequence[FetchedPaper], n: int, seed: int = SEED) -> list[Pair]:
    """Make `n` pairs, half of them one work; the same papers and seed give the same pairs."""
    rng = random.Random(seed)  # noqa: S311 - a benchmark wants the same pairs again
    usable = [p for p in papers if p.authors and len(p.abstract.split()) > 40]
    shuffled = rng.sample(usable, len(usable))
    fresh = iter(shuffled)
    same = [_version, _hugging_face, _listing, _retitled, _retitled, _renamed, _journal, _journal]
    near = _Neighbours(usable)
    other = [
        _part, _part, _numbered, _about_it, _same_title, near.title_of_others, near.of_the_group,
        near.of_the_group,
    ]  # fmt: skip
    made = []
    while len(made) < n:
        for maker in (same[len(made) // 2 % len(same)], other[len(made) // 2 % len(other)]):
            found = None
            while found is None:
                found = maker(rng, len(made), next(fresh), rng.choice(usable))
            made.append(found)
    return made


Maker = Callable[[random.Random, int, FetchedPaper, FetchedPaper], Pair | None]


def _version(rng: random.Random, _n: int, paper: FetchedPaper, _: FetchedPaper) -> Pair:
    text = edited(rng, paper.abstract, 0.9, 0.05)
    told = {"version": 2, "title": retitled(rng, paper.title), "abstract": text}
    return Pair("version", paper, replace(paper, raw_abstract=text, **told), True, paper.source_id)


def _hugging_face(rng: random.Random, _n: int, paper: FetchedPaper, _: FetchedPaper) -> Pair:
    authors = tuple(re.sub(r" [A-Z]\.", "", author) for author in paper.authors)
    copy = replace(paper, version=None, title=wrapped(rng, paper.title), authors=authors,
                   abstract=wrapped(rng, paper.abstract), upvotes=rng.randrange(90))  # fmt: skip
    return Pair("HF copy", paper, copy, True, paper.source_id)


def _listing(rng: random.Random, _n: int, paper: FetchedPaper, _: FetchedPaper) -> Pair:
    text = {"title": wrapped(rng, paper.title), "abstract": wrapped(rng, paper.abstract)}
    copy = replace(paper, source="listing", source_id=None, version=None, authors=(), **text)
    return Pair("HF copy without id", paper, copy, True, paper.source_id)


def _retitled(rng: random.Random, n: int, paper: FetchedPaper, _: FetchedPaper) -> Pair:
    text = edited(rng, paper.abstract, 1.0, 0.05)
    second = elsewhere(rng, n, paper, title=retitled(rng, paper.title), abstract=text,
                       authors=names(rng, paper.authors))  # fmt: skip
    return Pair("retitled", paper, second, True, paper.source_id)


def _renamed(rng: random.Random, n: int, paper: FetchedPaper, _: FetchedPaper) -> Pair:
    head, colon, rest = paper.title.partition(": ")
    words = (rest or head).split()
    kept = rng.sample(words, max(2, len(words) // 2))
    title = f"{' '.join(kept)} {rng.choice(ADDED)}" + (f" ({head})" if colon else "")
    return Pair(
        "renamed, same abstract",
        paper,
        elsewhere(rng, n, paper, title=title),
        True,
        paper.source_id,
    )


def _journal(rng: random.Random, n: int, paper: FetchedPaper, _: FetchedPaper) -> Pair:
    preprint = replace(paper, source="biorxiv", source_id=f"10.1101/2026.{n:06d}")
    title = retitled(rng, paper.title) if rng.random() < 0.5 else paper.title
    told = {"title": title, "authors": names(rng, paper.authors),
            "abstract": edited(rng, paper.abstract, 0.85, 0.08)}  # fmt: skip
    article = elsewhere(rng, n, preprint, **told)
    kind = rng.randrange(3)
    if kind == 0:
        # Its server knows what became of it; the journal's record may then be without abstract.
        doi = f"10.5555/journal.{n}"
        preprint = replace(preprint, doi=doi)
        article = replace(article, source="doi", source_id=doi, abstract="", raw_abstract="")
        return Pair("bioRxiv to journal, DOI told", preprint, article, True, paper.source_id)
    if kind == 1:
        case = replace(article, title=_case_changed(rng, paper.title), abstract="", raw_abstract="")
        article = replace(case, source="doi", source_id=f"10.5555/journal.{n}")
        return Pair("bioRxiv to journal, no abstract", preprint, article, True, paper.source_id)
    article = replace(article, source="feed:journal", source_id=f"journal-{n}")
    return Pair("bioRxiv to journal", preprint, article, True, paper.source_id)


# -- what only looks alike -------------------------------------------------------------------------


def _mixed(rng: random.Random, text: str, other: str) -> str:
    """Join the beginning of one abstract with the rest of another, as in companion papers."""
    one, two = re.split(r"(?<=[.!?]) ", text), re.split(r"(?<=[.!?]) ", other)
    n = max(1, int(len(one) * rng.uniform(0.1, 0.5)))
    return " ".join([*one[:n], *two])


def _part(rng: random.Random, n: int, paper: FetchedPaper, other: FetchedPaper) -> Pair:
    first, second = rng.choice(
        ((" I", " II"), (" - Part 1", " - Part 2"), (": Part One", ": Part Two"), (" II", " III"),
         (" I: Theory", " II: Experiments"))
    )  # fmt: skip
    told = {"title": paper.title + second, "abstract": _mixed(rng, paper.abstract, other.abstract)}
    begun = replace(paper, title=paper.title + first)
    return Pair(
        "parts of a series", begun, elsewhere(rng, n, paper, **told), False, paper.source_id
    )


def _numbered(rng: random.Random, n: int, paper: FetchedPaper, other: FetchedPaper) -> Pair:
    year = rng.randrange(2019, 2025)
    begun = replace(paper, title=f"{paper.title} {year}")
    told = {"title": f"{paper.title} {year + 1}",
            "abstract": _mixed(rng, paper.abstract, other.abstract)}  # fmt: skip
    return Pair("yearly report", begun, elsewhere(rng, n, paper, **told), False, paper.source_id)


def _about_it(rng: random.Random, n: int, paper: FetchedPaper, other: FetchedPaper) -> Pair:
    lead = rng.choice(("Erratum: {}", "Reply to: {}", "Comment on “{}”", "Correction to {}"))
    told = {"title": lead.format(paper.title),
            "abstract": rng.choice(("", paper.abstract, other.abstract))}  # fmt: skip
    return Pair("about a paper", paper, elsewhere(rng, n, paper, **told), False, paper.source_id)


def _same_title(
    rng: random.Random, n: int, paper: FetchedPaper, other: FetchedPaper
) -> Pair | None:
    if {a.split()[-1] for a in paper.authors} & {a.split()[-1] for a in other.authors}:
        return None
    told = {"authors": names(rng, other.authors), "abstract": rng.choice(("", other.abstract))}
    return Pair(
        "same title by others", paper, elsewhere(rng, n, paper, **told), False, other.source_id
    )


class _Neighbours:
    """Finds real papers similar to a paper."""

    def __init__(self, papers: Sequence[FetchedPaper]) -> None:
        self._papers = papers
        self._by_word: dict[str, list[int]] = {}
        self._by_author: dict[str, list[int]] = {}
        for i, paper in enumerate(papers):
            for word in set(re.findall(r"\w{6,}", paper.title.lower())):
                self._by_word.setdefault(word, []).append(i)
            for author in paper.authors:
                self._by_author.setdefault(author, []).append(i)

    def _nearest(self, paper: FetchedPaper, rows: Sequence[int]) -> FetchedPaper | None:
        title = RecordTraits(paper).letters
        others = (self._papers[row] for row in rows)
        return max(
            (each for each in others if each.source_id != paper.source_id),
            key=lambda each: alike(title, RecordTraits(each).letters),
            default=None,
        )

    def title_of_others(
        self, rng: random.Random, n: int, paper: FetchedPaper, _: FetchedPaper
    ) -> Pair | None:
        """Return the paper with the most similar title and no common author."""
        words = sorted(
            set(re.findall(r"\w{6,}", paper.title.lower())), key=lambda w: len(self._by_word[w])
        )
        rows = [
            row
            for row in self._by_word.get(words[0], ())[:400]
            if not set(self._papers[row].authors) & set(paper.authors)
        ] if words else []  # fmt: skip
        found = self._nearest(paper, rows)
        if found is None:
            return None
        return Pair(
            "nearest title by others", paper, elsewhere(rng, n, found), False, found.source_id
        )

    def of_the_group(
        self, rng: random.Random, n: int, paper: FetchedPaper, _: FetchedPaper
    ) -> Pair | None:
        """Return the paper of the same authors with the most similar title, without duplicates."""
        shared = Counter(row for author in paper.authors for row in self._by_author[author])
        rows = [row for row, k in shared.items() if k >= 0.6 * len(paper.authors)]
        found = self._nearest(paper, rows)
        if found is None or found.title.casefold() == paper.title.casefold():
            return None
        if alike(_letters(found.abstract), _letters(paper.abstract)) > 0.9:
            return None
        second = elsewhere(rng, n, found, authors=names(rng, found.authors))
        return Pair("other paper of the same authors", paper, second, False, found.source_id)


def _letters(text: str) -> Counter[str]:
    return Counter(text[i : i + 5] for i in range(len(text)))
