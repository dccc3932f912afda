"""Parses untrusted XML: no DTD, no entities, limited size. The only module with defusedxml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from triage.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from xml.etree.ElementTree import Element, TreeBuilder

MOST_DEPTH: Final = 100
MOST_NODES: Final = 250_000  # elements and attributes; some 5,000 full records of OAI-PMH
MOST_NAMES: Final = 5_000
MOST_NESTED: Final = 1_000  # entries within entries
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

    _refuse_html(body, what)
    pieces = (body[start : start + _PIECE] for start in range(0, len(body), _PIECE))
    element: Element = _parsed(pieces, what, _Bounds(TreeBuilder()))
    return element


def check_limits(
    pieces: Iterable[bytes], what: str, entries: frozenset[str]
) -> tuple[bytes, list[tuple[int, int]]]:
    """Check that a document is safe for a parser without limits; read no further than it is.

    Args:
        pieces: the document.
        entries: the local names, in lower case, of elements whose places are wanted.

    Returns:
        The document, and from where to where the outermost entries are in it.

    Raises:
        SourceError: as for `parse_root`, or it has too many lines and references.
    """
    read: list[bytes] = []
    bounds = _Bounds(None, entries)
    _parsed(_counted(pieces, read, what), what, bounds)
    body = b"".join(read)
    # Of an end tag, the parser gives the beginning; of a tag that is both, the end.
    return body, [
        (start, body.index(b">", end) + 1 if body.startswith(b"</", end) else end)
        for start, end in bounds.places
    ]


def _counted(pieces: Iterable[bytes], read: list[bytes], what: str) -> Iterator[bytes]:
    n = 0
    for piece in pieces:
        n += _n_pieces(piece)
        _check_pieces(n, what)
        read.append(piece)
        yield piece


def check_before_repair(body: bytes, what: str) -> None:
    """Raise SourceError if `body` is a web page, or if mending it would take too long."""
    _refuse_html(body, what)
    _check_pieces(_n_pieces(body) + sum(map(body.count, (b"<!", b"<?", b"]]>"))), what)


def _n_pieces(body: bytes) -> int:
    return sum(map(body.count, (b"\n", b"\r", b"&")))


def _check_pieces(n: int, what: str) -> None:
    if n > MOST_PIECES:
        raise SourceError(
            f"{what} is unsafe XML (too many lines and references), so it was not read."
        )


def _refuse_html(body: bytes, what: str) -> None:
    if looks_like_html(body):
        raise SourceError(f"{what} is a web page where XML was expected. Try again later.")


def text(parent: Element, path: str) -> str:
    """Return the text of the first child at `path`, as received; empty when there is none."""
    return parent.findtext(path) or ""


def join_texts(elements: Iterable[Element]) -> str:
    """Return the names and texts of elements, to be kept of a rejected record."""
    return " | ".join(f"{each.tag}: {each.text or ''}" for each in elements)


class _OutOfBounds(ValueError):
    pass


class _Bounds:
    """A parser target that passes events on to `builder` until a limit is exceeded.

    Attributes:
        at: returns the place of an event in the document.
        places: the places of both tags of each outermost entry.
    """

    at: Callable[[], int]

    def __init__(self, builder: TreeBuilder | None, entries: frozenset[str] = frozenset()) -> None:
        self._builder = builder
        self._entries = entries
        self._entry = (0, 0)  # Depth and start of the entry that is open.
        self._depth = 0
        self._n_nodes = 0
        self._n_nested = 0
        self._names: set[str] = set()
        self.places: list[tuple[int, int]] = []

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        self._count(1 + len(attributes))
        self._names.add(tag)
        self._names.update(attributes)
        if self._depth > MOST_DEPTH:
            raise _OutOfBounds(f"elements are nested more than {MOST_DEPTH} deep")
        if len(self._names) > MOST_NAMES:
            raise _OutOfBounds(f"more than {MOST_NAMES:,} kinds of elements and attributes")
        if tag.rpartition("}")[2].lower() in self._entries:
            self._n_nested += bool(self._entry[0])
            self._entry = self._entry if self._entry[0] else (self._depth, self.at())
            if self._n_nested > MOST_NESTED:
                raise _OutOfBounds("more entries within entries than a feed can have")
        if self._builder is not None:
            self._builder.start(tag, dict(attributes))

    def start_ns(self, _prefix: str, _uri: str) -> None:
        self._count(_NAMESPACE)

    def end(self, tag: str) -> None:
        if self._depth == self._entry[0]:
            self.places.append((self._entry[1], self.at()))
            self._entry = (0, 0)
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


def _parsed(pieces: Iterable[bytes], what: str, bounds: _Bounds) -> Any:
    import defusedxml
    from defusedxml.ElementTree import DefusedXMLParser, ParseError

    parser = DefusedXMLParser(target=bounds, forbid_dtd=True)
    expat, n_read = parser.parser, 0
    bounds.at = lambda: expat.CurrentByteIndex
    try:
        for piece in pieces:
            parser.feed(piece)
            n_read += len(piece)
            # The parser keeps an unfinished token, and scans it again with each piece.
            if n_read - expat.CurrentByteIndex > _MOST_TOKEN + _PIECE:
                raise _OutOfBounds("a tag without end")
        return parser.close()
    except (ParseError, LookupError, ValueError) as error:
        is_unsafe = isinstance(error, defusedxml.DefusedXmlException | _OutOfBounds)
        kind = "is unsafe XML" if is_unsafe else "is no XML"
        reason = str(error)[:100] or type(error).__name__
        raise SourceError(f"{what} {kind} ({reason}), so it was not read.") from error
