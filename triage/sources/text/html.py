"""Converts the HTML of feeds to text, in one pass."""

from __future__ import annotations

import re
from typing import Final

_MARK: Final = re.compile(r"<!--|<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9]{0,15})(?:\s[^<>]*)?/?>")
_INLINE: Final = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q s samp "
    "small span strike strong time tt u var wbr italic bold sc".split()
)
_BLOCK: Final = frozenset(
    "address article aside audio blockquote body br button canvas caption center col colgroup dd "
    "details div dl dt embed fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 head header "
    "hr html iframe img input legend li link main map meta nav noscript object ol option p param "
    "picture pre progress section select source summary table tbody td textarea tfoot th thead "
    "title tr track ul video sec st".split()
)
_NO_TEXT: Final = frozenset({"script", "style", "template", "svg"})


def html_to_text(html: str) -> str:
    """Return the text of a piece of HTML, with its entities.

    Other markup is text, such as `a < b` and `Vec<T>`; so are `sub`, `sup` and MathML, which
    `cleaning` converts. Scripts, styles and comments are removed, to the end if unclosed.
    """
    parts: list[str] = []
    at = 0
    while (mark := _MARK.search(html, at)) is not None:
        parts.append(html[at : mark.start()])
        at = mark.end()
        name = (mark["name"] or "").lower()
        if not name:
            end = html.find("-->", at)
            at = len(html) if end < 0 else end + 3
        elif name in _NO_TEXT:
            if not mark["end"] and not mark[0].endswith("/>"):
                closing = re.compile(rf"</{name}\s*>", re.IGNORECASE).search(html, at)
                at = len(html) if closing is None else closing.end()
            parts.append(" ")
        elif name in _BLOCK:
            parts.append(" ")
        elif name not in _INLINE:
            parts.append(mark[0])
    parts.append(html[at:])
    return "".join(parts)
