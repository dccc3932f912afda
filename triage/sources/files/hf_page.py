"""Hugging Face Daily Papers pages saved as plain text: a header, then titles and abstracts.

The header is recognised by its phrases, even if the last one is joined to the first title
(“SubscribeDASpeech: …”), as happens when a browser joins two blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from triage.domain.source_records import FetchedPaper, Rejected
from triage.errors import RejectedRecord, SourceError
from triage.sources.files.reading import FileSource
from triage.sources.text.cleaning import normalise, reject

_HEADER_LINES: Final = 40
_PHRASE: Final = re.compile(
    r"(?P<proof>get trending papers in your email inbox(?: once a day)?!|daily papers"
    r"|by ?ak and the research community)"
    r"|subscribe|new|trending|hot|upvote"
    r"|(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\.? \d{1,2}(?:, \d{4})?",
    re.IGNORECASE,
)
# Of the pages seen, the longest title has 176 characters and the shortest abstract 514.
_LONG: Final = 250
_SHORTEST_ABSTRACT: Final = 40


class ListingPage(FileSource):
    """The papers of one saved page; they have no ids, so their titles identify them."""

    def _records(self, start: int) -> Iterator[tuple[int, FetchedPaper | Rejected]]:
        expected = "a listing page that the browser saved as plain text (“save as text”)"
        lines = [(number, line) for number, line in self._text_lines(expected) if line]
        if not lines:
            return
        for first, last, title, abstract in _pairs(skip_header(lines, self._path.name)):
            if last > start:
                yield last, self._record(f"line {first}", title, abstract)

    def _record(self, where: str, title: str, abstract: str) -> FetchedPaper | Rejected:
        raw = f"{title}\n{abstract}".strip()
        if not title:
            return reject("it is text without a title", raw, where)
        if len(abstract) < _SHORTEST_ABSTRACT:
            return reject("it has no abstract", raw, where)
        try:
            return normalise(
                FetchedPaper(
                    source="listing",
                    source_id=None,
                    title=title,
                    abstract=abstract,
                    listed_on=self._imported_on,
                )
            )
        except RejectedRecord as error:
            return reject(str(error), raw, where)


def skip_header(lines: list[tuple[int, str]], name: str) -> list[tuple[int, str]]:
    """Return the numbered lines after the page's header.

    Raises:
        SourceError: the first lines have no phrase of the header, so this is no listing page.
    """
    end, glued, proven = 0, "", False
    for at, (_, line) in enumerate(lines[:_HEADER_LINES]):
        if len(line) > _LONG:  # the first abstract
            break
        phrase = _PHRASE.match(line)
        if phrase is None:
            continue
        rest = line[phrase.end() :]
        if rest and not _is_glued(phrase[0], rest, directly=at == end):
            continue
        end, glued = at + 1, rest
        proven = proven or phrase["proof"] is not None
    if not proven:
        raise SourceError(
            f"{name} is no listing page: “Daily Papers” and the other phrases of its header are "
            "missing. Expected a Hugging Face Daily Papers page saved as plain text."
        )
    first = [(lines[end - 1][0], glued)] if glued else []
    return first + lines[end:]


def _is_glued(phrase: str, rest: str, *, directly: bool) -> bool:
    """Tell whether a title is joined to a phrase (“SubscribeDASpeech”), unlike “Newton”."""
    return directly and not rest[0].isspace() and (phrase[-1] == "!" or not rest[0].islower())


def _pairs(lines: list[tuple[int, str]]) -> Iterator[tuple[int, int, str, str]]:
    """Yield `(first line, last line, title, abstract)`; either text may be missing.

    Titles and abstracts alternate. If one is missing, the lengths show which.
    """
    at = 0
    while at < len(lines):
        number, text = lines[at]
        after = [len(line) for _, line in lines[at + 1 : at + 3]]
        if len(text) > 2 * _LONG:
            yield number, number, "", text
            at += 1
        elif not after or (len(after) == 2 and after[0] < _LONG and after[1] > 2 * _LONG):
            yield number, number, text, ""
            at += 1
        else:
            last, abstract = lines[at + 1]
            yield number, last, text, abstract
            at += 2
