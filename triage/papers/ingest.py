"""From a source into the database: what was said, of which paper, and what is one work.

    source.fetch → the row of each id → records → linked works → columns: a transaction for a few
                 → cursor and days: the last one of a batch

A work is made of all its records, so it is the same in whatever order they came, and everything
can be repeated: the same records again change nothing. So nobody who votes or sends has to wait
until a batch of a thousand is stored, and one that breaks off is read again. A live source that
fails does not hold up the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import structlog

from triage import store
from triage.domain.chunks import chunks
from triage.domain.protocols import Clock, Progress, Source, silent
from triage.domain.source_records import Batch, FetchedPaper, Rejected
from triage.errors import DatabaseError, SourceError
from triage.papers import deduplicate
from triage.papers.merge_records import merge_records
from triage.papers.record_matching import RecordTraits, title_mark
from triage.store import Database
from triage.store.papers import Key
from triage.store.works import StoredRecord

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = structlog.get_logger()

# All other writers wait while so many papers are stored.
AT_ONCE = 10


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


def fetch(
    database: Database, sources: Sequence[Source], clock: Clock, progress: Progress = silent
) -> list[str]:
    """Go on with every source from where it was read to; return in words what failed."""
    problems = []
    for source in sources:
        log.info("fetch", source=source.name)
        try:
            for report in ingest(database, source, clock, resume=True):
                progress(f"fetch {source.name}", report.read, 0)
        except SourceError as error:
            log.warning("source failed", source=source.name, error=str(error))
            problems.append(f"source {source.name}: {error}")
        except DatabaseError:
            raise
        except Exception as error:
            # An answer that no parser was ready for must not cost the subscribers their digests.
            log.exception("source broken", source=source.name)
            problems.append(f"source {source.name}: {type(error).__name__}, see the log")
    return problems


def ingest(
    database: Database, source: Source, clock: Clock, *, resume: bool
) -> Iterator[IngestReport]:
    """Store everything that a source gives; the cursor moves when a batch is stored whole.

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
        # A new version of a paper that nobody stored is not news, unless the paper comes with it.
        coming = {_identity(paper) for paper in batch.papers if not paper.update_only}
        for some in chunks(batch.papers, AT_ONCE):
            with database.write() as conn:
                total += _store_papers(conn, source.name, some, coming, now)
        with database.write() as conn:
            total += _store_rest(conn, source.name, batch, now)
            if resume and batch.cursor is not None:
                store.sources.save_cursor(conn, source.name, batch.cursor, now)
            store.sources.save_days(conn, batch.days, now)
        yield total


def _store_rest(conn: Connection, origin: str, batch: Batch, now: datetime) -> IngestReport:
    """Count what is known by its id alone, and keep what cannot be stored."""
    ids = store.papers.find(conn, [(id.source, id.source_id) for id in batch.ids])
    rejected = list(batch.rejected)
    for id in batch.ids:
        if (id.source, id.source_id) not in ids:
            reason = "known by its id only: no title and abstract yet"
            rejected.append(Rejected(reason, f"{id.source}:{id.source_id}", id.where))
    hashed = [(record, _hash(record.raw)) for record in rejected]
    store.sources.keep_rejected(conn, origin, hashed, now)
    known = len(batch.ids) - (len(rejected) - len(batch.rejected))
    return IngestReport(known + len(rejected), 0, known, len(rejected))


def _store_papers(
    conn: Connection,
    origin: str,
    fetched: Sequence[FetchedPaper],
    coming: Collection[_Identity],
    now: datetime,
) -> IngestReport:
    """Store records and count of how many works they are the first, and how many are known."""
    homes = _RecordRows(conn, fetched)
    fetched = [
        paper
        for paper in fetched
        if not paper.update_only or homes.knows(paper) or _identity(paper) in coming
    ]
    first: dict[_Identity, FetchedPaper] = {}
    for paper in fetched:
        if homes.of(paper) is None:
            first.setdefault(_identity(paper), paper)
    new = store.papers.insert_papers(conn, [_columns(paper, now) for paper in first.values()])
    told = homes.add(dict(zip(first, new, strict=True)))

    pairs = [(homes.row(paper), paper) for paper in fetched]
    fresh = _keep_records(conn, origin, pairs, {row for row, _ in pairs} - set(new), now)
    marks = {(mark, row) for row, paper in fresh for mark in RecordTraits(paper).blocking_keys}
    store.works.add_marks(conn, sorted(marks))
    store.papers.add_ids(conn, [(key, row) for row, paper in fresh for key in _keys(paper)])
    store.works.take_over(conn, homes.moved)
    rows = {row for row, _ in fresh}
    regrouped = deduplicate.link_works(conn, rows, told)
    # What was said once of a new paper stands in its row already.
    n_said = Counter(row for row, _ in pairs)
    once = {row for row in new if n_said[row] == 1}
    deduplicate.refresh(conn, regrouped | (rows - once), now)
    n_merged = len(store.works.merged(conn, new))
    n_stored = len(new) - n_merged
    return IngestReport(len(fetched), n_stored, len(fetched) - n_stored)


