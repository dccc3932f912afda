"""Reads the entries of a library, and writes likes for other programs.

Reads BibTeX, RIS, CSL-JSON, Zotero's JSON and plain text. Reading never fails: an entry without a
paper has a reason. If an entry has several ids, arXiv ids come before DOIs, and fields for ids come
before other fields.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from triage.domain.paper_ids import find_ids, parse_doi, upstream_url
from triage.domain.records import Paper
from triage.subscribers.bibliography import bibtex, ris

FORMATS: Final = ("bibtex", "ris", "json", "csv")
MOST_ENTRIES: Final = 20_000
_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()
# What a reference manager keeps beside papers.
_NO_PAPERS: Final = ("attachment", "note", "annotation")
# OWASP, "CSV Injection": what spreadsheets take for a formula when a cell begins with it.
_FORMULA: Final = re.compile(r"[=+\-@\t\r＝＋－＠]")


@dataclass(frozen=True, slots=True)
class LibraryEntry:
    """One entry: the ids of a paper, and what else the entry says about it.

    Attributes:
        where: its place and key, for people.
        ids: `(source, source_id)`, the likeliest first; none if there is only a title.
        published_on: as far as it is known; the first day of a month or year.
    """

    where: str
    title: str = ""
    ids: tuple[tuple[str, str], ...] = ()
    authors: tuple[str, ...] = ()
    abstract: str = ""
    published_on: date | None = None


@dataclass(frozen=True, slots=True)
class Liked:
    """A paper that a subscriber likes, the time of the like, and its DOI if known."""

    paper: Paper
    at: datetime
    doi: str = ""


def read(text: str) -> list[LibraryEntry]:
    """Return the entries of a text in any of the formats, at most `MOST_ENTRIES`."""
    text = text.removeprefix("\ufeff")
    entries: Iterator[LibraryEntry]
    data = _json(text)
    if data is not None:
        entries = _of_json(data)
    elif ris.looks_like(text):
        entries = map(_of_ris, ris.read(text))
    elif bibtex.looks_like(text):
        entries = (_of_bibtex(each) for each in bibtex.read(text))
    else:
        entries = _of_words(text)
    return [entry for _, entry in zip(range(MOST_ENTRIES), entries, strict=False)]


def _ids(made_for_it: Sequence[str], others: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the ids of an entry: from fields for ids, else from any other field."""
    found: dict[tuple[str, str], None] = {}
    for value in made_for_it:
        found.update(dict.fromkeys(find_ids(value)))
    if not found:
        # A remark may name any paper; one that names several says nothing of this one.
        several = {id for value in others for id in find_ids(value)}
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
    remarks = [bibtex.plain(fields[n]) for n in _REMARKS_OF_BIBTEX if n in fields]
    return LibraryEntry(
        where=f"line {entry.line}" + (f", {entry.key}" if entry.key else ""),
        title=bibtex.plain(fields.get("title", "")),
        ids=_ids([*eprint, *ids("arxivid", "arxiv", "doi", "url", "ee")], remarks),
        authors=bibtex.names(fields.get("author", "")),
        abstract=bibtex.plain(fields.get("abstract", "")),
        published_on=_day(
            bibtex.plain(fields.get("year", "") or fields.get("date", "")),
            bibtex.plain(fields.get("month", "")),
        ),
    )


_REMARKS_OF_BIBTEX: Final = ("journal", "note", "howpublished", "volume", "number", "publisher")


