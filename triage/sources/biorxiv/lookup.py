"""Papers by DOI, from the API of bioRxiv and medRxiv: `/details/SERVER/DOI/na/json`.

https://api.biorxiv.org/details/biorxiv/help, November 2026: an answer has all versions of a paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

from triage.domain.source_records import FetchedPaper, NamedPaper
from triage.errors import RejectedRecord
from triage.sources.biorxiv.parsing import parse_page, parse_posting
from triage.sources.http.client import PoliteClient
from triage.sources.text.cleaning import parse_day

SERVERS = ("biorxiv", "medrxiv")


class BiorxivLookup:
    """Papers of bioRxiv and medRxiv by their DOIs, one at a time."""

    name = "bioRxiv"
    schemes = ("biorxiv",)
    at_once = 1

    def __init__(self, client: PoliteClient, url: str) -> None:
        self._client = client
        self._url = url.rstrip("/")

    def find(self, names: Sequence[NamedPaper], deadline: datetime) -> list[FetchedPaper]:
        self._client.deadline = deadline
        doi = quote(names[0].value, safe="/")
        for server in SERVERS:
            answer = self._client.get(f"{self._url}/details/{server}/{doi}/na/json")
            if versions := _versions(answer.body, server):
                first, newest = versions[0], versions[-1]
                listed_on = first.listed_on
                return [replace(newest, listed_on=listed_on, update_only=False, named=True)]
        return []


def _versions(body: bytes, server: str) -> list[FetchedPaper]:
    """Return the usable versions of a paper, the first one first."""
    found = []
    for row in parse_page(body, server).rows:
        day = parse_day(str(row.get("date", ""))) if isinstance(row, dict) else None
        try:
            if day is not None:
                found.append(parse_posting(row, server, day))
        except RejectedRecord:
            continue
    return sorted(found, key=lambda paper: paper.version or 0)