def _keep_records(
    conn: Connection,
    origin: str,
    said: Sequence[tuple[int, FetchedPaper]],
    known: Collection[int],
    now: datetime,
) -> list[tuple[int, FetchedPaper]]:
    """Store what is said for the first time, and return it; of the rest, counts and days."""
    before = store.works.records(conn, known)
    by_key = {each.key: each for several in before.values() for each in several}
    new: dict[tuple[int, str, int, str], StoredRecord] = {}
    recounted: dict[tuple[int, str, int, str], StoredRecord] = {}
    for row, paper in said:
        record = StoredRecord(None, row, origin, paper, store.works.content_hash(paper))
        same = new.get(record.key) or recounted.get(record.key) or by_key.get(record.key)
        if same is None:
            new[record.key] = record
            continue
        counted = store.works.with_counts(same, paper)
        if counted != same:
            (new if same.id is None else recounted)[record.key] = counted
    store.works.add_records(conn, list(new.values()), now)
    for record in recounted.values():
        store.works.recount(conn, record)
    return [(each.paper_id, each.paper) for each in (*new.values(), *recounted.values())]


_Identity = Key | str
"""What a row of papers stands for: an outside id, or the mark of a title."""


def _identity(paper: FetchedPaper) -> _Identity:
    return title_mark(paper.title) if paper.source_id is None else (paper.source, paper.source_id)


def _keys(paper: FetchedPaper) -> list[Key]:
    """Return every id under which a record is known; none if all it has is its title."""
    keys = [] if paper.source_id is None else [(paper.source, paper.source_id)]
    return keys if paper.doi is None else [*keys, ("doi", paper.doi)]


class _RecordRows:
    """Says in which row each record of a batch has its place: that of its id, or of its title.

    Attributes:
        moved: ids that were another row's further ids and now have rows of their own.
    """

    def __init__(self, conn: Connection, fetched: Sequence[FetchedPaper]) -> None:
        keys = {key for paper in fetched for key in _keys(paper)}
        self._known = store.works.homes(conn, keys)
        titles = {title_mark(paper.title) for paper in fetched if paper.source_id is None}
        marked = store.works.marked(conn, titles)
        bare = store.works.nameless(conn, {row for rows in marked.values() for row in rows})
        self._rows: dict[_Identity, int] = {
            title: min(bare.intersection(rows))
            for title, rows in marked.items()
            if not bare.isdisjoint(rows)
        }
        own = {(paper.source, paper.source_id) for paper in fetched if paper.source_id is not None}
        mine = store.works.speaking_for(conn, {self._known[k] for k in own & self._known.keys()})
        self._rows |= {key: self._known[key] for key in own & self._known.keys() & mine}
        self.moved: list[tuple[Key, int]] = []

    def knows(self, paper: FetchedPaper) -> bool:
        return any(key in self._known for key in _keys(paper)) or self.of(paper) is not None

    def of(self, paper: FetchedPaper) -> int | None:
        return self._rows.get(_identity(paper))

    def row(self, paper: FetchedPaper) -> int:
        return self._rows[_identity(paper)]

    def add(self, new: dict[_Identity, int]) -> dict[tuple[int, int], str]:
        """Take in new rows; return the pairs of them and those that had their ids, and which."""
        told = {}
        for identity, row in new.items():
            self._rows[identity] = row
            if isinstance(identity, tuple) and identity in self._known:
                self.moved.append((identity, row))
                told[self._known[identity], row] = ":".join(identity)
        return told


def _columns(paper: FetchedPaper, now: datetime) -> dict[str, Any]:
    assert paper.listed_on is not None  # noqa: S101 - sources give every paper a day
    columns = merge_records([paper])
    withdrawn_at = now if columns.pop("withdrawn") else None
    return columns | {"withdrawn_at": withdrawn_at, "first_seen_at": now, "updated_at": now}


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
