"""Papers by their words: an index of SQLite's FTS5, or PostgreSQL's text search.

Migrations make `paper_words`, for no table of SQLAlchemy's describes it, and triggers keep in it
the papers that are neither withdrawn nor merged into others. On both, words count by their stems,
and accents, hyphens and case count nothing. Also here: the vectors of papers, for those who look
for meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from typing import Any, Final, TypeVar

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    cast,
    column,
    exists,
    false,
    func,
    literal_column,
    not_,
    select,
    table,
)

from triage.domain.records import F32, I64
from triage.domain.search_query import Term, words_of
from triage.store.engine.upsert import chunks
from triage.store.papers import FINDABLE
from triage.store.tables import encodings, papers

ANYWHERE: Final = "title abstract authors"
IN_TITLES: Final = "title"
_AUTHORS: Final = "authors"
_CATEGORIES: Final = "categories"
# A word of the title says as much as three of the abstract; categories are for filters alone.
_SQLITE_RANK: Final = "bm25(paper_words, 3.0, 1.0, 1.0, 0.0)"
# From D to A, which are categories, authors, abstract and title.
_POSTGRES_WEIGHTS: Final = "'{0, 0.33, 0.33, 1}'"
_BY_LOG_OF_LENGTH: Final = 1
_LETTERS: Final = {ANYWHERE: "ABC", IN_TITLES: "A", _AUTHORS: "C", _CATEGORIES: "D"}

_words = table("paper_words", column("rowid"), column("paper_id"), column("words"))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which papers are looked at; what is empty or None leaves all in.

    Attributes:
        since, until: the listing dates, both included.
        categories: any of them; `cs` is all that begin with it.
        sources: any of them.
        author: a name or the end of one, in any spelling of case and accents.
    """

    since: date | None = None
    until: date | None = None
    categories: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    author: str = ""

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What papers must say: all of `required`, nothing of `excluded`, and then one of two things.

    Attributes:
        any_of: one of these will do,
        all_of: and so will all of these together.
        columns: where both are looked for, `ANYWHERE` or `IN_TITLES`.
    """

    any_of: tuple[Term, ...] = ()
    all_of: tuple[Term, ...] = ()
    required: tuple[Term, ...] = ()
    excluded: tuple[Term, ...] = ()
    columns: str = ANYWHERE


def count(conn: Connection, wanted: Wanted, at_most: int) -> int:
    """Return how many papers say what is wanted, or `at_most`."""
    found = _saying(conn, wanted, Filters()).limit(at_most).subquery()
    return conn.scalar(select(func.count()).select_from(found)) or 0


def saying(conn: Connection, wanted: Wanted, filters: Filters, n: int) -> list[int]:
    """Return at most `n` papers that say what is wanted, in no certain order."""
    return list(conn.scalars(_saying(conn, wanted, filters).limit(n)))


def best(
    conn: Connection, wanted: Wanted, filters: Filters, n: int, at_most: int | None
) -> list[int]:
    """Return the at most `n` papers that say best what is wanted, best first.

    Args:
        at_most: so many are compared: of more, those that were stored last. None: all.
    """
    id = _id(conn)
    query = _saying(conn, wanted, filters)
    if at_most is not None:
        limit = conn.scalar(query.order_by(id.desc()).offset(at_most).limit(1))
        if limit is not None:
            query = query.where(id > limit)
    rank = literal_column(_SQLITE_RANK) if _is_sqlite(conn) else _postgres_rank(wanted)
    return list(conn.scalars(query.order_by(rank, id.desc()).limit(n)))


def among(conn: Connection, wanted: Wanted, filters: Filters) -> I64:
    """Return int64, ascending: all papers that say what is wanted and that the filters leave in."""
    query = _saying(conn, wanted, filters)
    if wanted == Wanted() and not (filters.author or filters.categories):
        # The index has nothing to say to this.
        query = select(papers.c.id).where(*_findable(filters))
    return np.array(sorted(conn.scalars(query)), dtype=np.int64)


def findable(conn: Connection, ids: Collection[int]) -> set[int]:
    """Return those of some papers that are neither withdrawn nor merged into others."""
    query = select(papers.c.id).where(*_findable(Filters()))
    return {id for some in chunks(ids) for id in conn.scalars(query.where(papers.c.id.in_(some)))}


def sources(conn: Connection) -> list[str]:
    """Return the names of all sources that papers have, in order; this reads all papers."""
    return list(conn.scalars(select(papers.c.source).distinct().order_by(papers.c.source)))


def newest(conn: Connection, filters: Filters, n: int) -> list[int]:
    """Return the `n` papers that the filters leave in and that were listed last, newest first."""
    query = select(papers.c.id).where(*_findable(filters))
    if filters.author or filters.categories:
        query = query.where(papers.c.id.in_(_saying(conn, Wanted(), filters)))
    order = (papers.c.listed_on.desc(), papers.c.id.desc())
    return list(conn.scalars(query.order_by(*order).limit(n)))


def vectors(conn: Connection, encoder_version: str, after: int, n: int) -> tuple[I64, F32]:
    """Return the next at most `n` papers above an id, ascending, and what they mean.

    Returns:
        int64 (m,) and float32 (m, s), `Encodings.sense` row by row.
    """
    query = (
        select(encodings.c.paper_id, encodings.c.semantic)
        .where(encodings.c.encoder_version == encoder_version, encodings.c.paper_id > after)
        .order_by(encodings.c.paper_id)
        .limit(n)
    )
    rows = conn.execute(query).all()
    ids = np.array([row.paper_id for row in rows], dtype=np.int64)
    meant = np.frombuffer(b"".join(row.semantic for row in rows), dtype="<f2").astype(np.float32)
    return ids, meant.reshape(len(ids), -1) if len(ids) else meant.reshape(0, 0)


# -- conditions ------------------------------------------------------------------------------------


def _is_sqlite(conn: Connection) -> bool:
    return conn.dialect.name == "sqlite"


def _id(conn: Connection) -> ColumnElement[Any]:
    return _words.c.rowid if _is_sqlite(conn) else _words.c.paper_id


def _findable(filters: Filters) -> list[ColumnElement[bool]]:
    """Return what the columns of a paper must be; names and categories are asked of the index."""
    found: list[ColumnElement[bool]] = [FINDABLE]
    if filters.since is not None:
        found.append(papers.c.listed_on >= filters.since)
    if filters.until is not None:
        found.append(papers.c.listed_on <= filters.until)
    if filters.sources:
        found.append(papers.c.source.in_(filters.sources))
    return found


def _saying(conn: Connection, wanted: Wanted, filters: Filters) -> Select[Any]:
    """Return the statement that gives the ids of the papers that say what is wanted."""
    id = _id(conn)
    says = _sqlite_says if _is_sqlite(conn) else _postgres_says
    said = false() if _wordless(filters) else says(wanted, filters)
    query = select(id).select_from(_words).where(said)
    if filters.since is not None or filters.until is not None or filters.sources:
        # In this form SQLite asks the index first and then looks papers up, not the other way.
        query = query.where(exists().where(papers.c.id == id, *_findable(filters)))
    return query


def _combined(
    wanted: Wanted,
    filters: Filters,
    leaf: Callable[[str, Term], T],
    all_: Callable[[list[T]], T],
    any_: Callable[[list[T]], T],
) -> T | None:
    """Return what must be true in the language of an index; None if everything will do."""
    either = [leaf(wanted.columns, term) for term in wanted.any_of]
    if wanted.all_of:
        either.append(all_([leaf(wanted.columns, term) for term in wanted.all_of]))
    parts = [any_(either)] if either else []
    parts += [leaf(ANYWHERE, term) for term in wanted.required]
    if filters.author:
        name = words_of(filters.author)
        # Some write the last name first.
        parts.append(any_([leaf(_AUTHORS, name), leaf(_AUTHORS, name[-1:] + name[:-1])]))
    if filters.categories:
        parts.append(any_([leaf(_CATEGORIES, words_of(each)) for each in filters.categories]))
    return all_(parts) if parts else None


def _wordless(filters: Filters) -> bool:
    """Tell whether a filter is given that no paper can pass, for it has no word."""
    return any(not words_of(each) for each in filters.categories) or (
        bool(filters.author) and not words_of(filters.author)
    )


def _sqlite_says(wanted: Wanted, filters: Filters) -> ColumnElement[bool]:
    """Return a condition in FTS5's language (sqlite.org/fts5.html, section 3)."""

    def leaf(columns: str, term: Term) -> str:
        return f'{{{columns}}} : "{" ".join(term)}"'

    def all_(parts: list[str]) -> str:
        return f"({' AND '.join(parts)})"

    def any_(parts: list[str]) -> str:
        return f"({' OR '.join(parts)})"

    def matches(said: str) -> ColumnElement[bool]:
        return literal_column("paper_words").op("MATCH", is_comparison=True)(said)

    found = []
    said = _combined(wanted, filters, leaf, all_, any_)
    if said is not None:
        found.append(matches(said))
    if wanted.excluded:
        unwanted = any_([leaf(ANYWHERE, term) for term in wanted.excluded])
        found.append(_words.c.rowid.not_in(select(_words.c.rowid).where(matches(unwanted))))
    return and_(True, *found)


