"""Semantic Scholar: one-sentence summaries, venues, citations, and the DOI of an arXiv paper.

A request has many papers, and the answers are in the order of the ids, null for an unknown paper.
https://api.semanticscholar.org/api-docs/graph, "Get details for multiple
papers at once", October 2026: at most 500 ids, a key in `x-api-key`, which may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from triage.domain.chunks import chunks
from triage.domain.paper_ids import parse_arxiv
from triage.domain.source_records import Enrichment, KnownPaper
from triage.errors import SourceError
from triage.sources.enrichers.publication import TLDR_CHARS, first_venue, other_ids, parse_count
from triage.sources.http.client import PoliteClient
from triage.sources.text.cleaning import clean
from triage.sources.text.json import dig, loads

MOST_IDS: Final = 500
_FIELDS: Final = "externalIds,tldr,venue,publicationVenue,citationCount"
_WHAT: Final = "Semantic Scholar's answer"
# A request without any known id is refused (400, "No valid paper ids given"), and today's papers
# are not known yet. So each request ends with a known paper.
_WELL_KNOWN: Final = "ARXIV:1706.03762"
_PREFIXES: Final = {"arxiv": "ARXIV:", "doi": "DOI:", "biorxiv": "DOI:", "medrxiv": "DOI:"}


class SemanticScholar:
    """Requests papers by arXiv id, or else by DOI.

    Args:
        client: shared by all requests to Semantic Scholar.
        url: of its graph; `/paper/batch` is appended.
        key: an API key; without one, most requests are refused.
    """

    name = "semantic_scholar"

    def __init__(self, client: PoliteClient, url: str, key: str | None = None) -> None:
        self.client = client
        self._url = f"{url}/paper/batch"
        self._headers = {"Content-Type": "application/json"} | ({"x-api-key": key} if key else {})

    def enrich(self, papers: Sequence[KnownPaper]) -> Iterator[Enrichment]:
        """Yield an enrichment for each known paper with an arXiv id or a DOI.

        Raises:
            SourceError: there was no usable answer.
        """
        known = [(paper.id, id) for paper in papers if (id := _their_id(paper))]
        for some in chunks(known, MOST_IDS - 1):
            ids = [*(id for _, id in some), _WELL_KNOWN]
            body = json.dumps({"ids": ids}).encode()
            answer = self.client.post(self._url, {"fields": _FIELDS}, body, self._headers)
            records = loads(answer.body, _WHAT)
            if message := dig(records, str, "error"):
                raise SourceError(f"{_WHAT} is an error: {clean(message, 200)}")
            if not isinstance(records, list) or len(records) != len(ids):
                # Only the position shows to which paper a record belongs.
                raise SourceError(f"{_WHAT} does not have one record for each of {len(ids)} ids.")
            for (paper_id, id), record in zip(some, records[:-1], strict=True):
                if isinstance(record, dict) and not _is_another(record, id):
                    yield _enrichment(paper_id, record)


def _their_id(paper: KnownPaper) -> str:
    """Return Semantic Scholar's id of a paper; empty if it has none."""
    by_scheme = dict(reversed(paper.ids))
    schemes = [scheme for scheme in _PREFIXES if scheme in by_scheme]
    return _PREFIXES[schemes[0]] + by_scheme[schemes[0]] if schemes else ""


def _is_another(record: dict[str, Any], asked: str) -> bool:
    """Tell whether a record has another arXiv id than the requested one."""
    found = parse_arxiv(dig(record, str, "externalIds", "ArXiv"))
    return found is not None and asked.startswith("ARXIV:") and asked != f"ARXIV:{found[0]}"


def _enrichment(paper_id: int, record: dict[str, Any]) -> Enrichment:
    return Enrichment(
        paper_id,
        tldr=clean(dig(record, str, "tldr", "text"), TLDR_CHARS),
        venue=first_venue(dig(record, str, "publicationVenue", "name"), record.get("venue")),
        citations=parse_count(record.get("citationCount")),
        ids=other_ids(dig(record, str, "externalIds", scheme) for scheme in ("ArXiv", "DOI")),
    )
