"""JSON from strangers: bounded before it is parsed, for in memory it is far larger."""

from __future__ import annotations

import json
from typing import Any, Final

from triage.errors import SourceError
from triage.sources.text.xml import looks_like_html

MOST_BYTES: Final = 5 * 1024 * 1024
MOST_VALUES: Final = 400_000
_MARKS: Final = (b"[", b"{", b",", b":")


def loads(body: bytes, what: str) -> Any:
    """Parse a document. `what` names it in errors.

    An empty list takes three bytes here and sixty in memory, so the marks that part values are
    counted first, those in texts included.

    Raises:
        SourceError: it is a web page, no JSON, nested too deep, or holds more than such an answer
            can.
    """
    if looks_like_html(body):
        raise SourceError(f"{what} is a web page where JSON was expected: the server has trouble.")
    if len(body) > MOST_BYTES or sum(map(body.count, _MARKS)) > MOST_VALUES:
        raise SourceError(f"{what} holds more than such an answer can, so it was not read.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{what} is no JSON ({str(error)[:100]}), so it was not read.") from error
