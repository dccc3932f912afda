"""Parses untrusted JSON of limited size, and takes values of the expected types out of it."""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

from triage.errors import SourceError
from triage.sources.text.xml import looks_like_html

T = TypeVar("T")

MOST_BYTES: Final = 5 * 1024 * 1024
MOST_VALUES: Final = 400_000
_MARKS: Final = (b"[", b"{", b",", b":")


def loads(body: bytes, what: str) -> Any:
    """Parse a document. `what` names it in errors.

    An empty list takes three bytes in JSON and sixty in memory, so the separators are counted
    first, those in strings included.

    Raises:
        SourceError: it is a web page, no JSON, nested too deeply, or too large.
    """
    if looks_like_html(body):
        raise SourceError(f"{what} is a web page where JSON was expected. Try again later.")
    if len(body) > MOST_BYTES or sum(map(body.count, _MARKS)) > MOST_VALUES:
        raise SourceError(f"{what} is too large, so it was not read.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{what} is no JSON ({str(error)[:100]}), so it was not read.") from error


def dig(value: Any, kind: type[T], *path: str | int) -> T:
    """Return what lies at a path of keys and places; an empty `kind` if that is no `kind`."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return kind()
    return value if isinstance(value, kind) else kind()
