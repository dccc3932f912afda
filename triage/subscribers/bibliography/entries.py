"""Reads the entries of a library, and writes likes for other programs.

Reads BibTeX, RIS, MEDLINE, refer, EndNote's XML, CSL-JSON, Zotero's JSON and CSV, and lists. A text
of no such format is refused; damage in one entry is no error. If an entry has several ids, arXiv
ids come before DOIs, and fields for ids come before other fields.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any, Final

from triage.domain.arxiv_categories import CATEGORIES as ARXIV_CATEGORIES
from triage.domain.paper_ids import find_ids, parse_arxiv, parse_doi, source_name
from triage.domain.paper_links import own_page
from triage.domain.plain_text import one_line
from triage.domain.records import Paper
from triage.sources.text.cleaning import TITLE_CHARS, clean
from triage.sources.text.dates import parse_dates
from triage.sources.text.json import dig
from triage.subscribers.bibliography import bibtex, csv_table, endnote_xml, ris, running_text
from triage.subscribers.bibliography.citation import (
    NameParts,
    citation_keys,
    is_conference,
    published,
    split_name,
)

FORMATS: Final = ("bibtex", "ris", "json", "csv")
MOST_ENTRIES: Final = 20_000
# What a reference manager keeps beside papers.
_NO_PAPERS: Final = ("attachment", "note", "annotation")
_REMARKS_OF_BIBTEX: Final = ("journal", "note", "howpublished", "volume", "number", "publisher")
_REMARKS_OF_RIS: Final = ("AN", "M1", "M3", "N1", "JO", "JF", "T2")
_ID_IN_EXTRA: Final = re.compile(r"^\s*(?:doi|arxiv)\s*:.*", re.MULTILINE | re.IGNORECASE)
_YEAR: Final = re.compile(r"\d{4}")
# OWASP, "CSV Injection": what spreadsheets take for a formula when a cell begins with it.
_FORMULA: Final = re.compile(r"[=+\-@\t\r＝＋－＠]")


@dataclass(frozen=True, slots=True)
class LibraryEntry:
    """One entry: the ids of a paper, and what else the entry says about it.

    Attributes:
        where: its place and key, for people.
        ids: `(source, source_id)`, the likeliest first; none if there is only a title.
        published_on: as far as it is known; the first day of a month or year.
        own: whether the library's owner wrote it.
    """

    where: str
    title: str = ""
    ids: tuple[tuple[str, str], ...] = ()
    authors: tuple[str, ...] = ()
    abstract: str = ""
    published_on: date | None = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class Liked:
    """A paper that a subscriber likes, the time of the like, and its DOI if known."""

    paper: Paper
    at: datetime
    doi: str = ""


def read(text: str) -> list[LibraryEntry]:
    """Return the entries of a text in any of the formats, at most `MOST_ENTRIES`.

    Raises:
        ConfigError: the text has no known format and is no list of references either.
    """
    text = text.removeprefix("\ufeff")
    entries: Iterator[LibraryEntry]
    records = _json(text)
    if records is not None:
        entries = _of_json(records)
    elif endnote_xml.looks_like(text):
        entries = _of_tags("record", enumerate(endnote_xml.read(text), 1))
    elif ris.looks_like(text):
        entries = _of_tags("line", ris.read(text))
    elif bibtex.looks_like(text):
        entries = (_of_bibtex(each) for each in bibtex.read(text))
    elif csv_table.looks_like(text):
        entries = _of_tags("row", enumerate(csv_table.read(text), 1))
    else:
        entries = (
            LibraryEntry(f"line {number}", title, ids)
            for number, ids, title in running_text.read(text)
        )
    return list(islice(entries, MOST_ENTRIES))


def _ids(id_fields: Sequence[str], remarks: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the ids of an entry: from fields for ids, else from any other field."""
    found = dict.fromkeys(id for value in id_fields for id in find_ids(value))
    if not found:
        # A remark may name any paper; one that names several says nothing of this one.
        several = {id for value in remarks for id in find_ids(value)}
        found = dict.fromkeys(several) if len(several) == 1 else {}
    return tuple(sorted(found, key=lambda id: id[0] != "arxiv"))


def _of_bibtex(entry: bibtex.BibtexEntry) -> LibraryEntry:
    fields = entry.fields

    def ids(*names: str) -> list[str]:
        return [bibtex.verbatim(fields[name]) for name in names if name in fields]

    eprint = ids("eprint")
    if fields.get("archiveprefix", fields.get("eprinttype", "arxiv")).strip("{} ").lower() in {
        "jstor", "pubmed", "hdl",
    }:  # fmt: skip
        eprint = []
    on, year, month, day = (
        fields.get(name, "").strip("{} ") for name in ("date", "year", "month", "day")
    )
    year_and_month = f"{year}-{month:0>2}" if month.isdecimal() else f"{day} {month} {year}"
    remarks = [bibtex.plain(fields[n]) for n in _REMARKS_OF_BIBTEX if n in fields]
    return LibraryEntry(
        where=f"line {entry.line}" + (f", {entry.key}" if entry.key else ""),
        title=bibtex.plain(fields.get("title", "")),
        ids=_ids([*eprint, *ids("arxivid", "arxiv", "doi", "url", "ee")], remarks),
        authors=bibtex.names(fields.get("author", "")),
        abstract=bibtex.plain(fields.get("abstract", "")),
        published_on=_month([on, year_and_month]),
    )


