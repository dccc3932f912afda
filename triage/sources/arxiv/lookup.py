"""Papers by id or title, from arXiv's API.

https://info.arxiv.org/help/api/user-manual.html, November 2026: `id_list` and `search_query`, whose
terms may be joined by OR.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from triage.domain.author_names import share_an_author
from triage.domain.paper_ids import title_key
from triage.domain.source_records import FetchedPaper, NamedPaper
from triage.sources.arxiv.parsing import parse_entries
from triage.sources.http.client import PoliteClient

# More results than titles, because other papers may have the same words in their titles.
MOST_RESULTS: Final = 100
_BREAK: Final = re.compile(r"[^A-Za-z0-9\s.,:;!?()'\"/-]+")
_MOST_WORDS: Final = 20


class _ArxivLookup:
    name = "arXiv"

    def __init__(self, client: PoliteClient, url: str) -> None:
        self._client = client
        self._url = url

    def _request(self, query: dict[str, str], deadline: datetime) -> dict[str, FetchedPaper]:
        """Return the papers of an answer by id; unusable ones are left out."""
        self._client.deadline = deadline
        papers = parse_entries(self._client.get(self._url, query).body)
        return {id: replace(paper, named=True) for id, paper in papers.items() if paper is not None}


class ArxivIdLookup(_ArxivLookup):
    """Papers by their arXiv ids."""

    schemes = ("arxiv",)
    at_once = 200

    def find(self, names: Sequence[NamedPaper], deadline: datetime) -> list[FetchedPaper]:
        ids = [each.value for each in names]
        found = self._request({"id_list": ",".join(ids), "max_results": str(len(ids))}, deadline)
        return [found[id] for id in ids if id in found]


class ArxivTitleLookup(_ArxivLookup):
    """Papers by title; a paper counts only if title and an author are the same."""

    schemes = ("title",)
    at_once = 10

    def find(self, names: Sequence[NamedPaper], deadline: datetime) -> list[FetchedPaper]:
        phrases = [phrase for each in names if (phrase := _longest_phrase(each.title))]
        if not phrases:
            return []
        terms = " OR ".join(f'ti:"{phrase}"' for phrase in phrases)
        query = {"search_query": terms, "max_results": str(MOST_RESULTS)}
        wanted = {each.value: each for each in names}
        return [
            paper
            for paper in self._request(query, deadline).values()
            if (named := wanted.get(title_key(paper.title)))
            and share_an_author(named.authors, paper.authors)
        ]


def _longest_phrase(title: str) -> str:
    """Return the longest run of plain words, as signs and formulas are written in many ways."""
    runs = [re.findall(r"[A-Za-z0-9]+", run) for run in _BREAK.split(title)]
    return " ".join(max(runs, key=len)[:_MOST_WORDS])
