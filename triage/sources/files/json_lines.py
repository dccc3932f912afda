"""JSON Lines: one paper a line, plain, gzip or zip; or one JSON list of papers.

Required: `id` (or `doi`), `title`, `abstract`. Optional: `authors`, `categories`, `comment`,
`listed_date`, `doi`, `upvotes`, `tldr`, `version`, `venue`, `citations`; and the fields of the
dumps in `dumps`. Null counts as absent; other keys are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Final, NoReturn

from triage.domain.author_names import split_names
from triage.domain.paper_ids import identify
from triage.domain.source_records import FetchedPaper, Rejected
from triage.errors import RejectedRecord, SourceError
from triage.sources.files.dumps import listing_day, unify
from triage.sources.files.reading import FileSource, decode_line, json_records, looks_like_markup
from triage.sources.text.cleaning import clean, first_doi, normalise, reject, require

_LONGEST_ID: Final = 200
_CATEGORIES: Final = re.compile(r"[^\s,;]+")
_MOST: Final = 2**31 - 1


class JsonLines(FileSource):
    """The papers of one `.jsonl` or `.jsonl.gz` file."""

    def _records(self, start: int) -> Iterator[tuple[int, FetchedPaper | Rejected | None]]:
        for number, line in json_records(self._path):
            if number <= start:
                continue
            if not line.strip():
                yield number, None
                continue
            if looks_like_markup(line):
                raise SourceError(
                    f"{self._path.name} has a web page at line {number}, not JSON: the download "
                    "probably ended with an error page. Get the file again."
                )
            try:
                yield number, self._paper(line)
            except RejectedRecord as error:
                yield number, reject(str(error), decode_line(line[:10_000]), f"line {number}")

    def _paper(self, line: bytes) -> FetchedPaper:
        fields = unify(_fields(line))
        source, source_id, version = _identity(fields)
        doi = first_doi(_text(fields, "doi"))
        listed_on = _day(fields, "listed_date")
        return normalise(
            FetchedPaper(
                source=source,
                source_id=source_id,
                version=_number(fields, "version") or version,
                title=_text(fields, "title"),
                abstract=_text(fields, "abstract"),
                authors=tuple(_texts(fields, "authors", split_names)),
                categories=tuple(_texts(fields, "categories", _CATEGORIES.findall)),
                listed_on=listed_on
                or listing_day(fields, source, source_id, doi, self._imported_on),
                comment=_text(fields, "comment"),
                doi=doi,
                upvotes=_number(fields, "upvotes"),
                tldr=_text(fields, "tldr"),
                venue=_text(fields, "venue"),
                citations=_number(fields, "citations"),
            )
        )


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _fields(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise RejectedRecord("it is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise RejectedRecord(f"it is not JSON: {str(error)[:100]}") from error
    if not isinstance(fields, dict):
        raise RejectedRecord("it is JSON, but not an object with a title and an abstract")
    return fields


def _identity(fields: dict[str, Any]) -> tuple[str, str, int | None]:
    if isinstance(fields.get("id"), int | float):
        # As numbers, 2401.10000 and 2401.1 are equal.
        raise RejectedRecord("its id is a number; write it in quotation marks")
    written = _text(fields, "id") or _text(fields, "doi")
    text = require(clean(written, _LONGEST_ID), "it has no id")
    return identify(text) or ("import", text, None)


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RejectedRecord(f"its {key} is not text")
    return value


def _texts(fields: dict[str, Any], key: str, split: Callable[[str], list[str]]) -> list[str]:
    value = fields.get(key)
    if value is None:
        return []
    if isinstance(value, str):
        return split(value[:100_000])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise RejectedRecord(f"its {key} are not a list of texts")
    return value


def _number(fields: dict[str, Any], key: str) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise RejectedRecord(f"its {key} is not a whole number from 0 up")
    return value


def _day(fields: dict[str, Any], key: str) -> date | None:
    value = _text(fields, key)
    if not value:
        return None
    try:
        return date.fromisoformat(value[:10])
    except ValueError as error:
        raise RejectedRecord(f"its {key} is not a date like 2026-03-02") from error
