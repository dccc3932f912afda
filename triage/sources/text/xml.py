"""Parses untrusted XML: no DTD, no entities, limited size. The only module with defusedxml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from triage.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from xml.etree.ElementTree import Element, TreeBuilder

MOST_DEPTH: Final = 100
MOST_NODES: Final = 250_000  # elements and attributes; some 5,000 full records of OAI-PMH
MOST_NAMES: Final = 5_000
MOST_PIECES: Final = 1_000_000  # lines and references, each of which is one parser event
_NAMESPACE: Final = 5  # one namespace declaration costs as much as five nodes
_MOST_TOKEN: Final = 1 << 20  # bytes of one tag, comment or instruction
_PIECE: Final = 1 << 16
_HTML: Final = (b"<!doctype html", b"<html")


def looks_like_html(body: bytes) -> bool:
    """Tell whether `body` is a web page, such as an error page with status 200."""
    return body[:1_000].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML)


def parse_root(body: bytes, what: str) -> Element:
    """Parse a document and return its root. `what` names it in errors.

    Raises:
        SourceError: it is a web page, not XML, incomplete, too large, or has a DTD or entities.
    """
    from xml.etree.ElementTree import TreeBuilder

    element: Element = _parsed(body, what, _Bounds(TreeBuilder()))
    return element


def check_limits(body: bytes, what: str, entries: frozenset[str], most_entries: int) -> None:
    """Check that a document is safe for a parser without limits.

    Args:
        entries: the local names of elements of which `most_entries` are allowed in total.

    Raises:
        SourceError: as for `root`, or it has more entries or too many lines and references.
    """
    if sum(map(body.count, (b"\n", b"\r", b"&"))) > MOST_PIECES:
        raise SourceError(f"{what} has too many lines and references, so it was not read.")
    _parsed(body, what, _Bounds(None, entries, most_entries))


def text(parent: Element, path: str) -> str:
    """Return the text of the first child at `path`, as received; empty when there is none."""
    return parent.findtext(path) or ""


def join_texts(elements: Iterable[Element]) -> str:
    """Return the names and texts of elements, to be kept of a rejected record."""
    return " | ".join(f"{each.tag}: {each.text or ''}" for each in elements)


class _OutOfBounds(ValueError):
    pass


class _Bounds:
    """A parser target that passes events on to `builder` until a limit is exceeded."""

    def __init__(
        self,
        builder: TreeBuilder | None,
        entries: frozenset[str] = frozenset(),
        most_entries: int = 0,
    ) -> None:
        self._builder = builder
        self._entries = entries
        self._left = most_entries
        self._depth = 0
        self._n_nodes = 0
        self._names: set[str] = set()

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        self._count(1 + len(attributes))
        self._names.add(tag)
        self._names.update(attributes)
        if self._depth > MOST_DEPTH:
            raise _OutOfBounds(f"elements are nested more than {MOST_DEPTH} deep")
        if len(self._names) > MOST_NAMES:
            raise _OutOfBounds(f"more than {MOST_NAMES:,} kinds of elements and attributes")
        if tag.rpartition("}")[2] in self._entries:
            self._left -= 1
            if self._left < 0:
                raise _OutOfBounds("more entries than a feed can have")
        if self._builder is not None:
            self._builder.start(tag, dict(attributes))

    def start_ns(self, _prefix: str, _uri: str) -> None:
        self._count(_NAMESPACE)

    def end(self, tag: str) -> None:
        self._depth -= 1
        if self._builder is not None:
            self._builder.end(tag)

    def data(self, data: str) -> None:
        if self._builder is not None:
            self._builder.data(data)

    def _count(self, n_nodes: int) -> None:
        self._n_nodes += n_nodes
        if self._n_nodes > MOST_NODES:
            raise _OutOfBounds(f"more than {MOST_NODES:,} elements and attributes")

    def close(self) -> Any:
        return None if self._builder is None else self._builder.close()


def _parsed(body: bytes, what: str, bounds: _Bounds) -> Any:
    import defusedxml
    from defusedxml.ElementTree import DefusedXMLParser, ParseError

    if looks_like_html(body):
        raise SourceError(f"{what} is a web page where XML was expected. Try again later.")
    parser = DefusedXMLParser(target=bounds, forbid_dtd=True)
    expat = parser.parser
    try:
        for start in range(0, len(body), _PIECE):
            parser.feed(body[start : start + _PIECE])
            # The parser keeps an unfinished token, and scans it again with each piece.
            if start + _PIECE - expat.CurrentByteIndex > _MOST_TOKEN + _PIECE:
                raise _OutOfBounds("a tag without end")
        return parser.close()
    except (ParseError, LookupError, ValueError) as error:
        is_unsafe = isinstance(error, defusedxml.DefusedXmlException | _OutOfBounds)
        kind = "is unsafe XML" if is_unsafe else "is no XML"
        reason = str(error)[:100] or type(error).__name__
        raise SourceError(f"{what} {kind} ({reason}), so it was not read.") from error
