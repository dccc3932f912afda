"""Stores what a source returns: records, papers and works.

    source.fetch → prepared records, without the database
                 → the row of each id → records → linked works → columns: a transaction for some
                 → cursor and days: the last transaction of a batch

A work is computed from all its records, so their order has no effect, and the same records again
change nothing. So a batch is stored in short transactions, other writers do not wait long, and an
interrupted batch is read again. A live source that fails does not stop the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from hashlib import blake2b
from typing import Any

import structlog

from triage import store
from triage.domain.chunks import TimedChunks
from triage.domain.protocols import Clock, Progress, Source, silent
from triage.domain.source_records import Batch, FetchedPaper, PaperId
from triage.errors import DatabaseError, SourceError
from triage.papers import deduplicate
from triage.papers.merge_records import merge_records
from triage.papers.record_matching import RecordTraits, title_blocking_key
from triage.store import Connection, Database
from triage.store.papers import Key
from triage.store.works import StoredRecord

log = structlog.get_logger()

# Most blocks of papers take as long; on a busy machine a few take twice as long.
_BLOCK_S = 0.05


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Counts of a source's records: `read` is the sum of the others.

    `unknown` are the ids of papers that are not stored, which a source only names.
    """

    read: int = 0
    stored: int = 0
    known: int = 0
    quarantined: int = 0
    unknown: tuple[PaperId, ...] = ()

    def __add__(self, other: IngestReport) -> IngestReport:
        pairs = [(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)]
        return IngestReport(*(one + another for one, another in pairs))

    def __str__(self) -> str:
        waiting = f", waiting {len(self.unknown)}" if self.unknown else ""
        return (
            f"read {self.read}, stored {self.stored}, known {self.known},"
            f" quarantined {self.quarantined}{waiting}"
        )


class PaperList:
    """Papers at hand, as a source."""

    def __init__(self, name: str, papers: Sequence[FetchedPaper]) -> None:
        self.name = name
        self._papers = tuple(papers)

    def fetch(self, cursor: str | None) -> Iterator[Batch]:  # noqa: ARG002  (it has none)
        if self._papers:
            yield Batch(papers=self._papers)


def fetch(
    database: Database, sources: Sequence[Source], clock: Clock, progress: Progress = silent
) -> list[str]:
    """Read every source from its cursor on, and store it; return the errors in words."""
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
            # A reply that breaks a parser must not stop the digests.
            log.exception("source broken", source=source.name)
            problems.append(f"source {source.name}: {type(error).__name__}, see the log")
    return problems


def ingest(
    database: Database, source: Source, clock: Clock, *, resume: bool
) -> Iterator[IngestReport]:
    """Store everything that a source returns; the cursor moves after each whole batch.

    Args:
        resume: read from the stored cursor on and move it; else read from the beginning.

    Yields:
        The total after each batch.

    Raises:
        SourceError: the source cannot be read further; earlier records are stored.
    """
    cursor = None
    if resume:
        with database.read() as conn:
            cursor = store.sources.cursor(conn, source.name)
    total = IngestReport()
    timed = TimedChunks(clock, _BLOCK_S)
    for batch in source.fetch(cursor):
        now = clock.now()
        # A new version of a paper that is not stored is left out, unless the paper is in the batch.
        prepared = [_Prepared(paper) for paper in batch.papers]
        coming = {each.identity for each in prepared if not each.paper.update_only}
        for some in timed.split(prepared):
            with database.write() as conn:
                # Other sources may have the same works.
                store.take_turn(conn, store.Turn.PAPERS)
                total += _store_papers(conn, source.name, some, coming, now)
        with database.write() as conn:
            total += _store_rest(conn, source.name, batch, now)
            if resume and batch.cursor is not None:
                store.sources.save_cursor(conn, source.name, batch.cursor, now)
            store.sources.save_days(conn, batch.days, now)
        yield total


def _store_rest(conn: Connection, origin: str, batch: Batch, now: datetime) -> IngestReport:
    """Count the ids of stored papers, and quarantine what cannot be stored."""
    stored = store.papers.find(conn, [(id.source, id.source_id) for id in batch.ids])
    unknown = tuple(id for id in batch.ids if (id.source, id.source_id) not in stored)
    hashed = [(each, _hash(each.raw)) for each in batch.rejected]
    store.sources.keep_rejected(conn, origin, hashed, now)
    n_known, n_rejected = len(batch.ids) - len(unknown), len(batch.rejected)
    return IngestReport(len(batch.ids) + n_rejected, 0, n_known, n_rejected, unknown)


class _Prepared:
    """A record and what can be computed from it alone, before the transaction.

    Attributes:
        identity: what identifies the row of papers.
        keys: every id of the record; none if it has only a title.
    """

    def __init__(self, paper: FetchedPaper) -> None:
        self.paper = paper
        self.traits = RecordTraits(paper)
        self.blocking_keys = self.traits.blocking_keys
        self.content_hash = store.works.content_hash(paper)
        own = None if paper.source_id is None else (paper.source, paper.source_id)
        self.identity: _Identity = own or title_blocking_key(paper.title)
        self.keys: list[Key] = [own] if own else []
        if paper.doi is not None:
            self.keys.append(("doi", paper.doi))


