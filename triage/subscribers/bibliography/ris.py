"""Reads and writes RIS, the format of reference managers: `TAG  - value`, a record from TY to ER.

https://en.wikipedia.org/wiki/RIS_(file_format) and the specification of Research Information
Systems, 2001. Unknown tags are kept, and a line without a tag continues the line before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_LINE: Final = re.compile(r"([A-Z][A-Z0-9]) {0,3}-(?: |$)(.*)")
_START: Final = re.compile(r"^\ufeff?TY {0,3}- ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RisEntry:
    """One record: the values of each tag in their order; `line` is 1-based."""

    line: int
    fields: dict[str, list[str]] = field(default_factory=dict)


def looks_like(text: str) -> bool:
    """Return whether a text has a line that begins a record."""
    return _START.search(text) is not None


def read(text: str) -> Iterator[RisEntry]:
    """Yield the records of a file; none of an empty one."""
    entry: RisEntry | None = None
    for number, tag, value in _tagged(text.removeprefix("\ufeff")):
        if tag in {"TY", "ER"}:
            if entry is not None:
                yield entry
            entry = RisEntry(number) if tag == "TY" else None
        if entry is not None:
            entry.fields.setdefault(tag, []).append(value)
    if entry is not None:
        yield entry


def _tagged(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the tag and the value, which may have several lines."""
    begun, tag = 0, ""
    parts: list[str] = []
    # Not `splitlines`, which takes more characters for line ends than the format has.
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        found = _LINE.match(line)
        if found is None:
            parts += [line.strip()] if line.strip() else []
            continue
        if tag:
            yield begun, tag, " ".join(parts)
        begun, tag, parts = number, found[1], [found[2].strip()]
    if tag:
        yield begun, tag, " ".join(parts)


def write_entry(kind: str, fields: Sequence[tuple[str, str]]) -> str:
    """Return one record of tags and values, each on one line."""
    lines = [("TY", kind), *((tag, _one_line(value)) for tag, value in fields), ("ER", "")]
    return "".join(f"{tag}  - {value}\r\n" for tag, value in lines if value or tag == "ER")


def first(fields: Mapping[str, Sequence[str]], *tags: str) -> str:
    """Return the first value of the first of these tags that has one."""
    return next((value for tag in tags for value in fields.get(tag, ()) if value), "")


def _one_line(value: str) -> str:
    return "".join(c for c in " ".join(value.split()) if c.isprintable())
