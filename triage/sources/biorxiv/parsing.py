"""Parsers of bioRxiv's and medRxiv's answers: posted preprints, and publications.

https://api.biorxiv.org/details/biorxiv/help and pubs/help, November 2026. Numbers may be strings,
"NA" means nothing, a date may be 2026-6-30, and errors have status 200.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import date
from hashlib import blake2b
from typing import Any, Final

from triage.domain.paper_ids import parse_doi
from triage.domain.source_records import FetchedPaper
from triage.errors import RejectedRecord, SourceError
from triage.sources.text.cleaning import clean, normalise, parse_day, require
from triage.sources.text.json import dig, loads

_VENUE_CHARS: Final = 200
_NOTHING: Final = re.compile(r"\bno\b.*\bfound\b", re.IGNORECASE)


class BadAnswer(SourceError):
    """The answer for one day is unusable; other days may be usable."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer. `total` is its count of the whole day's rows; None if it has none."""

    rows: list[Any]
    total: int | None
    digest: str


def parse_page(body: bytes, name: str) -> Page:
    """Parse one answer.

    Raises:
        BadAnswer: it is empty, no JSON, an error, or has no rows and no reason for that.
    """
    if not body.strip():
        raise BadAnswer(f"{name} sent an empty answer. The next fetch tries again.")
    try:
        content = loads(body, f"{name}'s answer")
    except SourceError as error:
        raise BadAnswer(str(error)) from error
    message = dig(content, dict, "messages", 0)
    status = str(message.get("status", ""))[:200]
    rows = dig(content, list, "collection")
    is_empty = status == "ok" and dig(content, dict).get("collection") == []
    if rows or is_empty or _NOTHING.search(status):
        return Page(rows, _number(message.get("total")), row_key(content))
    answer = (
        f"answered {status!r}" if status else "sent neither papers nor a reason for having none"
    )
    raise BadAnswer(f"{name} {answer}. The next fetch tries again.")


def row_key(content: Any) -> str:
    """Return a hash of a row or of an answer."""
    return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=6).hexdigest()


def parse_posting(row: dict[str, Any], server: str, on: date) -> FetchedPaper:
    dated = _text(row, "date")
    if parse_day(dated) != on:
        raise RejectedRecord(f"it is dated {dated[:20]!r} and came for {on}")
    doi = require(parse_doi(_text(row, "doi")), "it has no DOI")
    version = require(_number(row.get("version")), "it has no version, so it may not be new")
    paper = normalise(
        FetchedPaper(
            source=server,
            source_id=doi,
            version=version,
            title=_text(row, "title"),
            abstract=_text(row, "abstract"),
            authors=tuple(_names(_text(row, "authors"))),
            categories=(_text(row, "category"),),
            listed_on=on,
            doi=parse_doi(_text(row, "published")),
            update_only=version > 1,
        )
    )
    return replace(paper, withdrawn="withdraw" in _text(row, "type").lower())


def parse_publication(row: dict[str, Any], server: str, on: date) -> FetchedPaper:
    """Return the update of a preprint that a journal has published; `on` is not its own day."""
    why = "it lacks the DOI of the preprint or of the publication"
    doi = require(parse_doi(_text(row, "preprint_doi")), why)
    journal_doi = require(parse_doi(_text(row, "published_doi")), why)
    return normalise(
        FetchedPaper(
            source=server,
            source_id=doi,
            title=_text(row, "preprint_title"),
            abstract=_text(row, "preprint_abstract"),
            authors=tuple(_names(_text(row, "preprint_authors"))),
            categories=(_text(row, "preprint_category"),),
            listed_on=on,
            doi=journal_doi,
            venue=clean(_text(row, "published_journal"), _VENUE_CHARS),
            update_only=True,
        )
    )


def _text(row: dict[str, Any], key: str) -> str:
    value = dig(row, str, key)
    return "" if value.strip() == "NA" else value


def _number(value: Any) -> int | None:
    """Return a count, which may be a string."""
    text = str(value).strip() if isinstance(value, int | str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def _names(authors: str) -> list[str]:
    """Split "Family, G.; …" into names such as "G. Family"."""
    names = []
    for name in authors[:100_000].split(";"):
        family, comma, given = name.partition(",")
        names.append(f"{given} {family}" if comma and "," not in given else name)
    return names
