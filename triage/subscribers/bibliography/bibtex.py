"""Reads and writes BibTeX.

The files come from many programs and people, so reading never fails. Everything that begins like an
entry is an entry. An entry ends at the latest where the next one begins, and an unclosed value ends
before the next field. The grammar is that of Oren Patashnik, "BibTeXing", 1988, section 2.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import tee, zip_longest
from typing import Final

# The first form is a remark, in which nothing begins.
_ENTRY: Final = re.compile(
    r"^[^\S\n]*%.*"
    r"|^[^\S\n]*@\s*([A-Za-z]+)\s*[{(]"
    r"|(?<=\})[^\S\n]*@\s*([A-Za-z]+)\s*\{",
    re.MULTILINE,
)
_NAME: Final = re.compile(r"[\s,]*([A-Za-z][\w:.+/-]*)\s*=\s*")
_NEXT_FIELD: Final = re.compile(r"\n[^\S\n]*[A-Za-z][\w-]*\s*=\s*[\"{\w]")
_QUOTE_OR_BRACE: Final = re.compile(r'["{}]')
_BARE: Final = re.compile(r"[^\s,#{}\"()]+")
_NOT_OF_KEYS: Final = re.compile(r"[^A-Za-z0-9:._-]")
_NOT_OF_IDS: Final = re.compile(r"[{}\s]")
_MONTHS: Final = {name: name for name in "jan feb mar apr may jun jul aug sep oct nov dec".split()}
_LONGEST_VALUE: Final = 100_000
# Short, so that a small file of macros does not grow into gigabytes.
_LONGEST_MACRO: Final = 300

_ACCENTS: Final = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306",
    ".": "\u0307", '"': "\u0308", "r": "\u030a", "H": "\u030b", "v": "\u030c", "d": "\u0323",
    "c": "\u0327", "k": "\u0328", "b": "\u0331",
}  # fmt: skip
_LETTERS: Final = {
    "ss": "ß", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "aa": "å", "AA": "Å", "ae": "æ",
    "AE": "Æ", "oe": "œ", "OE": "Œ", "i": "i", "j": "j", "dh": "ð", "DH": "Ð", "th": "þ",
    "TH": "Þ", "dj": "đ", "DJ": "Đ", "textendash": "–", "textemdash": "—", "textbackslash": "\\",
    "textasciitilde": "~", "textasciicircum": "^", "textbraceleft": "\ue000",
    "textbraceright": "\ue001", "sim": "~", "textquoteright": "’", "textquoteleft": "‘",
}  # fmt: skip
_ACCENT: Final = re.compile(
    r"\\(?:([`'^~=.\"])\s*|([uvHrdckb])(?:\s+|(?=\{)))"
    r"(?:\{\s*(?:\\([ij])(?![A-Za-z])\s*|([A-Za-z]))\s*\}|\\([ij])(?![A-Za-z])\s*|([A-Za-z]))"
)
_LETTER: Final = re.compile(
    rf"\\({'|'.join(sorted(_LETTERS, key=len, reverse=True))})(?![A-Za-z])(?:\{{\}}|\s+)?"
)
_SYMBOL: Final = re.compile(r"\\([&%$#_{} ,;!/-])")
_COMMAND: Final = re.compile(r"\\(?:[A-Za-z]+\*?\s*|.)")
# Braces and dollars that a person wrote, while those of TeX are taken away.
_KEPT: Final = str.maketrans(
    {"\ue000": "{", "\ue001": "}", "\ue002": "$", "\ue003": "~", "\ue004": "\\"}
)
_ESCAPED: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        **{symbol: f"\\{symbol}" for symbol in "&%$#_"},
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BibtexEntry:
    """One entry: `fields` by lower-case name, as written; `line` is 1-based."""

    kind: str
    key: str
    line: int
    fields: dict[str, str] = field(default_factory=dict)


def looks_like(text: str) -> bool:
    """Return whether a text has something that begins like an entry."""
    return next(_starts(text), None) is not None


def read(text: str) -> Iterator[BibtexEntry]:
    """Yield the entries of a file, also if some are damaged; none of an empty file."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    macros = dict(_MONTHS)
    line, counted = 1, 0
    starts, followers = tee(_starts(text))
    next(followers, None)
    for start, following in zip_longest(starts, followers):
        at = text.index("@", start.start())
        line += text.count("\n", counted, at)
        counted = at
        kind = (start[1] or start[2]).lower()
        body = text[start.end() : following.start() if following else len(text)]
        if kind == "string":
            macros |= {
                name.lower(): value[:_LONGEST_MACRO] for name, value in _fields(body, macros)
            }
        elif kind not in {"comment", "preamble"}:
            key, _, rest = body.partition(",")
            if "=" in key:  # no key: the fields begin at once
                key, rest = "", body
            fields: dict[str, str] = {}
            for name, value in _fields(rest, macros):
                fields.setdefault(name.lower(), value)
            yield BibtexEntry(kind, " ".join(key.split())[:200].rstrip("}) "), line, fields)


def _starts(text: str) -> Iterator[re.Match[str]]:
    return (each for each in _ENTRY.finditer(text) if each[1] or each[2])


def _fields(body: str, macros: dict[str, str]) -> Iterator[tuple[str, str]]:
    closing = _closing(body)
    at = 0
    while (name := _NAME.match(body, at)) is not None:
        parts, length = [], 0
        at = name.end()
        while True:
            part, at = _value(body, at, macros, closing)
            if length < _LONGEST_VALUE:
                parts.append(part)
                length += len(part)
            at = _skip_blanks(body, at)
            if body[at : at + 1] != "#":
                break
            at = _skip_blanks(body, at + 1)
        yield name[1], "".join(parts)[:_LONGEST_VALUE]
        if not re.match(r"\s*(,|$|[A-Za-z])", body[at : at + 100]):  # what does not belong here
            following = _NEXT_FIELD.search(body, at)
            if following is None or body[at : at + 1] in {"}", ")"}:
                return
            at = following.start()


