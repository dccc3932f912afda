"""Full-text search with SQLite's FTS5 or PostgreSQL's text search, and vectors for semantic search.

Migrations make the table `paper_words`, because SQLAlchemy cannot describe it. Triggers fill it
with the papers that are neither withdrawn nor merged. Words are stemmed; accents, hyphens and case
make no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
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
from triage.store.engine.upsert import rows_in
from triage.store.papers import FINDABLE, LISTED
from triage.store.tables import encodings, papers

ANYWHERE: Final = "title abstract authors"
IN_TITLES: Final = "title"
_AUTHORS: Final = "authors"
_CATEGORIES: Final = "categories"
# A word of the title has three times the weight of one in the abstract; categories only filter.
_SQLITE_RANK: Final = "bm25(paper_words, 3.0, 1.0, 1.0, 0.0)"
# For the labels D to A: categories, authors, abstract and title.
_POSTGRES_WEIGHTS: Final = "'{0, 0.33, 0.33, 1}'"
_BY_LOG_OF_LENGTH: Final = 1
_LETTERS: Final = {ANYWHERE: "ABC", IN_TITLES: "A", _AUTHORS: "C", _CATEGORIES: "D"}

_words = table("paper_words", column("rowid"), column("paper_id"), column("words"))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on papers; empty or None is no condition.

    Attributes:
        since, until: the listing dates, both included.
        categories: any of them; `cs` includes all its subcategories.
        sources: any of them.
        author: a name or the end of one; case and accents make no difference.
    """

    since: date | None = None
    until: date | None = None
    categories: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    author: str = ""

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True, slots=True)
class MatchTerms:
    """Terms of a paper: all `required`, none `excluded`, and one of `any_of` or all of `all_of`.

    Attributes:
        columns: where `any_of` and `all_of` are searched, `ANYWHERE` or `IN_TITLES`.
    """

    any_of: tuple[Term, ...] = ()
    all_of: tuple[Term, ...] = ()
    required: tuple[Term, ...] = ()
    excluded: tuple[Term, ...] = ()
    columns: str = ANYWHERE


def count(conn: Connection, wanted: MatchTerms, at_most: int) -> int:
    """Return how many papers match, at most `at_most`."""
    found = _matching(conn, wanted, Filters()).limit(at_most).subquery()
    return conn.scalar(select(func.count()).select_from(found)) or 0


def find_matching(conn: Connection, wanted: MatchTerms, filters: Filters, n: int) -> list[int]:
    """Return the ids of at most `n` matching papers, in any order."""
    return list(conn.scalars(_matching(conn, wanted, filters).limit(n)))


def has_category(conn: Connection, name: str) -> bool:
    """Return whether a paper has exactly this category; it looks at a few that have its words."""
    ids = find_matching(conn, MatchTerms(), Filters(categories=(name,)), 50)
    found = conn.scalars(select(papers.c.categories).where(papers.c.id.in_(ids)))
    return any(name in categories for categories in found)


def best(
    conn: Connection, wanted: MatchTerms, filters: Filters, n: int, at_most: int | None
) -> list[int]:
    """Return the ids of the `n` best matching papers, best first.

    Args:
        at_most: how many matching papers are ranked, the ones stored last; None ranks all.
    """
    id = _id(conn)
    query = _matching(conn, wanted, filters)
    if at_most is not None:
        limit = conn.scalar(query.order_by(id.desc()).offset(at_most).limit(1))
        if limit is not None:
            query = query.where(id > limit)
    rank = literal_column(_SQLITE_RANK) if _is_sqlite(conn) else _postgres_rank(wanted)
    return list(conn.scalars(query.order_by(rank, id.desc()).limit(n)))


def find_all_matching(conn: Connection, wanted: MatchTerms, filters: Filters) -> I64:
    """Return the ids of all matching papers as int64, ascending."""
    query = _matching(conn, wanted, filters)
    if wanted == MatchTerms() and not (filters.author or filters.categories):
        # These conditions do not need the index.
        query = select(papers.c.id).where(*_findable(filters))
    return np.array(sorted(conn.scalars(query)), dtype=np.int64)