def _of_ris(entry: ris.RisEntry) -> LibraryEntry:
    fields = entry.fields
    made_for_it = [value for tag in ("DO", "UR", "L1", "L2", "LK") for value in fields.get(tag, ())]
    remarks = [v for tag in ("AN", "M1", "M3", "N1", "JO", "JF", "T2") for v in fields.get(tag, ())]
    authors = [name for tag in ("AU", "A1") for name in fields.get(tag, ())]
    id = ris.first(fields, "ID")
    year, _, rest = ris.first(fields, "DA", "PY", "Y1").partition("/")
    return LibraryEntry(
        where=f"line {entry.line}" + (f", {id}" if id else ""),
        title=ris.first(fields, "TI", "T1", "CT"),
        ids=_ids(made_for_it, remarks),
        authors=tuple(_first_name_first(name) for name in authors if name),
        abstract=ris.first(fields, "AB", "N2"),
        published_on=_day(year or ris.first(fields, "PY", "Y1"), rest.partition("/")[0]),
    )


def _first_name_first(name: str) -> str:
    last, _, first = name.partition(",")
    return " ".join(f"{first} {last}".split())


def _json(text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _of_json(data: Any) -> Iterator[LibraryEntry]:
    if isinstance(data, dict):
        data = data["items"] if isinstance(data.get("items"), list) else [data]
    for number, record in enumerate(data, 1):
        record = record if isinstance(record, dict) else {}
        inner = record.get("data")
        fields: dict[str, Any] = inner if isinstance(inner, dict) else record
        if fields.get("itemType") not in _NO_PAPERS:
            yield _of_record(fields, number)


def _of_record(fields: Mapping[str, Any], number: int) -> LibraryEntry:
    """Read one record of CSL-JSON or of Zotero; the names of their fields differ a little."""

    def text(*names: str) -> str:
        values = (fields.get(name) for name in names)
        return next((" ".join(v.split()) for v in values if isinstance(v, str) and v.strip()), "")

    people = [fields.get(name) for name in ("author", "creators")]
    authors = [one for several in people if isinstance(several, list) for one in several]
    key = text("id", "key", "citation-key")
    issued = fields.get("issued")
    parts = issued.get("date-parts") if isinstance(issued, dict) else None
    first = parts[0] if isinstance(parts, list) and parts and isinstance(parts[0], list) else []
    year, month = (str(each) for each in (*first, "", "")[:2])
    extra = text("extra", "note")
    remarks = [extra, text("publicationTitle", "container-title"), text("number")]
    ids = [text("archiveID", "archive_location"), text("arxivId"), text("DOI"), text("url", "URL")]
    return LibraryEntry(
        where=f"record {number}" + (f", {key[:200]}" if key else ""),
        title=text("title"),
        ids=_ids(ids, remarks),
        authors=tuple(name for each in authors if (name := _person(each))),
        abstract=text("abstractNote", "abstract"),
        published_on=_day(year or text("date"), month),
    )


def _person(person: object) -> str:
    if not isinstance(person, dict) or person.get("creatorType", "author") != "author":
        return ""
    whole = person.get("literal") or person.get("name")
    parts = [person.get("firstName") or person.get("given")]
    parts += [person.get("lastName") or person.get("family")]
    return " ".join(" ".join(str(part) for part in ([whole] if whole else parts) if part).split())


def _of_words(text: str) -> Iterator[LibraryEntry]:
    """Read plain text: each id is an entry, and each line without an id is one too."""
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        found = find_ids(line)
        for id in found:
            if id not in seen:
                seen.add(id)
                yield LibraryEntry(f"line {number}", ids=(id,))
        if not found and line.strip() and not line.lstrip().startswith("#"):
            yield LibraryEntry(f"line {number}", title=" ".join(line.split())[:500])


def _day(year: str, month: str) -> date | None:
    found = re.search(r"\b(1[89]\d\d|20\d\d)\b(?:-(\d\d))?", year)
    if found is None:
        return None
    name = month.strip().lower()[:3]
    number = int(found[2] or (name if name.isdecimal() and name.isascii() else 0) or 0)
    number = _MONTHS.index(name) + 1 if name in _MONTHS else number
    return date(int(found[1]), number if 1 <= number <= 12 else 1, 1)


# -- out -------------------------------------------------------------------------------------------


def write(likes: Sequence[Liked], form: str) -> str:
    """Return likes as a file in one of `FORMATS`; `json` is CSL-JSON. `read` reads the first three.

    Raises:
        ValueError: there is no such format.
    """
    if form == "bibtex":
        return "\n".join(_bibtex(each) for each in likes)
    if form == "ris":
        return "".join(_ris(each) for each in likes)
    if form == "json":
        return json.dumps([_csl(each) for each in likes], ensure_ascii=False, indent=1) + "\n"
    if form == "csv":
        return _csv(likes)
    raise ValueError(f"{form!r} is none of {', '.join(FORMATS)}")


def _url(paper: Paper) -> str:
    return upstream_url(paper.source, paper.source_id, paper.title)


def _doi(liked: Liked) -> str:
    return liked.doi or (parse_doi(liked.paper.source_id or "") or "")


def _key(paper: Paper) -> str:
    """Return a key that is unique in the file and stays the same in every export."""
    return f"{paper.source}:{paper.source_id}" if paper.source_id else f"triage:{paper.id}"


def _bibtex(liked: Liked) -> str:
    paper = liked.paper
    arxiv = paper.source == "arxiv"
    fields = {
        "title": paper.title,
        "author": "\n".join(paper.authors),
        "year": str(paper.listed_on.year),
        "month": str(paper.listed_on.month),
        "eprint": paper.source_id or "" if arxiv else "",
        "archiveprefix": "arXiv" if arxiv else "",
        "primaryclass": paper.categories[0] if arxiv and paper.categories else "",
        "doi": _doi(liked),
        "url": _url(paper),
        "journal": paper.venue,
        "abstract": paper.abstract,
    }
    return bibtex.write_entry("article" if paper.venue else "misc", _key(paper), fields)


def _ris(liked: Liked) -> str:
    paper = liked.paper
    fields = [
        ("ID", _key(paper)),
        ("TI", paper.title),
        *(("AU", _last_name_first(name)) for name in paper.authors),
        ("PY", str(paper.listed_on.year)),
        ("DA", paper.listed_on.strftime("%Y/%m/%d")),
        ("DO", _doi(liked)),
        ("UR", _url(paper)),
        ("T2", paper.venue),
        ("AB", paper.abstract),
    ]
    return ris.write_entry("JOUR" if paper.venue else "UNPB", fields)


def _last_name_first(name: str) -> str:
    """Return a name in the form of RIS; a name with a comma is unchanged."""
    first, _, last = " ".join(name.split()).rpartition(" ")
    return f"{last}, {first}" if first and "," not in name else name


def _csl(liked: Liked) -> dict[str, Any]:
    paper = liked.paper
    on = paper.listed_on
    fields = {
        "id": _key(paper),
        "type": "article-journal" if paper.venue else "article",
        "title": paper.title,
        "author": [{"literal": name} for name in paper.authors],
        "issued": {"date-parts": [[on.year, on.month, on.day]]},
        "container-title": paper.venue,
        "DOI": _doi(liked),
        "URL": _url(paper),
        "abstract": paper.abstract,
        "note": f"liked {liked.at:%Y-%m-%d}",
    }
    return {name: value for name, value in fields.items() if value}


def _csv(likes: Sequence[Liked]) -> str:
    lines = _Lines()
    rows = csv.writer(lines)
    rows.writerow(["liked_on", "title", "authors", "listed_on", "venue", "id", "doi", "url"])
    for liked in likes:
        paper = liked.paper
        cells = [
            f"{liked.at:%Y-%m-%d}", paper.title, "; ".join(paper.authors),
            paper.listed_on.isoformat(), paper.venue, paper.source_id or "", _doi(liked),
            _url(paper),
        ]  # fmt: skip
        rows.writerow([_cell(each) for each in cells])
    return "".join(lines)


class _Lines(list[str]):
    """A target for the `csv` module that is not a file."""

    write = list.append


def _cell(text: str) -> str:
    one_line = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return f"'{one_line}" if _FORMULA.match(one_line) else one_line
