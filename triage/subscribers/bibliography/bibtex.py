"""Reads and writes BibTeX.

The files come from many programs and people, so reading never fails. Everything that begins like an
entry is an entry, and ends at the latest where the next one begins. `bibtexparser` reads each entry
alone, so that a broken one hurts no other. What it cannot read is split where fields begin, without
regard to braces. The grammar is that of Oren Patashnik, "BibTeXing", 1988, section 2.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from triage.domain.plain_text import one_line
from triage.sources.text.cleaning import clean
from triage.subscribers.bibliography.citation import NameParts

# A line that begins with a percent sign, or what follows one after a comma.
_REMARK: Final = re.compile(r"(?:^[^\S\n]*|(?<=[}\"],)[^\S\n]*|(?<=,)[^\S\n]+)%.*", re.MULTILINE)
# An entry begins with a key and a comma, or with a field. So neither `@media {` nor Python's
# `@dataclass(slots=True)` begins one.
_ENTRY: Final = re.compile(
    r"(?:^|(?<=[})]))[^\S\n]*(?P<at>@)[^\S\n]*(?P<kind>[a-z]+)\s*(?:"
    r"\{(?=\s*[^,{}\"=\n]{0,200}\s*(?:,|(?P<no_key>=)|\}\s*(?:$|@)))"
    r"|\((?=\s*[^\s,()\"=]{0,200}\s*,)|(?<=string)\()",
    re.MULTILINE | re.IGNORECASE,
)
_OTHER_BLOCK: Final = re.compile(
    r"^[^\S\n]*@(?:comment|preamble|string)\s*[{(]", re.MULTILINE | re.IGNORECASE
)
_NEXT_FIELD: Final = r"[^\S\n]*\n\s*[A-Za-z][\w-]*\s*=\s*[\"{]"
_NO_COMMA: Final = re.compile(rf"(?<=[}}\"])(?={_NEXT_FIELD})")
_SWALLOWED: Final = re.compile(rf",{_NEXT_FIELD}")
_FIELD: Final = re.compile(r"(?:^|[,\n])[^\S\n]*([A-Za-z][\w-]*)[^\S\n]*=[^\S\n]*(?=[\"{\w])")
_MARK: Final = re.compile(r'(?<!\\)[{}"]|#')
_BRACE: Final = re.compile(r"(?<!\\)[{}]")
_BARE: Final = re.compile(r"[^\s,#{}\"()]+")
_NOT_OF_IDS: Final = re.compile(r"[{}\s]")
MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()
"""The names that BibTeX's styles define."""

_VERBATIM: Final = frozenset({"doi", "eprint", "url", "year", "archivePrefix", "primaryClass"})
_LONGEST_VALUE: Final = 100_000
_LONGEST_NAME: Final = 500
# Short, so that a small file of macros does not grow into gigabytes.
_LONGEST_MACRO: Final = 300

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
    return bool(_ENTRY.search(text) or _OTHER_BLOCK.search(text))


def read(text: str) -> Iterator[BibtexEntry]:
    """Yield the entries of a file, also if some are damaged; none of an empty file.

    A damaged entry has no abstract, because nobody knows where it ends.
    """
    text = _REMARK.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    macros = {name: name for name in MONTHS}
    line, counted = 1, 0
    starts = list(_ENTRY.finditer(text))
    for start, following in zip_longest(starts, starts[1:]):
        at = start.start("at")
        line += text.count("\n", counted, at)
        counted = at
        kind = start["kind"].lower()
        if kind in {"comment", "preamble"}:
            continue
        body = text[start.end() : following.start() if following else len(text)]
        has_key = kind != "string" and start["no_key"] is None
        opening = text[start.end() - 1] + ("" if has_key else ",")
        fields: dict[str, str] = {}
        for name, written in _fields(opening + body):
            if kind == "string":
                macros[name] = _value(written, macros)[:_LONGEST_MACRO]
            elif name not in fields:
                fields[name] = _value(written, macros)
        if kind != "string":
            key = re.split("[,})]", body, maxsplit=1)[0] if has_key else ""
            yield BibtexEntry(kind, " ".join(key.split()), line, fields)