def _of_tags(
    place: str, records: Iterable[tuple[int, Mapping[str, Sequence[str]]]]
) -> Iterator[LibraryEntry]:
    for number, fields in records:
        if ris.first(fields, "TY") in _NO_PAPERS:
            continue
        id = ris.first(fields, "ID")
        year = ris.first(fields, "PY", "Y1")
        yield LibraryEntry(
            where=f"{place} {number}" + (f", {id}" if id else ""),
            title=clean(ris.first(fields, "TI", "T1", "CT"), TITLE_CHARS),
            ids=_ids(_all(fields, "DO", "UR", "L1", "L2", "LK"), _all(fields, *_REMARKS_OF_RIS)),
            authors=tuple(
                _first_name_first(name) for name in _all(fields, "AU") or _all(fields, "A1") if name
            ),
            abstract=ris.first(fields, "AB", "N2"),
            published_on=_month(
                [
                    # Some have the day alone.
                    on if _YEAR.search(on) else f"{on} {year}"
                    for on in _all(fields, "DA", "PY", "Y1")
                ]
            ),
        )


def _all(fields: Mapping[str, Sequence[str]], *tags: str) -> list[str]:
    return [value for tag in tags for value in fields.get(tag, ())]


def _first_name_first(name: str) -> str:
    last, first, suffix = [*name.split(",", 2), "", ""][:3]
    return " ".join(f"{first} {last} {suffix}".split())


def _json(text: str) -> list[Any] | None:
    """Return the records of JSON or JSON lines, or None."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        # Not strict: some programs leave control characters in texts.
        data = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        data = _json_lines(text)
    if isinstance(data, dict):
        data = data["items"] if isinstance(data.get("items"), list) else [data]
    return data if isinstance(data, list) else None


def _json_lines(text: str) -> list[Any] | None:
    try:
        # Not `splitlines`, which also splits at characters that may stand in texts.
        lines = [json.loads(line, strict=False) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError):
        return None
    return lines if all(isinstance(line, dict) for line in lines) else None


def _of_json(records: list[Any]) -> Iterator[LibraryEntry]:
    for number, record in enumerate(records, 1):
        if isinstance(record, str):
            record = {"url": record}
        fields = dig(record, dict, "data") or dig(record, dict)
        if fields.get("itemType") not in _NO_PAPERS:
            yield _of_record(fields, number)


def _of_record(fields: Mapping[str, Any], number: int) -> LibraryEntry:
    """Read one record of CSL-JSON or of Zotero; the names of their fields differ a little."""

    def text(*names: str) -> str:
        return next(filter(None, (" ".join(dig(fields, str, name).split()) for name in names)), "")

    authors = [*dig(fields, list, "author"), *dig(fields, list, "creators")]
    key = text("id", "key", "citation-key")
    # Zotero's lines `DOI: …` are for what has no field.
    extra = "\n".join(dig(fields, str, name) for name in ("extra", "note"))
    ids = [text("archiveID", "archive_location"), text("arxivId"), text("DOI"), text("url", "URL")]
    remarks = [extra, text("publicationTitle", "container-title"), text("number")]
    return LibraryEntry(
        where=f"record {number}" + (f", {key[:200]}" if key else ""),
        title=clean(text("title"), TITLE_CHARS),
        ids=_ids(ids, ()) or _ids(_ID_IN_EXTRA.findall(extra), remarks),
        authors=tuple(name for each in authors if (name := _person(each))),
        abstract=text("abstractNote", "abstract"),
        published_on=_month([*_dates_of_csl(fields), text("date", "issued", "year")]),
        own=fields.get("inPublications") is True,
    )


def _dates_of_csl(fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield the forms in which CSL-JSON has a date; the first part of a range counts."""
    issued = dig(fields, dict, "issued")
    yield "-".join(str(part).zfill(2) for part in dig(issued, list, "date-parts", 0) if part)
    yield from (str(issued[name]) for name in ("raw", "literal") if name in issued)


def _person(person: Any) -> str:
    person = dig(person, dict)
    if person.get("creatorType", "author") != "author":
        return ""
    whole = person.get("literal") or person.get("name")
    parts = [person.get("firstName") or person.get("given")]
    parts += [person.get("dropping-particle"), person.get("non-dropping-particle")]
    parts += [person.get("lastName") or person.get("family"), person.get("suffix")]
    return " ".join(" ".join(str(part) for part in ([whole] if whole else parts) if part).split())


