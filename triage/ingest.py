"""From a source into the database: which work a record is, and what it may change.

    source.fetch → which work? → insert or merge → ids, records and cursor, in one transaction

Everything can be repeated: the same records again change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from triage import store
from triage.identity import title_key
from triage.ports import Clock, Source
from triage.records import Batch, FetchedPaper, Paper, Rejected
from triage.store import Database
from triage.store.papers import Key

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of a source's records: `read` is the sum of the other three."""

    read: int = 0
    stored: int = 0
    known: int = 0
    quarantined: int = 0

    def __add__(self, other: IngestReport) -> IngestReport:
        return IngestReport(
            self.read + other.read,
            self.stored + other.stored,
            self.known + other.known,
            self.quarantined + other.quarantined,
        )

    def __str__(self) -> str:
        return (
            f"read {self.read}, stored {self.stored}, known {self.known},"
            f" quarantined {self.quarantined}"
        )


def ingest(
    database: Database, source: Source, clock: Clock, *, resume: bool
) -> Iterator[IngestReport]:
    """Store everything that a source gives, one transaction a batch.

    Args:
        resume: go on from the stored cursor and move it; else read from the beginning.

    Yields:
        The sum so far after each batch.

    Raises:
        SourceError: the source cannot be read on; what came before is stored.
    """
    cursor = None
    if resume:
        with database.read() as conn:
            cursor = store.sources.cursor(conn, source.name)
    total = IngestReport()
    for batch in source.fetch(cursor):
        now = clock.now()
        with database.write() as conn:
            total += _store_batch(conn, source.name, batch, now)
            if resume and batch.cursor is not None:
                store.sources.save_cursor(conn, source.name, batch.cursor, now)
            store.sources.save_days(conn, batch.days, now)
        yield total


def _store_batch(conn: Connection, origin: str, batch: Batch, now: datetime) -> IngestReport:
    stored, known = _store_papers(conn, origin, batch.papers, now)
    ids = store.papers.find(conn, [(id.source, id.source_id) for id in batch.ids])
    rejected = list(batch.rejected)
    for id in batch.ids:
        if (id.source, id.source_id) not in ids:
            reason = "known by its id only: no title and abstract yet"
            rejected.append(Rejected(reason, f"{id.source}:{id.source_id}", id.where))
    hashed = [(record, _hash(record.raw)) for record in rejected]
    store.sources.keep_rejected(conn, origin, hashed, now)
    known += len(batch.ids) - (len(rejected) - len(batch.rejected))
    return IngestReport(stored + known + len(rejected), stored, known, len(rejected))


def _store_papers(
    conn: Connection, origin: str, fetched: Sequence[FetchedPaper], now: datetime
) -> tuple[int, int]:
    """Store papers and return how many were new and how many known."""
    works = _Works(conn, fetched)
    # A new version of a paper that nobody stored is not news, so it is not counted either.
    fetched = [paper for paper in fetched if not paper.update_only or works.of(paper) is not None]
    new: list[FetchedPaper] = []
    again: list[int] = []
    work_of: list[int] = []
    for i, paper in enumerate(fetched):
        work = works.of(paper)
        if work is None:
            # A work that has no id yet goes by the complement of its place among the new ones.
            work = ~len(new)
            new.append(paper)
            works.add(paper, work)
        else:
            again.append(i)
            works.join(paper, work)
        work_of.append(work)
    inserted = store.papers.insert_papers(conn, [_row(paper, now) for paper in new])
    ids = [inserted[~work] if work < 0 else work for work in work_of]

    _merge(conn, [(ids[i], fetched[i]) for i in again], now)
    pairs = list(zip(fetched, ids, strict=True))
    store.papers.add_ids(conn, [(key, id) for paper, id in pairs for key in _keys(paper)])
    store.papers.add_records(conn, [_record(paper, id, origin, now) for paper, id in pairs])
    return len(new), len(again)


def _keys(paper: FetchedPaper) -> list[Key]:
    """Return every id under which a record is known; none if all it has is its title."""
    keys = [] if paper.source_id is None else [(paper.source, paper.source_id)]
    return keys if paper.doi is None else [*keys, ("doi", paper.doi)]


def _title(paper: FetchedPaper) -> str:
    """Return the title as it is compared; one without letters and digits stands for itself."""
    return title_key(paper.title) or paper.title


