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
from triage.sources.text.json import dig

SERVERS = ("biorxiv", "medrxiv")


class BiorxivLookup:
    """Papers of bioRxiv and medRxiv by their DOIs, one at a time.

    A DOI does not tell which server has the paper, so there are up to two requests.
    """

    name = "bioRxiv"
    schemes = ("biorxiv",)
    at_once = 1

    def __init__(self, client: PoliteClient, url: str) -> None:
        self._client = client
        self._url = url.rstrip("/")

    def find(self, names: Sequence[NamedPaper], deadline: datetime) -> list[FetchedPaper]:
        self._client.deadline = deadline
        [doi] = [each.value for each in names]
        for server in SERVERS:
            url = f"{self._url}/details/{server}/{quote(doi, safe='/')}/na/json"
            versions = _versions(self._client.get(url).body, server)
            if own := [each for each in versions if each.source_id == doi]:
                first, newest = own[0], own[-1]
                return [replace(newest, listed_on=first.listed_on, update_only=False, named=True)]
        return []


def _versions(body: bytes, server: str) -> list[FetchedPaper]:
    """Return the usable versions of papers, the first ones first."""
    found = []
    for row in parse_page(body, server).rows:
        day = parse_day(dig(row, str, "date"))
        try:
            if day is not None:
                found.append(parse_posting(row, server, day))
        except RejectedRecord:
            continue
    return sorted(found, key=lambda paper: paper.version or 0)
