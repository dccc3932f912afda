"""Works: their records, outside ids and blocking keys, and which papers were merged or split.

A row of `papers` has one outside id, or one title if its records have no id. The rows of one work
stay separate rows with equal columns. All but the first have `merged_into`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, and_, bindparam, delete, insert, select, update

from triage.domain.chunks import group
from triage.domain.plain_text import storable
from triage.domain.source_records import FetchedPaper
from triage.store.engine.upsert import insert_missing, rows_in, split_values
from triage.store.papers import WORK, Key, find
from triage.store.tables import blocking_keys, paper_ids, paper_records, papers, work_splits

# Facts that may differ from day to day, although the record is the same.
_VARIABLE: Final = ("upvotes", "citations", "links", "update_only", "named")
_IN_COLUMNS: Final = ("source", "source_id", "version", "listed_on", "raw_title", "raw_abstract")
_FACTS: Final = tuple(each.name for each in fields(FetchedPaper) if each.name not in _IN_COLUMNS)
_DEFAULTS: Final = {each.name: each.default for each in fields(FetchedPaper)}
_LISTS: Final = ("authors", "categories", "links")
# For the drivers: each paper has about ten, and SQLAlchemy would take longer than the database.
_ADD_BLOCKING_KEYS: Final = {
    "sqlite": "INSERT INTO blocking_keys (key, paper_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
    "postgresql": "INSERT INTO blocking_keys (key, paper_id) VALUES (%s, %s)"
    " ON CONFLICT DO NOTHING",
}

# Built once, because every block of an import runs them.
_one, _other = blocking_keys.alias(), blocking_keys.alias()
_ROWS: BindParameter[int] = bindparam("rows", expanding=True)
_PAIRS: Final = (
    select(_one.c.paper_id, _other.c.paper_id, _one.c.key)
    .join(_other, and_(_other.c.key == _one.c.key, _other.c.paper_id != _one.c.paper_id))
    .where(_one.c.paper_id.in_(_ROWS))
)
_OWN_IDS: Final = (
    select(paper_records.c.paper_id, paper_records.c.source, paper_records.c.source_id)
    .where(paper_records.c.source_id.is_not(None), paper_records.c.paper_id.in_(_ROWS))
    .distinct()
)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """The record of one paper from one origin; `id` is None until it is stored."""

    id: int | None
    paper_id: int
    origin: str
    paper: FetchedPaper
    content_hash: str

    @property
    def key(self) -> tuple[int, str, int, str]:
        """The columns that are unique together."""
        return self.paper_id, self.origin, self.paper.version or 0, self.content_hash


# -- records ---------------------------------------------------------------------------------------


def content_hash(paper: FetchedPaper) -> str:
    """Return the hash of all fields of a record except its counts and its day."""
    parts = [paper.raw_title, paper.raw_abstract, *(["named"] if paper.named else [])]
    parts += [repr(getattr(paper, name)) for name in _FACTS if name not in _VARIABLE]
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def records(conn: Connection, rows: Collection[int]) -> dict[int, list[StoredRecord]]:
    """Return the records of each of these papers, oldest first; papers without any have []."""
    found: dict[int, list[StoredRecord]] = {row: [] for row in rows}
    query = select(paper_records).order_by(paper_records.c.id)
    for row in rows_in(conn, query, paper_records.c.paper_id, rows):
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


def update_counts(conn: Connection, record: StoredRecord) -> None:
    """Update the counts and the day of a stored record."""
    row = _row(record, None)
    change = update(paper_records).filter_by(id=record.id)
    conn.execute(change.values(facts=row["facts"], listed_on=row["listed_on"]))


def _row(record: StoredRecord, at: datetime | None) -> dict[str, Any]:
    paper = record.paper
    defaults = _DEFAULTS | {"title": paper.raw_title, "abstract": paper.raw_abstract}
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
        "facts": {name: value for name, value in facts.items() if value != defaults[name]},
        "content_hash": record.content_hash,
        "received_at": at,
    }


def with_counts(record: StoredRecord, paper: FetchedPaper) -> StoredRecord:
    """Return a record with the larger counts, the earlier day and all links of itself and `paper`.

    It is news if either of them is.
    """
    stored = record.paper
    days = [day for day in (stored.listed_on, paper.listed_on) if day is not None]
    updated = replace(
        stored,
        listed_on=min(days, default=None),
        upvotes=_larger(stored.upvotes, paper.upvotes),
        citations=_larger(stored.citations, paper.citations),
        links=tuple(sorted({*stored.links, *paper.links})),
        update_only=stored.update_only and paper.update_only,
    )
    return replace(record, paper=updated)


def _larger(one: int | None, other: int | None) -> int | None:
    return max((n for n in (one, other) if n is not None), default=None)


# -- ids and blocking keys -------------------------------------------------------------------------


def find_rows(conn: Connection, keys: Collection[Key]) -> dict[Key, int]:
    """Return the row of every known id, also if this row was merged into another."""
    return find(conn, keys, papers.c.id)


def find_own_ids(conn: Connection, rows: Collection[int]) -> dict[int, list[Key]]:
    """Return the ids that the records of each row have as their own; rows without any are left out.

    A row that has only a title is left out, too.
    """
    return group(
        (row, (source, value))
        for some in split_values(rows)
        for row, source, value in conn.execute(_OWN_IDS, {"rows": some})
    )


def move_ids(conn: Connection, moved: Iterable[tuple[Key, int]]) -> None:
    """Move ids to other rows."""
    for (scheme, value), row in moved:
        conn.execute(update(paper_ids).filter_by(scheme=scheme, value=value).values(paper_id=row))


def find_without_ids(conn: Connection, rows: Collection[int]) -> set[int]:
    """Return those of these rows that have only a title: none of their records has an id."""
    of = paper_records.c
    query = select(of.paper_id).where(of.source_id.is_not(None)).distinct()
    return set(rows) - {row.paper_id for row in rows_in(conn, query, of.paper_id, rows)}


def find_by_blocking_keys(conn: Connection, several: Collection[str]) -> dict[str, list[int]]:
    """Return the rows that have each blocking key, oldest first; unknown keys are left out."""
    query = select(blocking_keys.c.key, blocking_keys.c.paper_id).order_by(blocking_keys.c.paper_id)
    return group(rows_in(conn, query, blocking_keys.c.key, several))


def add_blocking_keys(conn: Connection, several: Iterable[tuple[str, int]]) -> None:
    if rows := [(storable(key), row) for key, row in several]:
        conn.exec_driver_sql(_ADD_BLOCKING_KEYS[conn.dialect.name], rows)


def find_pairs_with_common_key(
    conn: Connection, rows: Collection[int]
) -> dict[tuple[int, int], bool]:
    """Return the pairs (smaller id, larger id) of these rows and all that share a key.

    The value says whether the key, or one of several, is an outside id.
    """
    found: dict[tuple[int, int], bool] = {}
    for some in split_values(rows):
        for a, b, key in conn.execute(_PAIRS, {"rows": some}):
            pair = min(a, b), max(a, b)
            found[pair] = key.startswith("#") or found.get(pair, False)
    return found


# -- groups ----------------------------------------------------------------------------------------


def groups(conn: Connection, rows: Collection[int]) -> list[set[int]]:
    """Return the works that these rows belong to, each as the set of all its rows."""
    roots = {root for (root,) in rows_in(conn, select(WORK).distinct(), papers.c.id, rows)}
    found = {root: {root} for root in roots}
    query = select(papers.c.merged_into, papers.c.id)
    for root, row in rows_in(conn, query, papers.c.merged_into, roots):
        found[root].add(row)
    return list(found.values())


def merged(conn: Connection, rows: Collection[int]) -> dict[int, tuple[int, str]]:
    """Return (target row, reason) for each of these rows that was merged into another."""
    query = select(papers.c.id, papers.c.merged_into, papers.c.merged_because)
    query = query.where(papers.c.merged_into.is_not(None))
    return {row: (into, why) for row, into, why in rows_in(conn, query, papers.c.id, rows)}


def columns(conn: Connection, rows: Collection[int]) -> dict[int, dict[str, Any]]:
    """Return all columns of these rows."""
    return {row.id: dict(row._mapping) for row in rows_in(conn, select(papers), papers.c.id, rows)}


def save(conn: Connection, changes: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """Set columns of rows, with one statement for all rows that change the same columns."""
    rows = ((tuple(sorted(fields_)), fields_ | {"row": row}) for row, fields_ in changes)
    for names, several in group(rows).items():
        values: dict[str, Any] = {name: bindparam(name) for name in names}
        conn.execute(update(papers).where(papers.c.id == bindparam("row")).values(values), several)


# -- splits by a person ----------------------------------------------------------------------------


def find_split_pairs(conn: Connection, rows: Collection[int]) -> set[tuple[int, int]]:
    """Return the split pairs, each in both orders, that include one of `rows`."""
    pairs = work_splits.c
    query = select(pairs.paper_id, pairs.other_id)
    found = {
        (one, other)
        for column in (pairs.paper_id, pairs.other_id)
        for one, other in rows_in(conn, query, column, rows)
    }
    return found | {(other, one) for one, other in found}


def add_splits(conn: Connection, row: int, others: Iterable[int], at: datetime) -> None:
    """Store that a row is not the same work as these."""
    pairs = [(min(row, other), max(row, other)) for other in others]
    rows = [{"paper_id": one, "other_id": other, "at": at} for one, other in pairs]
    insert_missing(conn, work_splits, rows)


def delete_splits(conn: Connection, some: Collection[int], others: Collection[int]) -> None:
    """Delete the splits between rows of one set and rows of the other."""
    pairs = work_splits.c
    for one, other in ((some, others), (others, some)):
        both = pairs.paper_id.in_(list(one)), pairs.other_id.in_(list(other))
        conn.execute(delete(work_splits).where(*both))
