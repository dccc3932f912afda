"""Reads the XML that EndNote exports, as records with the tags of RIS.

There is no specification; the elements are those of EndNote 20's own export, where `style` elements
may stand around every text.
"""

from __future__ import annotations

import re
from typing import Final

from triage.errors import ConfigError, SourceError
from triage.sources.text.xml import parse_root

_START: Final = re.compile(r"\s*(?:<\?xml[^>]*\?>\s*)?<(?:xml>\s*<)?records\b")
_DECLARATION: Final = re.compile(r"\s*<\?xml[^>]*\?>")
_PATHS: Final = {
    "ID": "rec-number", "TI": "titles/title", "AU": "contributors/authors/author",
    "AB": "abstract", "DO": "electronic-resource-num", "UR": "urls//url", "PY": "dates/year",
    "DA": "dates/pub-dates/date", "JO": "titles/secondary-title", "AN": "accession-num",
    "N1": "notes",
}  # fmt: skip


def looks_like(text: str) -> bool:
    """Return whether a text begins as EndNote's XML does."""
    return _START.match(text) is not None


def read(text: str) -> list[dict[str, list[str]]]:
    """Return the values of each tag for each record.

    Raises:
        ConfigError: it is not well-formed, unsafe or too large.
    """
    # The declaration may name an encoding that the text no longer has.
    body = _DECLARATION.sub("", text, count=1).encode("utf-8", "replace")
    try:
        root = parse_root(body, "EndNote's XML")
    except SourceError as error:
        raise ConfigError(f"{error} Export the library again, or a part of it.") from error
    return [
        {
            tag: [" ".join("".join(each.itertext()).split()) for each in record.iterfind(path)]
            for tag, path in _PATHS.items()
        }
        for record in root.iter("record")
    ]
