"""Reads the CSV of Zotero and of programs with similar columns, as records with the tags of RIS."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Final

from triage.errors import ConfigError

# Names of columns by their letters in lower case.
_TAGS: Final = {
    "key": "ID", "itemtype": "TY", "title": "TI", "author": "AU", "authors": "AU",
    "abstract": "AB", "abstractnote": "AB", "doi": "DO", "url": "UR", "link": "UR", "id": "UR",
    "arxivid": "UR", "year": "PY", "publicationyear": "PY", "date": "DA", "listedon": "DA",
    "extra": "N1",
}  # fmt: skip
_FEWEST_COLUMNS: Final = 3
_LONGEST_HEADER: Final = 10_000


def looks_like(text: str) -> bool:
    """Return whether the first line names a title and at least two other known columns."""
    tags = set(_read_header(text)[1]) - {""}
    return "TI" in tags and len(tags) >= _FEWEST_COLUMNS


def read(text: str) -> Iterator[dict[str, list[str]]]:
    """Yield the values of each tag for each row.

    Raises:
        ConfigError: a cell has more than 128 KiB.
    """
    delimiter, tags = _read_header(text)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        next(rows, None)
        for row in rows:
            fields: dict[str, list[str]] = {}
            for tag, cell in zip(tags, row, strict=False):
                cells = cell.split(";") if tag == "AU" else [cell]
                fields.setdefault(tag, []).extend(" ".join(each.split()) for each in cells)
            yield fields
    except csv.Error as error:
        raise ConfigError(f"line {rows.line_num} of this CSV cannot be read: {error}") from error


def _read_header(text: str) -> tuple[str, list[str]]:
    """Return the character between cells, and the tag of each column, empty if unknown."""
    line = re.split(r"[\r\n]", text[:_LONGEST_HEADER], maxsplit=1)[0]
    delimiter = max(",;\t", key=line.count)
    names = next(csv.reader([line], delimiter=delimiter), [])
    return delimiter, [_TAGS.get("".join(filter(str.isalpha, name)).lower(), "") for name in names]