class _Works:
    """Says which work each record of a batch belongs to.

    Ids decide. A title decides only where one of the two sides has nothing else: a record without
    an id joins any work of that title, and a record with one joins a work that had only a title.
    """

    def __init__(self, conn: Connection, fetched: Sequence[FetchedPaper]) -> None:
        titles = {_title(paper) for paper in fetched}
        self._by_key = store.papers.find(conn, [key for paper in fetched for key in _keys(paper)])
        self._by_title = store.papers.find_titles(conn, titles)
        self._nameless = store.papers.find_titles(conn, titles, without_id=True)

    def of(self, paper: FetchedPaper) -> int | None:
        keys = _keys(paper)
        for key in keys:
            if key in self._by_key:
                return self._by_key[key]
        return (self._nameless if keys else self._by_title).get(_title(paper))

    def add(self, paper: FetchedPaper, work: int) -> None:
        if not _keys(paper):
            self._nameless[_title(paper)] = work
        self.join(paper, work)

    def join(self, paper: FetchedPaper, work: int) -> None:
        title = _title(paper)
        self._by_title.setdefault(title, work)
        for key in _keys(paper):
            self._by_key[key] = work
            self._nameless.pop(title, None)


def _row(paper: FetchedPaper, now: datetime) -> dict[str, Any]:
    assert paper.listed_on is not None  # noqa: S101 - sources give every paper a day
    return {
        "source": paper.source,
        "source_id": paper.source_id,
        "version": paper.version,
        "title": paper.title,
        "title_key": _title(paper),
        "abstract": paper.abstract,
        "authors": list(paper.authors),
        "categories": list(paper.categories),
        "listed_on": paper.listed_on,
        "comment": paper.comment,
        "upvotes": paper.upvotes,
        "tldr": paper.tldr,
        "first_seen_at": now,
        "updated_at": now,
    }


def _record(paper: FetchedPaper, work: int, origin: str, now: datetime) -> dict[str, Any]:
    return {
        "paper_id": work,
        "origin": origin,
        "source": paper.source,
        "source_id": paper.source_id,
        "version": paper.version or 0,
        "listed_on": paper.listed_on,
        "raw_title": paper.raw_title,
        "raw_abstract": paper.raw_abstract,
        "content_hash": _hash(f"{paper.raw_title}\0{paper.raw_abstract}"),
        "received_at": now,
    }


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _merge(conn: Connection, again: Sequence[tuple[int, FetchedPaper]], now: datetime) -> None:
    stored = store.papers.load(conn, [work for work, _ in again])
    rewritten: set[int] = set()
    for work, paper in again:
        changes = merged(stored[work], paper)
        if not changes:
            continue
        if "title" in changes:
            changes["title_key"] = title_key(changes["title"]) or changes["title"]
        if "title" in changes or "abstract" in changes:
            rewritten.add(work)
        store.papers.update_paper(conn, work, changes | {"updated_at": now})
        stored[work] = store.papers.load(conn, [work])[work]
    store.encodings.forget(conn, rewritten)


def merged(stored: Paper, fetched: FetchedPaper) -> dict[str, Any]:
    """Return the columns of a stored work that a further record of it changes.

    A newer version, or the first record with an id, brings its text and comment; everything else
    only fills gaps, widens the categories, and keeps the most upvotes and the earliest listing day.
    So the same records give the same work in whatever order they come.
    """
    changes: dict[str, Any] = {}
    gains_id = stored.source_id is None and fetched.source_id is not None
    same_id = (stored.source, stored.source_id) == (fetched.source, fetched.source_id)
    if gains_id or (same_id and (fetched.version or 0) > (stored.version or 0)):
        changes |= {
            "source": fetched.source,
            "source_id": fetched.source_id,
            "version": fetched.version,
            "title": fetched.title,
            "abstract": fetched.abstract,
            "authors": list(fetched.authors or stored.authors),
            "comment": fetched.comment,
        }
    else:
        if not stored.authors:
            changes["authors"] = list(fetched.authors)
        if not stored.comment and same_id and fetched.version == stored.version:
            changes["comment"] = fetched.comment
    changes["categories"] = list(dict.fromkeys(stored.categories + fetched.categories))
    if fetched.upvotes is not None:
        changes["upvotes"] = max(stored.upvotes or 0, fetched.upvotes)
    if not stored.tldr:
        changes["tldr"] = fetched.tldr
    if fetched.listed_on is not None:
        changes["listed_on"] = min(stored.listed_on, fetched.listed_on)
    present = {name: _as_column(getattr(stored, name)) for name in changes}
    return {name: value for name, value in changes.items() if value != present[name]}


def _as_column(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
