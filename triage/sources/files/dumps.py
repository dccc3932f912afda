"""The fields of well-known dumps, under the names that `json_lines` reads.

| dump | its fields |
|---|---|
| Kaggle's arXiv snapshot | `comments`, `journal-ref`, `versions`, `authors_parsed` |
| paperscraper | `date`, `journal`, and an id only as `doi` |
| Semantic Scholar | `paperId`, `externalIds`, `publicationDate`, `year`, `tldr`, `citationCount` |
| OpenAlex | `publication_date`, `authorships`, `abstract_inverted_index`, `cited_by_count` |

https://www.kaggle.com/datasets/Cornell-University/arxiv, https://github.com/jannisborn/paperscraper,
https://api.semanticscholar.org/api-docs/datasets, https://docs.openalex.org/api-entities/works,
November 2026.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date
from typing import Any, Final

from triage.sources.enrichers.publication import first_venue, parse_count
from triage.sources.text.cleaning import parse_day, parse_mail_date
from triage.sources.text.json import dig

_MARKS: Final = frozenset(
    "comments journal-ref versions authors_parsed journal paperId externalIds externalids summary"
    " citationCount citationcount display_name authorships abstract_inverted_index cited_by_count"
    " primary_location".split()
)
_MOST_WORDS: Final = 10_000
_DATES: Final = ("date", "publicationDate", "publication_date", "published")
_VERSION: Final = re.compile(r"v?([1-9]\d{0,2})", re.ASCII)
_MONTH: Final = re.compile(r"(?:[a-z-]+/)?(\d\d)(0[1-9]|1[0-2])", re.ASCII)
# bioRxiv and medRxiv write the day of submission into their DOIs.
_DAY_IN_DOI: Final = re.compile(r"10\.(?:1101|64898)/(\d{4})\.(\d\d)\.(\d\d)\.\d+", re.ASCII)
_FIRST_YEAR_OF_ARXIV: Final = 91


def unify(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a record with the names of `json_lines`; unknown forms are unchanged."""
    if _MARKS.isdisjoint(fields):
        return fields
    found = dict(fields)
    ids = dig(fields, dict, "externalIds") or dig(fields, dict, "externalids")
    get, abstract = fields.get, _in_order(fields.get("abstract_inverted_index"))
    # The first of these that is not empty counts.
    candidates: dict[str, tuple[Any, ...]] = {
        "id": (get("id"), ids.get("ArXiv"), ids.get("DOI"), get("doi"), get("paperId")),
        "doi": (get("doi"), ids.get("DOI")),
        "title": (get("title"), get("display_name")),
        "abstract": (get("abstract"), get("summary"), abstract),
        "comment": (get("comment"), get("comments")),
        "version": (get("version"), _last_version(get("versions"))),
    }
    found |= {name: next(filter(None, some), found.get(name)) for name, some in candidates.items()}
    found["authors"] = _authors(fields)
    found["tldr"] = dig(fields, dict, "tldr").get("text", get("tldr"))
    place = dig(fields, str, "primary_location", "source", "display_name")
    found["venue"] = first_venue(get("journal-ref"), get("journal"), get("venue"), place)
    counts = map(parse_count, map(get, ("citationCount", "citationcount", "cited_by_count")))
    found["citations"] = next((n for n in counts if n is not None), None)
    return found


def listing_day(
    fields: dict[str, Any], source: str, source_id: str, doi: str | None, imported_on: date
) -> date:
    """Return the day from which on a record without `listed_date` counts as listed.

    It is the first of these: the day of the first version; another date; the day in a DOI of
    bioRxiv; the last day of the month in an arXiv id, or of the year; the day of the import. It is
    never after the import. The last day, because a source that knows the exact one may come later,
    and the earliest of all days counts.
    """
    created, year = dig(fields, str, "versions", 0, "created"), fields.get("year")
    texts = (created, *(dig(fields, str, name) for name in _DATES))
    days = (
        *map(_last_day, filter(None, texts)),
        *map(_day_in_doi, (source_id, doi or "")),
        _month_of_arxiv(source_id) if source == "arxiv" else None,
        _last_day(str(year)) if isinstance(year, str | int) else None,
    )
    return min(next(filter(None, days), imported_on), imported_on)


def _last_day(text: str) -> date | None:
    exact = parse_day(text) or parse_mail_date(text)
    if exact is not None:
        return exact
    from triage.sources.text.dates import parse_dates

    found = parse_dates(text)
    return None if found is None else found.last


def _day_in_doi(text: str) -> date | None:
    found = _DAY_IN_DOI.match(text)
    return parse_day("-".join(found.groups())) if found else None


def _month_of_arxiv(id: str) -> date | None:
    """Return the last day of the month of an arXiv id, such as `0704.0001` or `hep-th/9901001`."""
    found = _MONTH.match(id)
    if found is None:
        return None
    short, month = int(found[1]), int(found[2])
    year = (1900 if short >= _FIRST_YEAR_OF_ARXIV else 2000) + short
    return date(year, month, monthrange(year, month)[1])


def _authors(fields: dict[str, Any]) -> Any:
    """Return the names of the authors, or what the record has instead."""
    if parsed := dig(fields, list, "authors_parsed"):
        return [name for each in parsed if (name := _joined(each))]
    several = dig(fields, list, "authorships") or fields.get("authors")
    return [_name(each) for each in several] if isinstance(several, list) else several


def _joined(parts: Any) -> str:
    """Return a name from Kaggle's list: last name, first names, suffix, affiliations."""
    if not (isinstance(parts, list) and all(isinstance(part, str) for part in parts)):
        return ""
    last, first, suffix = (*parts, "", "", "")[:3]
    return " ".join(part for part in (first, last, suffix) if part)


def _name(author: Any) -> Any:
    """Return the name in an author's object, or what else stands there."""
    return dig(author, str, "author", "display_name") or dig(author, dict).get("name") or author


def _in_order(index: Any) -> str | None:
    """Return the text of an inverted index: each word with its places."""
    if not isinstance(index, dict):
        return None
    placed = [
        (place, word) for word in index for place in dig(index, list, word) if type(place) is int
    ]
    return " ".join(word for _, word in sorted(placed)[:_MOST_WORDS])


def _last_version(versions: Any) -> int | None:
    found = _VERSION.fullmatch(str(dig(versions, dict, -1).get("version")))
    return int(found[1]) if found else None