def _closing(body: str) -> dict[int, int]:
    """Map the position of each closed brace to the position of its closing brace."""
    opened: list[int] = []
    closing = {}
    for mark in re.finditer("[{}]", body):
        if mark[0] == "{":
            opened.append(mark.start())
        elif opened:
            closing[opened.pop()] = mark.start()
    return closing


def _skip_blanks(body: str, at: int) -> int:
    while at < len(body) and body[at].isspace():
        at += 1
    return at


def _value(body: str, at: int, macros: dict[str, str], closing: dict[int, int]) -> tuple[str, int]:
    """Return one braced, quoted or bare value, and the position after it."""
    opened = body[at : at + 1]
    if opened == "{" and at in closing:
        end = closing[at]
        value = body[at + 1 : end]
        swallowed = _NEXT_FIELD.search(value) if body.find("}", end + 1) < 0 else None
        if swallowed is None:
            return value, end + 1
        # The brace that should close the entry closed the value: other fields lie within.
        return value[: swallowed.start()].rstrip().rstrip(","), at + 1 + swallowed.start()
    if opened == '"':
        mark = _QUOTE_OR_BRACE.search(body, at + 1)
        while mark is not None and mark.start() in closing:
            mark = _QUOTE_OR_BRACE.search(body, closing[mark.start()] + 1)
        if mark is not None and mark[0] == '"':
            return body[at + 1 : mark.start()], mark.end()
    elif opened != "{":
        bare = _BARE.match(body, at)
        word = bare[0] if bare else ""
        return macros.get(word.lower(), word), at + len(word)
    following = _NEXT_FIELD.search(body, at)
    end = following.start() if following else len(body)
    return body[at + 1 : end].rstrip().rstrip(',}"'), end


def plain(value: str) -> str:
    """Return a value as readable text: accents of TeX as letters, no commands or braces."""
    value = value.replace(r"\$", "\ue002").replace(r"\{", "\ue000").replace(r"\}", "\ue001")
    value = value.replace(r"\textbackslash", "\ue004").replace("\ue004{}", "\ue004")
    if "\\" in value:
        value = _ACCENT.sub(_accented, value)
        value = _LETTER.sub(_letter, value)
        value = _SYMBOL.sub(r"\1", value)
        value = _COMMAND.sub("", value)
    value = value.replace("~", " ").replace("---", "—").replace("``", "“").replace("''", "”")
    value = re.sub(r"[{}$]", "", value).translate(_KEPT)
    return " ".join(unicodedata.normalize("NFC", value).split())


def _accented(found: re.Match[str]) -> str:
    mark = _ACCENTS[found[1] or found[2]]
    return next(letter for letter in found.groups()[2:] if letter) + mark


def _letter(found: re.Match[str]) -> str:
    return {"~": "\ue003"}.get(_LETTERS[found[1]], _LETTERS[found[1]])


def verbatim(value: str) -> str:
    """Return a value that is an address or an id: only the escapes of TeX are removed."""
    value = re.sub(r"\\(?:url|path|href)\b", "", value)
    value = re.sub(r"\$?\\(?:sim|textasciitilde)\$?(?:\{\})?", "~", value)
    return re.sub(r"[{}\s]", "", re.sub(r"\\([_%&#$~])", r"\1", value))


def names(value: str) -> tuple[str, ...]:
    """Return the author names in a field, first names first."""
    found = []
    for part in _at_depth_0(" ".join(value.split()), " and "):
        name = part.strip()
        if name and name.lower() != "others":
            pieces = _at_depth_0(name, r",")
            last, first = pieces[0], " ".join(reversed(pieces[1:]))
            found.append(plain(f"{first} {last}"))
    return tuple(name for name in found if name)


def _at_depth_0(value: str, separator: str) -> list[str]:
    parts, start, depth = [], 0, 0
    for mark in re.finditer(rf"[{{}}]|{separator}", value):
        if mark[0] == "{":
            depth += 1
        elif mark[0] == "}":
            depth -= 1
        elif depth <= 0:
            parts.append(value[start : mark.start()])
            start = mark.end()
    return [*parts, value[start:]]


def escape(text: str) -> str:
    """Return a text on one line without characters that are special in TeX or BibTeX."""
    printable = "".join(c for c in " ".join(text.split()) if c.isprintable())
    # An empty group keeps TeX from joining them into one sign.
    return re.sub(r"(?<=([-'`]))(?=\1)", "{}", printable.translate(_ESCAPED))


def write_entry(kind: str, key: str, fields: dict[str, str]) -> str:
    """Return one entry. Values are text; names in `author` are separated by line breaks."""
    lines = [f"@{kind}{{{_NOT_OF_KEYS.sub('', key)},"]
    for name, value in fields.items():
        if value and name == "author":
            people = [escape(person) for person in value.split("\n")]
            value = " and ".join(f"{{{p}}}" if re.search(r",|\band\b", p) else p for p in people)
            lines.append(f"  author = {{{value}}},")
        elif value and name in {"doi", "eprint", "url", "year", "archiveprefix", "primaryclass"}:
            lines.append(f"  {name} = {{{_NOT_OF_IDS.sub('', value)}}},")
        elif value:
            # The second pair keeps capitals as they are.
            lines.append(f"  {name} = {{{{{escape(value)}}}}},")
    return "\n".join([*lines, "}", ""])