def findable(conn: Connection, ids: Collection[int]) -> set[int]:
    """Return those of `ids` that are neither withdrawn nor merged into another paper."""
    query = select(papers.c.id).where(FINDABLE)
    return {id for (id,) in rows_in(conn, query, papers.c.id, ids)}


def hidden(conn: Connection, ids: Collection[int]) -> set[int]:
    """Return those of `ids` that are withdrawn or merged into another paper."""
    query = select(papers.c.id).where(not_(FINDABLE))
    return {id for (id,) in rows_in(conn, query, papers.c.id, ids)}


def sources(conn: Connection) -> list[str]:
    """Return the names of all sources of papers, sorted; this reads all papers."""
    return list(conn.scalars(select(papers.c.source).distinct().order_by(papers.c.source)))


def newest(conn: Connection, filters: Filters, n: int) -> list[int]:
    """Return the ids of the `n` newest listed papers that pass the filters, newest first."""
    query = select(papers.c.id).where(*_findable(filters))
    if filters.author or filters.categories:
        query = query.where(papers.c.id.in_(_matching(conn, MatchTerms(), filters)))
    order = (papers.c.listed_on.desc(), papers.c.id.desc())
    return list(conn.scalars(query.order_by(*order).limit(n)))


def newest_matching(
    conn: Connection, wanted: MatchTerms, filters: Filters, n: int
) -> list[tuple[int, datetime]]:
    """Return at most `n` of the newest papers of lists that match, newest first.

    Each is a pair of its id and when it was first stored.
    """
    query = (
        select(papers.c.id, papers.c.first_seen_at)
        .where(LISTED, *_findable(filters), papers.c.id.in_(_matching(conn, wanted, filters)))
        .order_by(papers.c.listed_on.desc(), papers.c.id.desc())
        .limit(n)
    )
    return [(id, at) for id, at in conn.execute(query)]


def vectors(conn: Connection, encoder_version: str, after: int, n: int) -> tuple[I64, F32]:
    """Return ids above `after` and their vectors: int64 (m,), ascending, and float32 (m, s).

    m is at most `n`; without vectors the second array is (0, 0).
    """
    query = (
        select(encodings.c.paper_id, encodings.c.semantic)
        .where(encodings.c.encoder_version == encoder_version, encodings.c.paper_id > after)
        .order_by(encodings.c.paper_id)
        .limit(n)
    )
    rows = conn.execute(query).all()
    ids = np.array([row.paper_id for row in rows], dtype=np.int64)
    flat = np.frombuffer(b"".join(row.semantic for row in rows), dtype="<f2").astype(np.float32)
    return ids, flat.reshape(len(ids), -1) if len(ids) else flat.reshape(0, 0)


def count_vectors(conn: Connection, encoder_version: str, after: int) -> int:
    """Return how many papers with ids above `after` have a vector."""
    query = select(func.count()).select_from(encodings)
    above = encodings.c.paper_id > after
    return conn.scalar(query.where(encodings.c.encoder_version == encoder_version, above)) or 0


# -- conditions ------------------------------------------------------------------------------------


def _is_sqlite(conn: Connection) -> bool:
    return conn.dialect.name == "sqlite"


def _id(conn: Connection) -> ColumnElement[Any]:
    return _words.c.rowid if _is_sqlite(conn) else _words.c.paper_id


def _findable(filters: Filters) -> list[ColumnElement[bool]]:
    """Return the conditions on columns of `papers`; the index has authors and categories."""
    found: list[ColumnElement[bool]] = [FINDABLE]
    if filters.since is not None:
        found.append(papers.c.listed_on >= filters.since)
    if filters.until is not None:
        found.append(papers.c.listed_on <= filters.until)
    if filters.sources:
        found.append(papers.c.source.in_(filters.sources))
    return found


