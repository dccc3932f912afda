"""XML from strangers: no DTD, no entities, bounded. Gatekeeper of defusedxml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from triage.errors import SourceError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_HTML: Final = (b"<!doctype html", b"<html")


def looks_like_html(body: bytes) -> bool:
    """Tell whether `body` is a web page, as servers in trouble send with status 200."""
    return body[:1_000].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML)


def root(body: bytes, what: str) -> Element:
    """Parse a document and return its root. `what` names it in errors.

    Raises:
        SourceError: it is a web page, not XML, cut short, or declares a DTD or entities.
    """
    import defusedxml
    from defusedxml import ElementTree

    if looks_like_html(body):
        raise SourceError(f"{what} is a web page where XML was expected: the server has trouble.")
    try:
        element: Element = ElementTree.fromstring(body, forbid_dtd=True)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        kind = "is unsafe XML" if isinstance(error, defusedxml.DefusedXmlException) else "is no XML"
        reason = str(error)[:100] or type(error).__name__
        raise SourceError(f"{what} {kind} ({reason}), so it was not read.") from error
    return element


def text(parent: Element, path: str) -> str:
    """Return the text of the first child at `path`, as received; empty when there is none."""
    return parent.findtext(path) or ""
