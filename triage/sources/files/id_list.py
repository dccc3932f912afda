"""Lists of papers by id alone: arXiv ids, links to arXiv and DOIs.

One or more a line, with commas or blanks between them; `#` begins a remark. A list has no titles
and abstracts, so it gives `PaperId`s, which the store can match with what it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from triage.domain.paper_ids import identify
from triage.domain.source_records import PaperId, Rejected
from triage.errors import SourceError
from triage.sources.files.reading import FileSource, decoded, looks_like_markup, numbered_lines
from triage.sources.text.cleaning import reject

_SEPARATORS: Final = re.compile(r"[\s,;]+")
_REMARK: Final = re.compile(r"(?:^|\s)#.*")
_SPACED_PREFIX: Final = re.compile(r"\b(arxiv|doi):\s+", re.IGNORECASE)


class ArxivIds(FileSource):
    """The ids in one text file."""

    def _records(self, start: int) -> Iterator[tuple[int, PaperId | Rejected]]:
        count = 0
        for number, line in numbered_lines(self._path):
            if looks_like_markup(line) or b"\0" in line:
                raise SourceError(
                    f"{self._path.name} is no list of ids: line {number} is markup or binary. "
                    "Expected one arXiv id, arxiv.org link or DOI a line."
                )
            for word in words(decoded(line)):
                count += 1
                if count > start:
                    yield count, _record(word, f"line {number}")


def _record(word: str, where: str) -> PaperId | Rejected:
    found = identify(word)
    if found is None:
        return reject("it is no arXiv id, arxiv.org link or DOI", word, where)
    return PaperId(*found, where)


def words(line: str) -> list[str]:
    """Return what may be ids in one line, remarks taken away."""
    bare = _SPACED_PREFIX.sub(r"\1:", _REMARK.sub("", line))
    return [word for word in _SEPARATORS.split(bare) if word]
