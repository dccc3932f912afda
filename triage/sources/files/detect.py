"""Chooses the parser of a file, by its content, or by its name if the content is not enough."""

from __future__ import annotations

import itertools
from datetime import date
from pathlib import Path

from triage.domain.paper_ids import identify
from triage.domain.protocols import Source
from triage.errors import SourceError
from triage.sources.files import reading
from triage.sources.files.hf_page import ListingPage, skip_header
from triage.sources.files.id_list import IdList, split_words
from triage.sources.files.json_lines import JsonLines

_ACCEPTED = (
    "Accepted are JSON Lines or a JSON list of papers (also as .gz or .zip), Hugging Face Daily "
    "Papers pages saved as plain text, and lists of arXiv ids, arxiv.org links or DOIs."
)
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


def open_source(path: Path, imported_on: date) -> Source:
    """Return the source that reads `path`; papers without a date are listed on `imported_on`.

    Raises:
        SourceError: the file cannot be read or has none of the accepted formats.
    """
    if not path.exists():
        raise SourceError(f"{path.name} does not exist. Check the path.")
    if path.is_dir():
        raise SourceError(f"{path.name} is a folder. Name the files in it.")
    if path.name.lower().endswith(_JSON_SUFFIXES):
        return JsonLines(path, imported_on)
    head = [line for _, line in itertools.islice(reading.numbered_lines(path), 60) if line.strip()]
    if not head:
        return IdList(path, imported_on)
    if reading.looks_like_markup(head[0]) or any(b"\0" in line for line in head):
        kind = "a page of markup" if reading.looks_like_markup(head[0]) else "a binary file"
        raise SourceError(f"{path.name} is {kind}. {_ACCEPTED}")
    lines = [(number, reading.decode_line(line)) for number, line in enumerate(head, 1)]
    if lines[0][1].startswith("{") or reading.begins_json_list(head[0]):
        return JsonLines(path, imported_on)
    candidates = [word for _, line in lines for word in split_words(line[:10_000])]
    n_ids = sum(identify(word) is not None for word in candidates)
    if n_ids and 2 * n_ids >= len(candidates):
        return IdList(path, imported_on)
    try:
        skip_header(lines, path.name)
    except SourceError as error:
        raise SourceError(f"{path.name} is no file of papers. {_ACCEPTED}") from error
    return ListingPage(path, imported_on)
