"""Which papers are one work: what they have in common, who was merged into whom, who was parted.

A row of `papers` stands for one outside id, or for one title where a record has no id. Rows that
are one work stay rows: all but the first have `merged_into`, and all hold the same columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, update

from triage.domain.source_records import FetchedPaper
from triage.store.engine.upsert import chunks, insert_missing
from triage.store.papers import WORK, Key, by_scheme
from triage.store.tables import blocking_keys, paper_ids, paper_records, papers, work_splits

# Of the rest of a record, what changes from day to day without being said anew.
_COUNTS: Final = ("upvotes", "citations")
_IN_COLUMNS: Final = ("source", "source_id", "version", "listed_on", "raw_title", "raw_abstract")
_ELSEWHERE: Final = frozenset({*_IN_COLUMNS, "update_only"})
_FACTS: Final = tuple(each.name for each in fields(FetchedPaper) if each.name not in _ELSEWHERE)
_SILENT: Final = {each.name: each.default for each in fields(FetchedPaper)}
_LISTS: Final = ("authors", "categories")


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """What one origin said; `id` is None until it is stored."""

    id: int | None
    paper_id: int
    origin: str
    paper: FetchedPaper
    content_hash: str

    @property
    def key(self) -> tuple[int, str, int, str]:
        """What is stored once."""
        return self.paper_id, self.origin, self.paper.version or 0, self.content_hash


# -- records ---------------------------------------------------------------------------------------


def content_hash(paper: FetchedPaper) -> str:
    """Return what tells two records of one origin apart: all that they say but counts and day."""
    said = [paper.raw_title, paper.raw_abstract]
    said += [repr(getattr(paper, name)) for name in _FACTS if name not in _COUNTS]
    text = "\0".join(said)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def records(conn: Connection, rows: Collection[int]) -> dict[int, list[StoredRecord]]:
    """Return what was said of each of these papers, oldest first; all of them are keys."""
    found: dict[int, list[StoredRecord]] = {row: [] for row in rows}
    for some in chunks(rows):
        query = (
            select(paper_records)
            .where(paper_records.c.paper_id.in_(some))
            .order_by(paper_records.c.id)
        )
        for row in conn.execute(query):
            found[row.paper_id].append(
                StoredRecord(row.id, row.paper_id, row.origin, _paper(row), row.content_hash)
            )
    return found


def _paper(row: Any) -> FetchedPaper:
    facts = {"title": row.raw_title, "abstract": row.raw_abstract} | row.facts
    facts |= {name: tuple(facts[name]) for name in _LISTS if name in facts}
    columns = {name: getattr(row, name) for name in _IN_COLUMNS}
    return FetchedPaper(**(columns | {"version": row.version or None} | facts))


def add_records(conn: Connection, several: Sequence[StoredRecord], at: datetime) -> None:
    if several:
        conn.execute(insert(paper_records), [_row(each, at) for each in several])


def recount(conn: Connection, record: StoredRecord) -> None:
    """Store what a record says now of counts and day."""
    row = _row(record, None)
    conn.execute(
        update(paper_records)
        .where(paper_records.c.id == record.id)
        .values(facts=row["facts"], listed_on=row["listed_on"])
    )


def _row(record: StoredRecord, at: datetime | None) -> dict[str, Any]:
    paper = record.paper
    silent = {"title": paper.raw_title, "abstract": paper.raw_abstract}
    facts = {name: getattr(paper, name) for name in _FACTS}
    return {
        "paper_id": record.paper_id,
        "origin": record.origin,
        "source": paper.source,
        "source_id": paper.source_id,
        "version": paper.version or 0,
        "listed_on": paper.listed_on,
        "raw_title": paper.raw_title,
        "raw_abstract": paper.raw_abstract,
        "facts": {
            name: value
            for name, value in facts.items()
            if value != silent.get(name, _SILENT.get(name))
        },
        "content_hash": record.content_hash,
        "received_at": at,
    }


def with_counts(record: StoredRecord, paper: FetchedPaper) -> StoredRecord:
    """Return a record with the larger counts and the earlier day of itself and of `paper`."""
    told = record.paper
    days = [day for day in (told.listed_on, paper.listed_on) if day is not None]
    counted = replace(
        told,
        listed_on=min(days, default=None),
        upvotes=_larger(told.upvotes, paper.upvotes),
        citations=_larger(told.citations, paper.citations),
    )
    return replace(record, paper=counted)


def _larger(one: int | None, other: int | None) -> int | None:
    return max((n for n in (one, other) if n is not None), default=None)


# -- ids and marks ---------------------------------------------------------------------------------


def homes(conn: Connection, keys: Collection[Key]) -> dict[Key, int]:
    """Return the row of every id that is known, merged or not."""
    found: dict[Key, int] = {}
    for scheme, some in by_scheme(keys):
        query = select(paper_ids.c.value, paper_ids.c.paper_id).where(
            paper_ids.c.scheme == scheme, paper_ids.c.value.in_(some)
        )
        found.update({(scheme, value): row for value, row in conn.execute(query)})
    return found


def speaking_for(conn: Connection, rows: Collection[int]) -> set[Key]:
    """Return the ids that records of these rows bear as their own."""
    found: set[Key] = set()
    for some in chunks(rows):
        query = (
            select(paper_records.c.source, paper_records.c.source_id)
            .where(paper_records.c.paper_id.in_(some), paper_records.c.source_id.is_not(None))
            .distinct()
        )
        found |= {(source, value) for source, value in conn.execute(query)}
    return found


def take_over(conn: Connection, moved: Iterable[tuple[Key, int]]) -> None:
    """Say that ids are those of other rows than before."""
    for (scheme, value), row in moved:
        conn.execute(
            update(paper_ids)
            .where(paper_ids.c.scheme == scheme, paper_ids.c.value == value)
            .values(paper_id=row)
        )


def nameless(conn: Connection, rows: Collection[int]) -> set[int]:
    """Return those of these rows that stand for a title: no record there has an id."""
    found = set(rows)
    for some in chunks(rows):
        query = select(paper_records.c.paper_id).where(
            paper_records.c.paper_id.in_(some), paper_records.c.source_id.is_not(None)
        )
        found -= set(conn.scalars(query.distinct()))
    return found


def marked(conn: Connection, several: Collection[str]) -> dict[str, list[int]]:
    """Return the rows of each mark that any has, the oldest first."""
    found: dict[str, list[int]] = {}
    for some in chunks(several):
        query = select(blocking_keys.c.key, blocking_keys.c.paper_id).where(
            blocking_keys.c.key.in_(some)
        )
        for mark, row in conn.execute(query.order_by(blocking_keys.c.paper_id)):
            found.setdefault(mark, []).append(row)
    return found


def add_marks(conn: Connection, several: Iterable[tuple[str, int]]) -> None:
    insert_missing(conn, blocking_keys, [{"key": mark, "paper_id": row} for mark, row in several])


def sharing_marks(conn: Connection, rows: Collection[int]) -> set[tuple[int, int]]:
    """Return the pairs (lesser id, greater id) of these rows and all that share a mark."""
    found: set[tuple[int, int]] = set()
    one, other = blocking_keys.alias(), blocking_keys.alias()
    for some in chunks(rows):
        query = (
            select(one.c.paper_id, other.c.paper_id)
            .join(other, and_(other.c.key == one.c.key, other.c.paper_id != one.c.paper_id))
            .where(one.c.paper_id.in_(some))
            .distinct()
        )
        found |= {(min(a, b), max(a, b)) for a, b in conn.execute(query)}
    return found


# -- groups ----------------------------------------------------------------------------------------


def groups(conn: Connection, rows: Collection[int]) -> list[set[int]]:
    """Return the works that these rows belong to, each as the set of all its rows."""
    roots: set[int] = set()
    for some in chunks(rows):
        roots |= set(conn.scalars(select(WORK).where(papers.c.id.in_(some)).distinct()))
    found: dict[int, set[int]] = {each: {each} for each in roots}
    for some in chunks(roots):
        query = select(papers.c.merged_into, papers.c.id).where(papers.c.merged_into.in_(some))
        for merged_into, row in conn.execute(query):
            found[merged_into].add(row)
    return list(found.values())


def merged(conn: Connection, rows: Collection[int]) -> dict[int, tuple[int, str]]:
    """Return into which row each of these was merged, and why; those that were not are left out."""
    found: dict[int, tuple[int, str]] = {}
    for some in chunks(rows):
        query = select(papers.c.id, papers.c.merged_into, papers.c.merged_because).where(
            papers.c.id.in_(some), papers.c.merged_into.is_not(None)
        )
        found.update({row: (into, why) for row, into, why in conn.execute(query)})
    return found


def columns(conn: Connection, rows: Collection[int]) -> dict[int, dict[str, Any]]:
    """Return all columns of these rows."""
    found: dict[int, dict[str, Any]] = {}
    for some in chunks(rows):
        query = select(papers).where(papers.c.id.in_(some))
        found.update({row.id: dict(row._mapping) for row in conn.execute(query)})
    return found


def save(conn: Connection, changes: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """Set columns of rows."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row, fields_ in changes:
        alike.setdefault(tuple(sorted(fields_)), []).append(fields_ | {"row": row})
    for names, several in alike.items():
        values: dict[str, Any] = {name: bindparam(name) for name in names}
        conn.execute(update(papers).where(papers.c.id == bindparam("row")).values(values), several)


