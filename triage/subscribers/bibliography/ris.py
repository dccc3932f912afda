"""Reads RIS, MEDLINE and refer, whose lines begin with a tag, and writes RIS.

- RIS: `TAG  - value`, a record ends at ER. https://en.wikipedia.org/wiki/RIS_(file_format) and the
  specification of Research Information Systems, 2001. Some programs write other blanks around the
  dash, or TY after other tags.
- MEDLINE, PubMed's `.nbib`: tags of up to four letters, a record begins at PMID.
  https://www.nlm.nih.gov/bsd/mms/medlineelements.html
- refer, EndNote's `.enw`: `%T value`, a record begins at %0.
  https://en.wikipedia.org/wiki/Refer_(software)

Whatever the format, a record has the tags of RIS. A line without a tag continues the line before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from triage.domain.plain_text import one_line

_PMID: Final = re.compile(r"^PMID ?- ?[0-9]+[^\S\n]*$", re.MULTILINE)
_REFER: Final = re.compile(r"^%0 \S", re.MULTILINE)
_RIS: Final = re.compile(
    r"^(?P<indent>[^\S\n]*)"
    r"(?:(?P<type>TY) {0,8}[-–—](?:[^\S\n]+\S|(?P<glued>[A-Z]{3,7}$))|ER {0,8}[-–—][^\S\n]*$)",
    re.MULTILINE | re.IGNORECASE,
)
_MEDLINE_LINE: Final = re.compile(r"([A-Z][A-Z0-9]{1,3}) {0,2}- (.*)")
_REFER_LINE: Final = re.compile(r"(%\S) (.*)")
_FROM_MEDLINE: Final = {
    "BTI": "TI", "FAU": "AU", "AU": "A1", "CN": "AU", "DP": "DA", "DEP": "Y1",
    "LID": "DO", "AID": "DO", "JT": "JO",
}  # fmt: skip
_FROM_REFER: Final = {
    "%T": "TI", "%A": "AU", "%X": "AB", "%8": "DA", "%D": "PY", "%R": "DO", "%U": "UR", "%J": "JO",
    "%M": "AN", "%Z": "N1", "%F": "ID",
}  # fmt: skip
_BEGINS: Final = frozenset({"TY", "PMID", "%0"})
_INITIALS: Final = re.compile(r"(?<=[^\s,]) (?=[A-Z]{1,3}$)")


class RisEntry(NamedTuple):
    """One record: the values of each tag in their order; `line` is 1-based."""

    line: int
    fields: dict[str, list[str]]


def looks_like(text: str) -> bool:
    """Return whether a text has a line that begins or ends a record."""
    return _line_and_tags(_with_newlines(text)) is not None


def read(text: str) -> Iterator[RisEntry]:
    """Yield the records of a file; none of an empty one."""
    line, fields = 0, dict[str, list[str]]()
    for number, tag, value in _tagged(_with_newlines(text)):
        if fields and (tag == "ER" or (tag in _BEGINS and tag in fields)):
            yield RisEntry(line, fields)
            fields = {}
        if tag != "ER":
            line = line if fields else number
            fields.setdefault(tag, []).append(value)
    if not fields.keys().isdisjoint(_BEGINS):
        yield RisEntry(line, fields)


def _with_newlines(text: str) -> str:
    # Not `splitlines`, which takes more characters for line ends than the formats have.
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _line_and_tags(text: str) -> tuple[re.Pattern[str], Mapping[str, str]] | None:
    """Return what a line with a tag looks like, and the tags that RIS calls otherwise."""
    start = _RIS.search(text)
    if start is not None:
        indent = r"[^\S\n]*" if start["indent"] else ""
        gap = r"[^\S\n]*" if start["glued"] else r"(?:[^\S\n]+|$)"
        case = re.IGNORECASE if (start["type"] or "").islower() else re.NOFLAG
        return re.compile(rf"{indent}([A-Z][A-Z0-9]) {{0,8}}[-–—]{gap}(.*)", case), {}
    if _PMID.search(text):
        return _MEDLINE_LINE, _FROM_MEDLINE
    return (_REFER_LINE, _FROM_REFER) if _REFER.search(text) else None


def _tagged(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the tag and the value, which may have several lines."""
    form = _line_and_tags(text)
    if form is None:
        return
    tag_line, tags = form
    begun, tag = 0, ""
    parts: list[str] = []
    for number, line in enumerate([*text.split("\n"), None], 1):
        found = tag_line.match(line) if line is not None else None
        if line is not None and found is None:
            parts += [line.strip()] if line.strip() else []
            continue
        # MEDLINE names other things than DOIs in these, such as the numbers of publishers.
        if tag and (tag not in {"LID", "AID"} or "[doi]" in parts[-1]):
            value = " ".join(parts)
            # “Lovelace A” is the short form of MEDLINE alone.
            short = tag == "AU" and tags is _FROM_MEDLINE
            yield begun, tags.get(tag, tag), _INITIALS.sub(", ", value) if short else value
        if found is not None:
            begun, tag, parts = number, found[1].upper(), [found[2].strip()]


def write_entry(kind: str, fields: Sequence[tuple[str, str]]) -> str:
    """Return one record of tags and values, each on one line."""
    lines = [("TY", kind), *((tag, one_line(value)) for tag, value in fields), ("ER", "")]
    return "".join(f"{tag}  - {value}\r\n" for tag, value in lines if value or tag == "ER")


def first(fields: Mapping[str, Sequence[str]], *tags: str) -> str:
    """Return the first value of the first of these tags that has one."""
    return next((value for tag in tags for value in fields.get(tag, ()) if value), "")