def _matching(conn: Connection, wanted: MatchTerms, filters: Filters) -> Select[Any]:
    id = _id(conn)
    condition = _sqlite_condition if _is_sqlite(conn) else _postgres_condition
    matches = false() if _is_unmatchable(filters) else condition(wanted, filters)
    query = select(id).select_from(_words).where(matches)
    if filters.since is not None or filters.until is not None or filters.sources:
        # With EXISTS, SQLite searches the index first and then looks up the papers.
        query = query.where(exists().where(papers.c.id == id, *_findable(filters)))
    return query


def _combined(
    wanted: MatchTerms,
    filters: Filters,
    leaf: Callable[[str, Term], T],
    all_: Callable[[list[T]], T],
    any_: Callable[[list[T]], T],
) -> T | None:
    """Return the condition in the query language of an index; None if there is none."""
    either = [leaf(wanted.columns, term) for term in wanted.any_of]
    if wanted.all_of:
        either.append(all_([leaf(wanted.columns, term) for term in wanted.all_of]))
    parts = [any_(either)] if either else []
    parts += [leaf(ANYWHERE, term) for term in wanted.required]
    if filters.author:
        name = words_of(filters.author)
        # Some sources write the last name first.
        parts.append(any_([leaf(_AUTHORS, name), leaf(_AUTHORS, name[-1:] + name[:-1])]))
    if filters.categories:
        parts.append(any_([leaf(_CATEGORIES, words_of(each)) for each in filters.categories]))
    return all_(parts) if parts else None


def _is_unmatchable(filters: Filters) -> bool:
    """Return whether a filter has no word, so that no paper can pass it."""
    return any(not words_of(each) for each in filters.categories) or (
        bool(filters.author) and not words_of(filters.author)
    )


def _sqlite_condition(wanted: MatchTerms, filters: Filters) -> ColumnElement[bool]:
    """Return a condition in FTS5's query syntax (sqlite.org/fts5.html, section 3)."""

    def leaf(columns: str, term: Term) -> str:
        return f'{{{columns}}} : "{" ".join(term)}"'

    def any_(parts: list[str]) -> str:
        return f"({' OR '.join(parts)})"

    def matches(query: str) -> ColumnElement[bool]:
        return literal_column("paper_words").op("MATCH", is_comparison=True)(query)

    # AND binds more tightly than OR.
    query = _combined(wanted, filters, leaf, " AND ".join, any_)
    found = [] if query is None else [matches(query)]
    if wanted.excluded:
        unwanted = any_([leaf(ANYWHERE, term) for term in wanted.excluded])
        found.append(_words.c.rowid.not_in(select(_words.c.rowid).where(matches(unwanted))))
    return and_(True, *found)


def _postgres_condition(wanted: MatchTerms, filters: Filters) -> ColumnElement[bool]:
    query = _combined(wanted, filters, _postgres_leaf, _postgres_all, _postgres_any)
    found = [] if query is None else [_postgres_matches(query)]
    found += [not_(_postgres_matches(_postgres_leaf(ANYWHERE, each))) for each in wanted.excluded]
    return and_(True, *found)


def _postgres_matches(query: ColumnElement[Any]) -> ColumnElement[bool]:
    return _words.c.words.op("@@", is_comparison=True)(query)


def _postgres_rank(wanted: MatchTerms) -> ColumnElement[Any]:
    """Return a rank: the number of matching parts, then PostgreSQL's rank.

    PostgreSQL's rank alone (manual, section 12.3.3) counts the words of a phrase at any place.
    """
    parts = [_postgres_leaf(wanted.columns, term) for term in wanted.any_of]
    if wanted.all_of:
        each = [_postgres_leaf(wanted.columns, term) for term in wanted.all_of]
        parts.append(_postgres_all(each))
    parts = parts or [_postgres_leaf(ANYWHERE, term) for term in wanted.required]
    matches = [cast(_postgres_matches(part), Integer) for part in parts]
    weights: ColumnElement[Any] = literal_column(_POSTGRES_WEIGHTS)
    rank = func.ts_rank(weights, _words.c.words, _postgres_any(parts), _BY_LOG_OF_LENGTH)
    return sum(matches, rank).desc()


def _postgres_leaf(columns: str, term: Term) -> ColumnElement[Any]:
    """Return a query for a phrase; texts are indexed as English, names and categories unstemmed."""
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