# -- what a person parted --------------------------------------------------------------------------


def parted(conn: Connection, rows: Collection[int]) -> set[tuple[int, int]]:
    """Return the pairs, each in both orders, of which one is among `rows`."""
    found: set[tuple[int, int]] = set()
    for some in chunks(rows):
        query = select(work_splits.c.paper_id, work_splits.c.other_id).where(
            or_(work_splits.c.paper_id.in_(some), work_splits.c.other_id.in_(some))
        )
        for one, other in conn.execute(query):
            found |= {(one, other), (other, one)}
    return found


def part(conn: Connection, row: int, others: Iterable[int], at: datetime) -> None:
    """Remember that a row is another work than these."""
    pairs = [(min(row, other), max(row, other)) for other in others]
    rows = [{"paper_id": one, "other_id": other, "at": at} for one, other in pairs]
    insert_missing(conn, work_splits, rows)


def unpart(conn: Connection, some: Collection[int], others: Collection[int]) -> None:
    """Forget that rows of the one set were parted from those of the other."""
    one, other = list(some), list(others)
    conn.execute(
        delete(work_splits).where(
            or_(
                and_(work_splits.c.paper_id.in_(one), work_splits.c.other_id.in_(other)),
                and_(work_splits.c.paper_id.in_(other), work_splits.c.other_id.in_(one)),
            )
        )
    )