def _month(dates: Iterable[str]) -> date | None:
    """Return the first day of the month, or else the year, of the most exact of several dates."""
    ranges = [found for each in dates if each and (found := parse_dates(each)) is not None]
    exact = min(ranges, key=lambda found: found.last - found.first, default=None)
    return exact.first.replace(day=1) if exact else None


# -- out -------------------------------------------------------------------------------------------


def write(likes: Sequence[Liked], form: str, verb: str = "liked") -> str:
    """Return likes as a file in one of `FORMATS`; `json` is CSL-JSON. `read` reads all of them.

    Args:
        verb: what the subscriber did with the papers at their times.

    Raises:
        ValueError: there is no such format.
    """
    if form == "csv":
        return _csv(likes, verb)
    keyed = list(zip(likes, citation_keys([each.paper for each in likes]), strict=True))
    if form == "bibtex":
        return "\n".join(_bibtex(each, key) for each, key in keyed)
    if form == "ris":
        return "".join(_ris(each, key) for each, key in keyed)
    if form == "json":
        records = [_csl(each, key, verb) for each, key in keyed]
        return json.dumps(records, ensure_ascii=False, indent=1) + "\n"
    raise ValueError(f"{form!r} is none of {', '.join(FORMATS)}")


def _doi(liked: Liked) -> str:
    return liked.doi or parse_doi(liked.paper.source_id or "") or ""


def _kind(paper: Paper, journal: str, conference: str, other: str) -> str:
    """Return the one of three types of entries that a paper is."""
    if not paper.venue:
        return other
    return conference if is_conference(paper.venue) else journal


def _server(paper: Paper) -> str:
    """Return the name of the preprint server of a paper that was published nowhere else."""
    is_preprint = paper.source in {"arxiv", "biorxiv", "medrxiv"} and not paper.venue
    return source_name(paper.source) if is_preprint else ""


def _bibtex(liked: Liked, key: str) -> str:
    paper, on = liked.paper, published(liked.paper)
    arxiv = parse_arxiv(paper.source_id or "") if paper.source == "arxiv" else None
    primary = paper.categories[0] if arxiv and paper.categories else ""
    fields = {
        "title": paper.title,
        "year": str(on.year),
        "month": bibtex.MONTHS[on.month - 1] if on.month else "",
        _kind(paper, "journal", "booktitle", "howpublished"): paper.venue
        or ("" if arxiv else _server(paper)),
        "eprint": arxiv[0] if arxiv else "",
        "archivePrefix": "arXiv" if arxiv else "",
        "primaryClass": primary if primary in ARXIV_CATEGORIES else "",
        "doi": _doi(liked),
        "url": own_page(paper),
        "abstract": paper.abstract,
    }
    names = [split_name(name) for name in paper.authors]
    return bibtex.write_entry(_kind(paper, "article", "inproceedings", "misc"), key, names, fields)


def _ris(liked: Liked, key: str) -> str:
    paper, on = liked.paper, published(liked.paper)
    fields = [
        ("ID", key),
        ("TI", paper.title),
        *(("AU", ", ".join(filter(None, split_name(name)))) for name in paper.authors),
        ("PY", str(on.year)),
        ("DA", f"{on.year}/{on.month:02}//" if on.month else ""),
        ("DO", _doi(liked)),
        ("UR", own_page(paper)),
        ("T2", paper.venue),
        ("PB", _server(paper)),
        ("AB", paper.abstract),
    ]
    return ris.write_entry(_kind(paper, "JOUR", "CONF", "UNPB"), fields)


def _csl(liked: Liked, key: str, verb: str) -> dict[str, Any]:
    paper, on = liked.paper, published(liked.paper)
    fields = {
        "id": key,
        "type": _kind(paper, "article-journal", "paper-conference", "article"),
        "title": paper.title,
        "author": [_csl_name(split_name(name)) for name in paper.authors],
        "issued": {"date-parts": [[part for part in on if part]]},
        "container-title": paper.venue,
        "publisher": _server(paper),
        "DOI": _doi(liked),
        "URL": own_page(paper),
        "abstract": paper.abstract,
        "note": f"{verb} {liked.at:%Y-%m-%d}",
    }
    return {name: value for name, value in fields.items() if value}


def _csl_name(name: NameParts) -> dict[str, str]:
    if not name.given:
        return {"literal": name.family}
    return {part: value for part, value in name._asdict().items() if value}


def _csv(likes: Sequence[Liked], verb: str) -> str:
    file = io.StringIO(newline="")
    rows = csv.writer(file)
    rows.writerow([f"{verb}_on", "title", "authors", "date", "venue", "id", "doi", "url"])
    for liked in likes:
        paper = liked.paper
        cells = [
            f"{liked.at:%Y-%m-%d}", paper.title, "; ".join(paper.authors), str(published(paper)),
            paper.venue, paper.source_id or "", _doi(liked), own_page(paper),
        ]  # fmt: skip
        rows.writerow([_cell(each) for each in cells])
    return file.getvalue()


def _cell(text: str) -> str:
    cell = one_line(text)
    return f"'{cell}" if _FORMULA.match(cell) else cell