def _store_papers(
    conn: Connection,
    origin: str,
    fetched: Sequence[_Prepared],
    coming: Collection[_Identity],
    now: datetime,
) -> IngestReport:
    """Store records and count the new works and the known ones."""
    rows_of = _RecordRows(conn, fetched)
    fetched = [
        each
        for each in fetched
        if not each.paper.update_only or rows_of.has_id_or_row(each) or each.identity in coming
    ]
    first: dict[_Identity, FetchedPaper] = {}
    for each in fetched:
        if each.identity not in rows_of.rows:
            first.setdefault(each.identity, each.paper)
    new = store.papers.insert_papers(conn, [_columns(paper, now) for paper in first.values()])
    same_id = rows_of.add(dict(zip(first, new, strict=True)))

    pairs = [(rows_of.rows[each.identity], each) for each in fetched]
    fresh = _store_records(conn, origin, pairs, {row for row, _ in pairs} - set(new), now)
    keys = {(key, row) for row, each in fresh for key in each.blocking_keys}
    store.works.add_blocking_keys(conn, sorted(keys))
    store.papers.add_ids(conn, [(key, row) for row, each in fresh for key in each.keys])
    store.works.move_ids(conn, rows_of.moved)
    rows = {row for row, _ in fresh}
    regrouped = deduplicate.link_works(conn, rows, same_id, _traits_of(new, fresh))
    # The row of a new paper with one record has its columns already.
    n_records = Counter(row for row, _ in pairs)
    once = {row for row in new if n_records[row] == 1}
    deduplicate.refresh(conn, regrouped | (rows - once), now)
    n_merged = len(store.works.merged(conn, regrouped.intersection(new)))
    n_stored = len(new) - n_merged
    return IngestReport(len(fetched), n_stored, len(fetched) - n_stored)


def _traits_of(
    rows: Sequence[int], records: Sequence[tuple[int, _Prepared]]
) -> dict[int, list[RecordTraits]]:
    """Return the traits of the records of these rows."""
    traits: dict[int, list[RecordTraits]] = {row: [] for row in rows}
    for row, each in records:
        if row in traits:
            traits[row].append(each.traits)
    return traits


def _store_records(
    conn: Connection,
    origin: str,
    pairs: Sequence[tuple[int, _Prepared]],
    known: Collection[int],
    now: datetime,
) -> list[tuple[int, _Prepared]]:
    """Store new records, and new counts and days of known ones; return all of these."""
    before = store.works.records(conn, known)
    by_key = {each.key: each for several in before.values() for each in several}
    new: dict[_RecordKey, StoredRecord] = {}
    recounted: dict[_RecordKey, StoredRecord] = {}
    changed: dict[_RecordKey, tuple[int, _Prepared]] = {}
    for row, each in pairs:
        record = StoredRecord(None, row, origin, each.paper, each.content_hash)
        key = record.key
        same = new.get(key) or recounted.get(key) or by_key.get(key)
        if same is None:
            new[key] = record
        else:
            counted = store.works.with_counts(same, each.paper)
            if counted == same:
                continue
            (new if same.id is None else recounted)[key] = counted
        changed.setdefault(key, (row, each))
    store.works.add_records(conn, list(new.values()), now)
    for record in recounted.values():
        store.works.update_counts(conn, record)
    return list(changed.values())


_Identity = Key | str
"""What identifies a row of papers: an outside id, or the blocking key of a title."""

_RecordKey = tuple[int, str, int, str]


class _RecordRows:
    """The rows of papers to which the records of a batch belong, by id or by title.

    Attributes:
        rows: by the identity of a record.
        moved: ids that were further ids of another row and now have rows of their own.
    """

    def __init__(self, conn: Connection, fetched: Sequence[_Prepared]) -> None:
        keys = {key for each in fetched for key in each.keys}
        self._known = store.works.find_rows(conn, keys)
        titles = {each.identity for each in fetched if isinstance(each.identity, str)}
        with_title = store.works.find_by_blocking_keys(conn, titles)
        bare = store.works.find_without_ids(
            conn, {row for rows in with_title.values() for row in rows}
        )
        self.rows: dict[_Identity, int] = {
            title: min(bare.intersection(rows))
            for title, rows in with_title.items()
            if not bare.isdisjoint(rows)
        }
        own = {each.identity for each in fetched if isinstance(each.identity, tuple)}
        own &= self._known.keys()
        main = store.works.find_own_ids(conn, {self._known[key] for key in own})
        self.rows |= {
            key: self._known[key] for keys_ in main.values() for key in own.intersection(keys_)
        }
        self.moved: list[tuple[Key, int]] = []

    def has_id_or_row(self, each: _Prepared) -> bool:
        return not self._known.keys().isdisjoint(each.keys) or each.identity in self.rows

    def add(self, new: dict[_Identity, int]) -> dict[tuple[int, int], str]:
        """Add new rows; return pairs (row that had the id, new row) with the id."""
        same_id = {}
        for identity, row in new.items():
            self.rows[identity] = row
            if isinstance(identity, tuple) and identity in self._known:
                self.moved.append((identity, row))
                same_id[self._known[identity], row] = ":".join(identity)
        return same_id


def _columns(paper: FetchedPaper, now: datetime) -> dict[str, Any]:
    assert paper.listed_on is not None  # noqa: S101 - sources give every paper a day
    columns = merge_records([paper])
    withdrawn_at = now if columns.pop("withdrawn") else None
    return columns | {"withdrawn_at": withdrawn_at, "first_seen_at": now, "updated_at": now}


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
