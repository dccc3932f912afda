"""The forms in which bioRxiv and medRxiv answer: details of what was posted, and publications.

https://api.biorxiv.org/details/biorxiv/help and pubs/help, November 2026. Numbers may stand in
quotation marks, "NA" means nothing, a day may be written 2026-6-30, and errors have status 200.
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
from triage.sources.text import json as bounded_json
from triage.sources.text.cleaning import clean, normalise, written_day

_VENUE_CHARS: Final = 200
_NOTHING: Final = re.compile(r"\bno\b.*\bfound\b", re.IGNORECASE)


class BadAnswer(SourceError):
    """What came for one day cannot be used; other days may do."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer. `total` is what it says of the whole day; None where it does not."""

    rows: list[Any]
    total: int | None
    digest: str


def parse(body: bytes, name: str) -> Page:
    """Read one answer.

    Raises:
        BadAnswer: it is empty, no JSON, an error, or says nothing of why it has no rows.
    """
    if not body.strip():
        raise BadAnswer(f"{name} sent an empty answer. It is asked again at the next fetch.")
    try:
        content = bounded_json.loads(body, f"{name}'s answer")
    except SourceError as error:
        raise BadAnswer(str(error)) from error
    content = content if isinstance(content, dict) else {}
    messages = content.get("messages")
    message = messages[0] if isinstance(messages, list) and messages else {}
    message = message if isinstance(message, dict) else {}
    status = str(message.get("status", ""))[:200]
    rows = content.get("collection")
    if isinstance(rows, list) and rows:
        return Page(rows, _number(message.get("total")), row_key(content))
    if _NOTHING.search(status) or (status == "ok" and rows == []):
        return Page([], _number(message.get("total")), row_key(content))
    said = f"answered {status!r}" if status else "sent neither papers nor a reason for having none"
    raise BadAnswer(f"{name} {said}. It is asked again at the next fetch.")


def row_key(content: Any) -> str:
    """Return what tells a row, or an answer, from any other."""
    text = json.dumps(content, sort_keys=True)
    return blake2b(text.encode(), digest_size=6).hexdigest()


def posted(row: dict[str, Any], server: str, on: date) -> FetchedPaper:
    dated = _text(row, "date")
    if written_day(dated) != on:
        raise RejectedRecord(f"it is dated {dated[:20]!r} and came for {on}")
    doi, version = parse_doi(_text(row, "doi")), _number(row.get("version"))
    if doi is None:
        raise RejectedRecord("it has no DOI")
    if not version:
        raise RejectedRecord("it has no version, so nothing tells whether it is new")
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


def published(row: dict[str, Any], server: str, on: date) -> FetchedPaper:
    """Return what a journal's publication adds to a preprint. It is no news, so any day will do."""
    doi, journal_doi = (parse_doi(_text(row, key)) for key in ("preprint_doi", "published_doi"))
    if doi is None or journal_doi is None:
        raise RejectedRecord("it lacks the DOI of the preprint or of the publication")
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
    value = row.get(key)
    return value if isinstance(value, str) and value.strip() != "NA" else ""


def _number(value: Any) -> int | None:
    """Return a count, which may stand in quotation marks."""
    text = str(value).strip() if isinstance(value, int | str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def _names(authors: str) -> list[str]:
    """Split "Family, G.; …" into names as people write them."""
    names = []
    for name in authors[:100_000].split(";"):
        family, comma, given = name.partition(",")
        names.append(f"{given} {family}" if comma and "," not in given else name)
    return names
