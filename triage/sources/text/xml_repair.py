"""Mends what is often wrong in feeds, so that a strict XML parser can read them.

Only mistakes with one possible meaning are mended. Elements that are not closed stay as they are,
for the parser to refuse: a document that was cut may have lost entries.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator
from html.entities import html5
from typing import Final

_PREAMBLE: Final = 10_000  # bytes in which the document must begin
_PIECE: Final = 1 << 16
_LONGEST_REMARK: Final = 1 << 20  # of a comment or instruction; a longer one is left to the parser
_MOST_PREFIXES: Final = 100

# Encodings that are labelled as one of their subsets (https://encoding.spec.whatwg.org/#names).
_SUPERSETS: Final = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
_ALIASES: Final = {
    "x-gbk": "gbk",
    "x-sjis": "shift_jis",
    "windows-31j": "shift_jis",
    "ks_c_5601-1987": "euc_kr",
    "windows-949": "cp949",
    "x-euc-jp": "euc_jp",
    "x-big5": "big5",
    "unicode-1-1-utf-8": "utf-8",
}
_MULTI_BYTE: Final = re.compile(r"gb|big5|cp9[345]|euc|iso2022|shift|johab|hz")
_NO_CHARSET: Final = re.compile(r"utf-(?:7|16|32)|idna|punycode|.*escape|undefined|mbcs|oem")
# So many bytes that are no ASCII are valid UTF-8 by chance in less than one text of a million.
_ENOUGH: Final = 16
# XML 1.0, appendix F: byte order marks, and how `<?` and other beginnings look without one.
_BEGINNINGS: Final = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"<\0\0\0": "utf-32-le",
    b"\0\0\0<": "utf-32-be",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}
_DECLARED: Final = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']\s*([\w.:-]{1,40})")

_FORBIDDEN: Final = bytes(sorted({*range(32)} - {9, 10, 13}))
_START: Final = re.compile(rb"<\?xml\s|<!DOCTYPE|<(?:[\w.-]{1,40}:)?(?:rss|feed|RDF)\b")
_HARMLESS_DOCTYPE: Final = re.compile(rb"<!DOCTYPE(?:[^\[<>\"']|\"[^\"]*+\"|'[^']*+')*+>", re.I)
_NAME: Final = rb"[A-Za-z_][\w.-]{0,60}"
_ROOT: Final = re.compile(rb"<([A-Za-z_][\w.:-]{0,120})(?=[\s/>])")
_ATTRIBUTES: Final = re.compile(rb"(?:[^<>\"']|\"[^\"<]*+\"|'[^'<]*+')*+>")
_PREFIX: Final = re.compile(rb"(?:<|\s(?=[\w.:-]{1,121}\s*=))(" + _NAME + rb"):" + _NAME)
_DECLARED_PREFIX: Final = re.compile(rb"\sxmlns:(" + _NAME + rb")\s*=")
_MARK: Final = re.compile(rb"&|<!--|<!\[CDATA\[|<\?|\]\]>|<(?![A-Za-z_:/!\x80-\xff])")
_REFERENCE: Final = re.compile(
    rb"&(?:#([0-9]{1,7})|#[xX]([0-9A-Fa-f]{1,6})|([A-Za-z][A-Za-z0-9]{1,31}));"
)
_CLOSING: Final = {b"<?": b"?>", b"<!--": b"-->", b"<![CDATA[": b"]]>"}
_OF_XML: Final = frozenset({b"amp", b"lt", b"gt", b"quot", b"apos"})
_NAMESPACES: Final = {
    b"admin": b"http://webns.net/mvcb/",
    b"atom": b"http://www.w3.org/2005/Atom",
    b"content": b"http://purl.org/rss/1.0/modules/content/",
    b"dc": b"http://purl.org/dc/elements/1.1/",
    b"dcterms": b"http://purl.org/dc/terms/",
    b"itunes": b"http://www.itunes.com/dtds/podcast-1.0.dtd",
    b"media": b"http://search.yahoo.com/mrss/",
    b"prism": b"http://prismstandard.org/namespaces/basic/2.0/",
    b"rdf": b"http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    b"slash": b"http://purl.org/rss/1.0/modules/slash/",
    b"sy": b"http://purl.org/rss/1.0/modules/syndication/",
    b"thr": b"http://purl.org/syndication/thread/1.0",
    b"wfw": b"http://wellformedweb.org/CommentAPI/",
    b"xhtml": b"http://www.w3.org/1999/xhtml",
    b"xlink": b"http://www.w3.org/1999/xlink",
    b"xsi": b"http://www.w3.org/2001/XMLSchema-instance",
}


def to_utf8(body: bytes, charset: str = "") -> bytes:
    """Return a document in UTF-8, without byte order mark.

    The byte order mark has the first word, then the `charset` of the HTTP header, then the XML
    declaration (RFC 7303, section 3). A label that cannot be true is passed over: then it is UTF-8
    if it is valid, else Windows-1252. Bytes without meaning become U+FFFD.
    """
    beginnings = _BEGINNINGS.items()
    encoding = next((name for begin, name in beginnings if body.startswith(begin)), "utf-8")
    if encoding != "utf-8":
        return _transcode(body, encoding, "replace").removeprefix(codecs.BOM_UTF8)
    body = body.removeprefix(codecs.BOM_UTF8)
    declared = _DECLARED.search(body, 0, _PREAMBLE)
    is_utf8 = _is_utf8(body)
    n_high = len(body.translate(None, bytes(range(128))))
    for label in (charset, declared[1].decode("ascii", "replace") if declared else ""):
        codec = _codec(label)
        is_many = _MULTI_BYTE.match(codec) is not None
        if not codec or (is_utf8 and (codec == "utf-8" or not is_many or n_high >= _ENOUGH)):
            continue
        try:
            return _transcode(body, codec)
        except UnicodeError:
            continue
    if is_utf8:
        return body
    head = body[:_PIECE].decode("utf-8", "replace")
    n_characters = len(head) - len(head.encode("ascii", "ignore"))
    is_mostly_utf8 = 2 * head.count("\ufffd") <= n_characters
    return _transcode(body, "utf-8" if is_mostly_utf8 else "cp1252", "replace")


def repair(body: bytes) -> Iterator[bytes]:
    """Yield an XML document in UTF-8 in pieces, with what is often wrong in feeds mended.

    What stands before and behind the document is left out, and so are forbidden characters,
    comments, instructions and a DOCTYPE without definitions. HTML's entities become characters.
    `&` and `<` that begin nothing become text, and prefixes without a namespace get one.
    Text in CDATA sections stays.
    """
    some, n = list[bytes](), 0
    for piece in _repaired(body):
        some.append(piece)
        n += len(piece)
        if n >= _PIECE:
            yield b"".join(some)
            some, n = [], 0
    yield b"".join(some)


def _repaired(body: bytes) -> Iterator[bytes]:
    if len(body.translate(None, _FORBIDDEN)) < len(body):
        body = body.translate(None, _FORBIDDEN)
    for noncharacter in (b"\xef\xbf\xbe", b"\xef\xbf\xbf"):
        body = body.replace(noncharacter, b"")
    at = _skip_prolog(body)
    yield b'<?xml version="1.0" encoding="utf-8"?>\n'
    root, end = _ROOT.match(body, at), len(body)
    if root is not None:
        last = body.rfind(b"</" + root[1])
        end = body.find(b">", last) + 1 if last > 0 else end
        yield root[0] + _declarations(body, root.end())
        at = root.end()
    while (mark := _MARK.search(body, at, end)) is not None:
        yield from _cut(body, at, mark.start())
        at = mark.end()
        if mark[0] == b"&":
            text, at = _reference(body, mark.start())
            yield text
        elif mark[0] == b"]]>":
            yield b"]]&gt;"
        elif mark[0] == b"<":
            yield b"&lt;"
        else:
            closing = _CLOSING[mark[0]]
            after = body.find(closing, at, end) + len(closing)
            if after < len(closing):
                at = mark.start()
                break
            if mark[0] == b"<![CDATA[" or after - at > _LONGEST_REMARK:
                yield from _cut(body, mark.start(), after)
            at = after
    yield from _cut(body, at, end)


def _cut(body: bytes, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _PIECE):
        yield body[at : min(at + _PIECE, end)]


def _decoded(body: bytes, encoding: str, errors: str) -> Iterator[str]:
    # In pieces: one character outside of ASCII makes a text of Python up to four times as large.
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    for piece in _cut(body, 0, len(body)):
        yield decoder.decode(piece)
    yield decoder.decode(b"", True)


def _transcode(body: bytes, encoding: str, errors: str = "strict") -> bytes:
    return b"".join(text.encode("utf-8", "replace") for text in _decoded(body, encoding, errors))


def _is_utf8(body: bytes) -> bool:
    try:
        return all(text is not None for text in _decoded(body, "utf-8", "strict"))
    except UnicodeDecodeError:
        return False


def _codec(label: str) -> str:
    """Return Python's name of the encoding that a label means; empty if it means none.

    UTF-16 and UTF-32 show in the first bytes, so as labels they say nothing.
    """
    label = label.strip().strip("\"'").lower()[:40]
    try:
        name = codecs.lookup(_ALIASES.get(label, label)).name
        b"".decode(name)  # A LookupError for codecs that give no text.
    except (LookupError, ValueError):
        return ""
    return "" if _NO_CHARSET.match(name) else _SUPERSETS.get(name, name)


def _skip_prolog(body: bytes) -> int:
    """Return where the root element begins, or what cannot be skipped before it."""
    start = _START.search(body, 0, _PREAMBLE)
    at = start.start() if start else 0
    while True:
        at += len(body[at : at + _PREAMBLE]) - len(body[at : at + _PREAMBLE].lstrip())
        doctype = _HARMLESS_DOCTYPE.match(body, at)
        if doctype is not None:
            at = doctype.end()
            continue
        closing = _CLOSING.get(body[at : at + 2], b"") or _CLOSING.get(body[at : at + 4], b"")
        after = body.find(closing, at, at + _LONGEST_REMARK) if closing else -1
        if after < 0:
            return at
        at = after + len(closing)


def _declarations(body: bytes, at: int) -> bytes:
    """Return declarations, for the root, of the prefixes that have none among its attributes.

    A declaration at an element inside is stronger, so one too many has no effect.
    """
    attributes = _ATTRIBUTES.match(body, at)
    declared = set(_DECLARED_PREFIX.findall(attributes[0] if attributes else b""))
    used = {found[1] for found in _PREFIX.finditer(body)}
    missing = sorted(used - declared - {b"xml", b"xmlns"})[:_MOST_PREFIXES]
    uris = ((prefix, _NAMESPACES.get(prefix, b"urn:undeclared:" + prefix)) for prefix in missing)
    return b"".join(b' xmlns:%b="%b"' % pair for pair in uris)


def _reference(body: bytes, at: int) -> tuple[bytes, int]:
    """Return what stands for the `&` at a place, and where to read on."""
    found = _REFERENCE.match(body, at)
    if found is None:
        return b"&amp;", at + 1
    if found[3] is not None:
        if found[3] in _OF_XML:
            return found[0], found.end()
        characters = html5.get(found[3].decode() + ";")
        if characters is None:
            return b"&amp;", at + 1
        return html.escape(characters).encode(), found.end()
    code = _code(found)
    low = _REFERENCE.match(body, found.end()) if 0xD800 <= code < 0xDC00 else None
    if low is not None and 0xDC00 <= _code(low) < 0xE000:
        # Two halves of one character of UTF-16.
        return chr(0x10000 + (code - 0xD800 << 10) + _code(low) - 0xDC00).encode(), low.end()
    if 0x80 <= code < 0xA0:
        return html.unescape(found[0].decode()).encode(), found.end()
    is_legal = code in {9, 10, 13} or 32 <= code < 0xD800 or 0xE000 <= code < 0xFFFE
    return found[0] if is_legal or 0xFFFF < code < 0x110000 else b"", found.end()


def _code(reference: re.Match[bytes]) -> int:
    if reference[3] is not None:
        return -1
    return int(reference[1]) if reference[1] else int(reference[2], 16)
