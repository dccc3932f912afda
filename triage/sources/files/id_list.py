"""Lists of arXiv ids, links to arXiv and DOIs.

A line has one or more, separated by commas or spaces; `#` begins a comment. The list has no titles
and abstracts, so it yields `PaperId`s, which the store matches with its papers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from triage.domain.paper_ids import identify, plainly_typed
from triage.domain.source_records import PaperId, Rejected
from triage.sources.files.reading import FileSource
from triage.sources.text.cleaning import reject

# Some DOIs have a semicolon near their end: `3.0.CO;2-2`.
_SEPARATORS: Final = re.compile(r"(?:[\s,]|;(?!2(?:-[\dA-Z#])?(?:[\s,;]|$)))+")
# Also the stamp of arXiv: `[cs.LG] 3 Jan 2024`.
_REMARK: Final = re.compile(r"(?:^|\s)#.*|\s\[[A-Za-z.-]+\](?:\s\d{1,2}\s[A-Z][a-z]{2}\s\d{4})?")
_SPACED_PREFIX: Final = re.compile(r"\b(arxiv|doi):\s+", re.IGNORECASE)


class IdList(FileSource):
    """The ids in one text file."""

    def _records(self, start: int) -> Iterator[tuple[int, PaperId | Rejected]]:
        count = 0
        for number, line in self._text_lines("one arXiv id, arxiv.org link or DOI a line"):
            for word in split_words(line):
                count += 1
                if count > start:
                    yield count, _record(word, f"line {number}")


def _record(word: str, where: str) -> PaperId | Rejected:
    found = identify(word)
    if found is None:
        return reject("it is no arXiv id, arxiv.org link or DOI", word, where)
    return PaperId(*found, where)


def split_words(line: str) -> list[str]:
    """Return the words of one line that may be ids, without comments."""
    bare = _SPACED_PREFIX.sub(r"\1:", _REMARK.sub("", plainly_typed(line)))
    return [word for word in _SEPARATORS.split(bare) if word]