def _postgres_says(wanted: Wanted, filters: Filters) -> ColumnElement[bool]:
    found = []
    said = _combined(wanted, filters, _postgres_leaf, _postgres_all, _postgres_any)
    if said is not None:
        found.append(_words.c.words.op("@@", is_comparison=True)(said))
    if wanted.excluded:
        unwanted = _postgres_any([_postgres_leaf(ANYWHERE, term) for term in wanted.excluded])
        found.append(not_(_words.c.words.op("@@", is_comparison=True)(unwanted)))
    return and_(True, *found)


def _postgres_rank(wanted: Wanted) -> ColumnElement[Any]:
    """Return in how many of its parts a paper says what is wanted, then how well it says it.

    PostgreSQL's own rank (manual, section 12.3.3) counts words of a phrase wherever they stand.
    """
    parts = [_postgres_leaf(wanted.columns, term) for term in wanted.any_of]
    if wanted.all_of:
        each = [_postgres_leaf(wanted.columns, term) for term in wanted.all_of]
        parts.append(_postgres_all(each))
    parts = parts or [_postgres_leaf(ANYWHERE, term) for term in wanted.required]
    said = [cast(_words.c.words.op("@@", is_comparison=True)(part), Integer) for part in parts]
    weights: ColumnElement[Any] = literal_column(_POSTGRES_WEIGHTS)
    rank = func.ts_rank(weights, _words.c.words, _postgres_any(parts), _BY_LOG_OF_LENGTH)
    return sum(said, rank).desc()


def _postgres_leaf(columns: str, term: Term) -> ColumnElement[Any]:
    """Return a phrase as a query: texts were read as English, names and categories as they are."""
    letters = _LETTERS[columns]
    readings = {"english": letters.strip("CD"), "simple": letters.strip("AB")}
    return _postgres_any(
        [
            func.to_tsquery(
                literal_column(f"'pg_catalog.{name}'"),
                " <-> ".join(f"'{word}':{weights}" for word in term),
            )
            for name, weights in readings.items()
            if weights
        ]
    )


def _postgres_all(parts: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    return reduce(lambda one, other: one.op("&&")(other), parts)


def _postgres_any(parts: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    return reduce(lambda one, other: one.op("||")(other), parts)