def _fields(body: str) -> list[tuple[str, str]]:
    """Return the lower-case names and the values, as written, of one entry from its brace on."""
    from bibtexparser.model import DuplicateFieldKeyBlock, Entry
    from bibtexparser.splitter import Splitter

    # It logs a warning for each broken entry.
    logging.getLogger("bibtexparser.splitter").setLevel(logging.CRITICAL)
    block = Splitter("@entry" + _NO_COMMA.sub(",", body)).split().blocks[0]
    entry = block.ignore_error_block if isinstance(block, DuplicateFieldKeyBlock) else block
    if isinstance(entry, Entry) and not any(_SWALLOWED.search(each.value) for each in entry.fields):
        # What stands between a comma and a name does not belong to the name.
        words = [each.key.split() for each in entry.fields]
        names = [name[-1].lstrip("@").lower() if name else "" for name in words]
        return [(name, each.value) for name, each in zip(names, entry.fields, strict=True)]
    starts = list(_FIELD.finditer(body))
    ends = [*(each.start() for each in starts[1:]), len(body)] if starts else []
    return [
        (each[1].lower(), body[each.end() : end])
        for each, end in zip(starts, ends, strict=True)
        if each[1].lower() != "abstract"
    ]


def _value(written: str, macros: dict[str, str]) -> str:
    """Return the parts of a value, which `#` joins: braced, quoted, a number or a macro."""
    parts, begun, depth, quoted = [], 0, 0, False
    for mark in _MARK.finditer(written):
        if mark[0] in "{}":
            depth += 1 if mark[0] == "{" else -1
        elif depth <= 0 and mark[0] == '"':
            quoted = not quoted
        elif depth <= 0 and not quoted:
            parts.append(written[begun : mark.start()])
            begun = mark.end()
    value = ""
    for part in [*parts, written[begun:]]:
        value += _content(part.strip(), macros)
        if len(value) >= _LONGEST_VALUE:
            break
    return value[:_LONGEST_VALUE]


def _content(part: str, macros: dict[str, str]) -> str:
    if part.startswith("{"):
        depth = 0
        for brace in _BRACE.finditer(part):
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                return part[1 : brace.start()]
    elif part.startswith('"'):
        end = part.rfind('"')
        if end > 0:
            return part[1:end]
    else:
        bare = _BARE.match(part)
        word = bare[0] if bare else ""
        return macros.get(word.lower(), word)
    return part[1:].rstrip(' ,}"\n')  # nothing closes it


def plain(value: str) -> str:
    """Return a value as readable text: accents of TeX as letters, no commands or braces."""
    return clean(value, _LONGEST_VALUE, is_bibtex=True)


def verbatim(value: str) -> str:
    """Return a value that is an address or an id: only the escapes of TeX are removed."""
    value = re.sub(r"\\(?:url|path|href)\b", "", value)
    value = re.sub(r"\$?\\(?:sim|textasciitilde)\$?(?:\{\})?", "~", value)
    return re.sub(r"[{}\s]", "", re.sub(r"\\([_%&#$~])", r"\1", value))


def names(value: str) -> tuple[str, ...]:
    """Return the author names in a field, first names first."""
    found = []
    # Not bibtexparser, which loses the command that a name begins with.
    for name in _split(" ".join(value.split()), " and "):
        last, *others = _split(name[:_LONGEST_NAME], ",")
        # `First von Last`, `von Last, First` or `von Last, Jr, First`
        found.append(plain(" ".join([*others[-1:], last, *others[:-1]])))
    return tuple(name for name in found if name and name.lower() != "others")


def _split(value: str, separator: str) -> list[str]:
    """Split a value where a separator stands outside braces."""
    parts, begun, depth = [], 0, 0
    for mark in re.finditer(rf"[{{}}]|{separator}", value, re.IGNORECASE):
        if mark[0] in "{}":
            depth += 1 if mark[0] == "{" else -1
        elif depth <= 0:
            parts.append(value[begun : mark.start()])
            begun = mark.end()
    return [*parts, value[begun:]]


def escape(text: str) -> str:
    """Return a text on one line without characters that are special in TeX or BibTeX."""
    # An empty group keeps TeX from joining them into one sign.
    return re.sub(r"(?<=([-'`]))(?=\1)", "{}", one_line(text).translate(_ESCAPED))


def write_entry(kind: str, key: str, authors: Sequence[NameParts], fields: dict[str, str]) -> str:
    """Return one entry with a key of letters and digits. Values are text; empty ones are left out.

    Names of groups stand in braces, so that BibTeX does not take them apart.
    """
    lines = [f"@{kind}{{{key},"]
    if authors:
        lines.append(f"  author = {{{' and '.join(map(_author, authors))}}},")
    for name, value in fields.items():
        if value and name == "month":
            lines.append(f"  month = {value},")
        elif value and name in _VERBATIM:
            lines.append(f"  {name} = {{{_NOT_OF_IDS.sub('', value)}}},")
        elif value:
            # The second pair keeps capitals as they are.
            lines.append(f"  {name} = {{{{{escape(value)}}}}},")
    return "\n".join([*lines, "}", ""])


def _author(name: NameParts) -> str:
    if not name.given:
        return f"{{{escape(name.family)}}}"
    return ", ".join(escape(part) for part in (name.family, name.suffix, name.given) if part)
