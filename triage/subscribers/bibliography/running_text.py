"""Reads lists of ids, links, references and titles, and refuses text that is no list.

Refused are formats of another kind, program code, and prose, where ids are only mentioned: it has
more than 150 words of sentences and more than 100 for each id, or more than 400 between two ids,
as papers have before their references. A line belongs to a sentence if it has more than 40 words,
or if it has no id and begins with a small letter or ends with a comma. A line with the number of a
reference, such as `[12]`, never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from triage.domain.paper_ids import find_ids
from triage.errors import ConfigError

FORMATS: Final = (
    "BibTeX, RIS, PubMed's .nbib, EndNote's XML and .enw, CSL-JSON, Zotero's JSON and CSV,"
    " and lists of ids, links or titles"
)
_BEGINNING: Final = 5_000
_OTHER_KINDS: Final = {
    "a web page": re.compile(r"\A\s*<(?:!--|(?:!doctype html|html|head|body)\b)", re.IGNORECASE),
    "XML of another program": re.compile(r"\A\s*<(?:\?xml|xml|!doctype|records)\b", re.IGNORECASE),
    "LaTeX": re.compile(
        r"^[^\S\n]*\\(?:document(?:class|style)|usepackage|begin\{document\}|section\{)",
        re.MULTILINE,
    ),
    "a plain text of Web of Science": re.compile(r"\AFN (?:Clarivate|Thomson|ISI)\b"),
    "RTF": re.compile(r"\A\s*\{\\rtf"),
    "damaged JSON": re.compile(r"\A\s*(?:\[\s*)?\{\s*\""),
}
_CODE: Final = re.compile(
    r"\s*(?:import [\w.]+|from [\w.]+ import |#include\b|(?:def|class|function) \w+\s*[(:{])"
    r"|.*(?:[{}]|=.*;|\);|\):|\]:)$"
)
_FEWEST_CODE_LINES: Final = 3
_NUMBERED: Final = re.compile(r"[\[(]?\d{1,3}[\]).]")
_MOST_WORDS: Final = 150
_WORDS_PER_ID: Final = 100
_WORDS_BETWEEN_IDS: Final = 400
_LONG_LINE: Final = 40
_LONGEST_TITLE: Final = 500


def read(text: str) -> Iterator[tuple[int, tuple[tuple[str, str], ...], str]]:
    """Yield the number of a line with one id, each id once, or with the title that it is.

    Raises:
        ConfigError: the text is no list.
    """
    for kind, beginning in _OTHER_KINDS.items():
        if beginning.search(text[:_BEGINNING]):
            raise _refusal(kind)
    lines = [
        (number, line, find_ids(line))
        for number, raw in enumerate(re.split(r"\r\n|\n|\r", text), 1)
        if (line := " ".join(raw.split()))
    ]
    n_code_lines = sum(_CODE.match(line) is not None for _, line, _ in lines)
    if n_code_lines >= max(_FEWEST_CODE_LINES, len(lines) / 20):
        raise _refusal("program code")
    if _is_prose([(line, ids) for _, line, ids in lines]):
        raise _refusal("running text that mentions papers and does not list them")
    seen = set()
    for number, line, ids in lines:
        for id in ids:
            if id not in seen:
                seen.add(id)
                yield number, (id,), ""
        if not ids and not line.startswith("#"):
            yield number, (), line[:_LONGEST_TITLE]


def _is_prose(lines: list[tuple[str, list[tuple[str, str]]]]) -> bool:
    seen: set[tuple[str, str]] = set()
    n_words, most_between, before = 0, 0, 0
    for line, ids in lines:
        if not seen.issuperset(ids):
            seen.update(ids)
            before = n_words
        n_words += _n_words_of_prose(line, bool(ids))
        most_between = max(most_between, n_words - before)
    per_id = n_words / max(len(seen), 1)
    return n_words > _MOST_WORDS and (per_id > _WORDS_PER_ID or most_between > _WORDS_BETWEEN_IDS)


def _n_words_of_prose(line: str, has_id: bool) -> int:
    n_words = len(line.split())
    goes_on = not has_id and (line[0].islower() or line[-1] == ",")
    return n_words if (goes_on or n_words > _LONG_LINE) and not _NUMBERED.match(line) else 0


def _refusal(kind: str) -> ConfigError:
    return ConfigError(f"this seems to be {kind}: give one of {FORMATS}")
