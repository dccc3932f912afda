"""Crossref: the venue and citations of a paper, and other DOIs of the same work.

Publishers register there which preprint became which article. arXiv's DOIs are DataCite's, so arXiv
papers are found only by the DOI of a journal. A user agent with a mail address gets into the
"polite pool". https://api.crossref.org/swagger-ui and https://www.crossref.org/documentation/
retrieve-metadata/rest-api/rest-api-filters/, October 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from triage.domain.chunks import chunks
from triage.domain.paper_ids import identify, parse_doi
from triage.domain.source_records import Enrichment, KnownPaper
from triage.errors import SourceError
from triage.sources.enrichers.publication import first_venue, other_ids, parse_count
from triage.sources.http.client import PoliteClient
from triage.sources.text.json import loads

# Addresses of a few thousand characters are accepted everywhere.
MOST_DOIS: Final = 40
_SELECT: Final = "DOI,type,container-title,is-referenced-by-count,relation"
_SAME_WORK: Final = ("is-preprint-of", "has-preprint")
_SCHEMES: Final = frozenset({"doi", "biorxiv", "medrxiv"})
_WHAT: Final = "Crossref's answer"


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
            yield from self._several(some, paper_of)

    def _several(self, dois: Sequence[str], paper_of: Mapping[str, int]) -> Iterator[Enrichment]:
        query = ",".join(f"doi:{doi}" for doi in dois)
        params = {"filter": query, "rows": str(len(dois)), "select": _SELECT}
        content = loads(self.client.get(self._url, params).body, _WHAT)
        message = content.get("message") if isinstance(content, dict) else None
        items = message.get("items") if isinstance(message, dict) else None
        if not isinstance(items, list):
            raise SourceError(f"{_WHAT} is no list of works. Check `url` in the config.")
        for item in items:
            doi = item.get("DOI") if isinstance(item, dict) else None
            paper_id = paper_of.get(parse_doi(doi) or "") if isinstance(doi, str) else None
            if paper_id is not None:
                yield _enrichment(paper_id, item)


def _dois(paper: KnownPaper) -> list[str]:
    """Return the DOIs of a paper, without those with a comma, which a filter cannot contain."""
    values = [value for scheme, value in paper.ids if scheme in _SCHEMES and "," not in value]
    found = [id[1] for value in values if (id := identify(value)) and id[0] == "doi"]
    return list(dict.fromkeys(found))


def _enrichment(paper_id: int, item: dict[str, Any]) -> Enrichment:
    titles, relation = item.get("container-title"), item.get("relation")
    is_preprint = item.get("type") == "posted-content"
    named = titles[:1] if isinstance(titles, list) and not is_preprint else []
    related = relation if isinstance(relation, dict) else {}
    others = [
        each.get("id")
        for kind in _SAME_WORK
        for each in (related[kind] if isinstance(related.get(kind), list) else [])
        if isinstance(each, dict) and each.get("id-type") == "doi"
    ]
    return Enrichment(
        paper_id,
        venue=first_venue(*named),
        citations=parse_count(item.get("is-referenced-by-count")),
        ids=other_ids(others),
    )
