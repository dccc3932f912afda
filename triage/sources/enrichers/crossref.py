"""Crossref: papers by DOI, the venue and citations of a paper, other DOIs of the same work.

Publishers register there which preprint became which article. arXiv's DOIs are DataCite's, so arXiv
papers are found only by the DOI of a journal. A user agent with a mail address gets into the
"polite pool". https://api.crossref.org/swagger-ui and https://www.crossref.org/documentation/
retrieve-metadata/rest-api/rest-api-filters/, October 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final

from triage.domain.chunks import chunks
from triage.domain.paper_ids import identify, parse_doi
from triage.domain.source_records import Enrichment, FetchedPaper, KnownPaper, NamedPaper
from triage.errors import RejectedRecord, SourceError
from triage.sources.enrichers.publication import first_venue, other_ids, parse_count
from triage.sources.http.client import PoliteClient
from triage.sources.text.cleaning import normalise, require
from triage.sources.text.json import dig, loads

# Addresses of a few thousand characters are accepted everywhere.
MOST_DOIS: Final = 40
_SELECT: Final = "DOI,type,container-title,is-referenced-by-count,relation"
_SELECT_PAPER: Final = "DOI,title,abstract,author,issued,created,container-title"
_SAME_WORK: Final = ("is-preprint-of", "has-preprint")
_SCHEMES: Final = frozenset({"doi", "biorxiv", "medrxiv"})
_WHAT: Final = "Crossref's answer"
_HEADING: Final = re.compile(
    r"\s*<(?:jats:)?title>\s*(?:abstract|summary)\s*[:.]?\s*</(?:jats:)?title>", re.IGNORECASE
)


class Crossref:
    """Requests papers by their DOIs; `/works` is appended to `url`."""

    name = "crossref"

    def __init__(self, client: PoliteClient, url: str) -> None:
        self.client = client
        self._url = f"{url}/works"

    def enrich(self, papers: Sequence[KnownPaper]) -> Iterator[Enrichment]:
        """Yield an enrichment for each known DOI of the papers.

        Raises:
            SourceError: there was no usable answer.
        """
        paper_of = {doi: paper.id for paper in papers for doi in _dois(paper)}
        for some in chunks(list(paper_of), MOST_DOIS):
            for doi, item in _request(self.client, self._url, some, _SELECT).items():
                if doi in paper_of:
                    yield _enrichment(paper_of[doi], item)


class CrossrefLookup:
    """Papers by their DOIs. Only some publishers give Crossref the abstracts.

    DOIs with a comma are not found, because a filter cannot contain them.
    """

    name = "Crossref"
    schemes = ("doi", "biorxiv")
    at_once = MOST_DOIS

    def __init__(self, client: PoliteClient, url: str) -> None:
        self._client = client
        self._url = f"{url}/works"

    def find(self, names: Sequence[NamedPaper], deadline: datetime) -> list[FetchedPaper]:
        self._client.deadline = deadline
        dois = [each.value for each in names if "," not in each.value]
        if not dois:
            return []
        found = []
        for doi, item in _request(self._client, self._url, dois, _SELECT_PAPER).items():
            try:
                if doi in dois:
                    found.append(_paper(doi, item))
            except RejectedRecord:
                continue
        return found


def _request(
    client: PoliteClient, url: str, dois: Sequence[str], fields: str
) -> dict[str, dict[str, Any]]:
    query = ",".join(f"doi:{doi}" for doi in dois)
    params = {"filter": query, "rows": str(len(dois)), "select": fields}
    items = dig(loads(client.get(url, params).body, _WHAT), dict, "message").get("items")
    if not isinstance(items, list):
        raise SourceError(f"{_WHAT} is no list of works. Check `url` in the config.")
    by_doi = {parse_doi(dig(item, str, "DOI")): item for item in items}
    return {doi: item for doi, item in by_doi.items() if doi is not None}


def _paper(doi: str, item: dict[str, Any]) -> FetchedPaper:
    """Return a work as a paper; RejectedRecord if it has no title or no date."""
    # `issued` is the first date of publication, `created` that of the DOI.
    listed_on = require(_date(item, "issued") or _date(item, "created"), "it has no date")
    return normalise(
        FetchedPaper(
            source="doi",
            source_id=doi,
            title=_first_text(item, "title"),
            abstract=_HEADING.sub("", dig(item, str, "abstract"), count=1),
            authors=tuple(filter(None, map(_person, dig(item, list, "author")))),
            listed_on=listed_on,
            venue=first_venue(_first_text(item, "container-title")),
            named=True,
        ),
        needs_abstract=False,
    )


def _date(item: dict[str, Any], key: str) -> date | None:
    """Return a date of a work, which may lack month and day; None if it is unusable."""
    numbers = dig(item, list, key, "date-parts", 0)
    try:
        return date(*[int(each) for each in [*numbers, 1, 1][:3]]) if numbers else None
    except (OverflowError, TypeError, ValueError):
        return None


def _first_text(item: dict[str, Any], key: str) -> str:
    return next((each for each in dig(item, list, key) if isinstance(each, str)), "")


def _person(author: Any) -> str:
    author = dig(author, dict)
    parts = [author.get("given"), author.get("family")]
    return " ".join(str(each) for each in parts if each) or str(author.get("name") or "")


def _dois(paper: KnownPaper) -> list[str]:
    """Return the DOIs of a paper, without those with a comma, which a filter cannot contain."""
    values = [value for scheme, value in paper.ids if scheme in _SCHEMES and "," not in value]
    found = [id[1] for value in values if (id := identify(value)) and id[0] == "doi"]
    return list(dict.fromkeys(found))


def _enrichment(paper_id: int, item: dict[str, Any]) -> Enrichment:
    is_preprint = item.get("type") == "posted-content"
    others = [
        dig(each, str, "id")
        for kind in _SAME_WORK
        for each in dig(item, list, "relation", kind)
        if dig(each, str, "id-type") == "doi"
    ]
    return Enrichment(
        paper_id,
        venue="" if is_preprint else first_venue(*dig(item, list, "container-title")[:1]),
        citations=parse_count(item.get("is-referenced-by-count")),
        ids=other_ids(others),
    )
