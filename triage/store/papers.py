"""Papers, their outside ids, and the records from each origin.

The rows of one work all have the same columns. The functions here list, find and count only the
row that was not merged into another.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, insert, select

from triage.domain.chunks import group
from triage.domain.paper_ids import identify, title_key
from triage.domain.paper_links import NAMED_LINK
from triage.domain.paper_outcome import DigestFilter
from triage.domain.records import Paper
from triage.store.engine.upsert import insert_missing, rows_in, split_values
from triage.store.tables import paper_ids, paper_records, papers

Key = tuple[str, str]
"""An outside id of a paper as scheme and value: `("arxiv", "2506.01234")`."""

_LONGEST_TEXT = 2000
_IS_ROOT = papers.c.merged_into.is_(None)
FINDABLE = papers.c.withdrawn_at.is_(None) & _IS_ROOT
"""Neither withdrawn nor merged into another paper."""

LISTED = FINDABLE & papers.c.is_listed
"""Of these, the papers of lists; the others are known only because people named them."""

_WHY_NOT_LISTED = case(
    (LISTED, None),
    (~_IS_ROOT, DigestFilter.MERGED),
    (papers.c.withdrawn_at.is_not(None), DigestFilter.WITHDRAWN),
    else_=DigestFilter.UNLISTED,
)

WORK = func.coalesce(papers.c.merged_into, papers.c.id)
"""The id of the row that represents the work of a row."""

_COLUMNS = tuple(papers.c[each.name] for each in fields(Paper))
_BY_ID = select(*_COLUMNS).where(papers.c.id.in_(bindparam("ids", expanding=True)))


_LISTS = [n for n, column in enumerate(_COLUMNS) if column.name in ("authors", "categories")]


def _paper(row: Any) -> Paper:
    """Return the paper of a row that begins with `_COLUMNS`."""
    values = list(row[: len(_COLUMNS)])
    for n in _LISTS:
        values[n] = tuple(values[n])
    return Paper(*values)


def is_same_work(paper_id: int) -> ColumnElement[bool]:
    """Return the condition that a row of `papers` is of the same work as `paper_id`."""
    of = papers.alias().c
    work = select(func.coalesce(of.merged_into, of.id)).where(of.id == paper_id)
    return work.scalar_subquery() == WORK


def find(
    conn: Connection, keys: Collection[Key], target: ColumnElement[int] = WORK
) -> dict[Key, int]:
    """Return the paper id of every known key: that of its work, or another `target`."""
    of = paper_ids.c
    query = select(of.value, target).join(papers, papers.c.id == of.paper_id)
    return {
        (scheme, value): id
        for scheme, several in group(keys).items()
        for value, id in rows_in(conn, query.where(of.scheme == scheme), of.value, several)
    }


def find_titles(conn: Connection, title_keys: Collection[str]) -> dict[str, list[int]]:
    """Return the papers with each normalised title, oldest first; unknown titles are left out."""
    query = select(papers.c.title_key, papers.c.id).where(_IS_ROOT).order_by(papers.c.id)
    return group(rows_in(conn, query, papers.c.title_key, title_keys))


def resolve(conn: Connection, text: str) -> int | None:
    """Return the paper that a person or a file names; None if it is not stored.

    `text` may be an arXiv id or DOI, alone or as a link, `scheme:value`, or `title:` and a title.
    """
    return resolve_all(conn, [text]).get(text)


def resolve_row(conn: Connection, text: str) -> int | None:
    """Return what `resolve` does, but for an id of a merged row this row and not its work."""
    keys = keys_meant(text)
    rows = find(conn, keys, papers.c.id)
    return next((rows[key] for key in keys if key in rows), None) or resolve(conn, text)


def resolve_all(conn: Connection, texts: Iterable[str]) -> dict[str, int]:
    """Return the papers that texts name, as in `resolve`; unknown texts are left out."""
    titles: dict[str, str] = {}
    keys: dict[str, list[Key]] = {}
    for text in texts:
        scheme, _, value = text.strip().partition(":")
        if scheme == "title":
            titles[text] = title_key(value[:_LONGEST_TEXT])
        else:
            keys[text] = keys_meant(text)
    by_title = find_titles(conn, set(filter(None, titles.values())))
    by_key = find(conn, {key for several in keys.values() for key in several})
    found = {text: by_title[title][0] for text, title in titles.items() if title in by_title}
    # The likeliest key of each text comes last, and counts.
    meant = ((text, key) for text, several in keys.items() for key in reversed(several))
    return found | {text: by_key[key] for text, key in meant if key in by_key}


def keys_meant(text: str) -> list[Key]:
    """Return the ids that a text may mean, most likely first; see `resolve`."""
    text = text.strip()
    if len(text) > _LONGEST_TEXT:
        return []
    found = identify(text)
    keys = [] if found is None else spellings(found[:2])
    # A scheme may contain a colon, as in `feed:nature:10.1038/…`.
    return keys + [(text[: at.start()], text[at.end() :]) for at in re.finditer(":", text)]


def spellings(key: Key) -> list[Key]:
    """Return the keys under which an id may be stored: the servers of preprints have DOIs, too."""
    scheme, value = key
    schemes = (scheme,) if scheme == "arxiv" else ("doi", "biorxiv", "medrxiv")
    return [(each, value) for each in schemes]


def outside_id(paper: Paper) -> str:
    """Return the text with which `resolve` finds this paper in any database that has it."""
    if paper.source_id is None:
        return f"title:{paper.title}"
    named = identify(paper.source_id)
    is_enough = named is not None and named[1] == paper.source_id
    return paper.source_id if is_enough else f"{paper.source}:{paper.source_id}"


def load(conn: Connection, ids: Collection[int]) -> dict[int, Paper]:
    """Return the stored papers among `ids`."""
    return {
        row.id: _paper(row)
        for some in split_values(ids)
        for row in conn.execute(_BY_ID, {"ids": some})
    }


def withdrawn(conn: Connection, ids: Collection[int]) -> set[int]:
    """Return those of `ids` that were withdrawn."""
    query = select(papers.c.id).where(papers.c.withdrawn_at.is_not(None))
    return {row.id for row in rows_in(conn, query, papers.c.id, ids)}


def listed_between(conn: Connection, first: date, last: date) -> list[Paper]:
    """Return the papers listed from `first` to `last`, both included, that are not withdrawn.

    Papers that people named and no list has had are not among them.
    """
    query = (
        select(*_COLUMNS)
        .where(papers.c.listed_on.between(first, last), LISTED)
        .order_by(papers.c.id)
    )
    return [_paper(row) for row in conn.execute(query)]


def stored_after(conn: Connection, at: datetime, first: date, last: date) -> set[int]:
    """Return the papers listed from `first` to `last` that were stored only after an instant."""
    query = select(papers.c.id).where(
        papers.c.listed_on.between(first, last), papers.c.first_seen_at > at
    )
    return set(conn.scalars(query))


def first_seen(conn: Connection, row: int) -> tuple[datetime, DigestFilter | None]:
    """Return when a row was stored, and the filter that keeps it out of `listed_between`, if any.

    Raises:
        sqlalchemy.exc.NoResultFound: there is no such row.
    """
    query = select(papers.c.first_seen_at, _WHY_NOT_LISTED).where(papers.c.id == row)
    at, why = conn.execute(query).one()
    return at, DigestFilter(why) if why else None


def revised(
    conn: Connection, ids: Collection[int], after: date, until: date
) -> list[tuple[Paper, date]]:
    """Return (paper, day) for last major revisions after one day up to another, newest first."""
    query = select(*_COLUMNS, papers.c.revised_on).where(
        papers.c.revised_on > after, papers.c.revised_on <= until, papers.c.withdrawn_at.is_(None)
    )
    found = [(_paper(row), row.revised_on) for row in rows_in(conn, query, papers.c.id, ids)]
    return sorted(found, key=lambda each: (each[1], each[0].id), reverse=True)


def newest_before(conn: Connection, until: date, n: int) -> list[Paper]:
    """Return the newest `n` papers listed before a day that are not withdrawn, oldest first."""
    query = (
        select(*_COLUMNS)
        .where(papers.c.listed_on < until, FINDABLE)
        .order_by(papers.c.listed_on.desc(), papers.c.id.desc())
        .limit(n)
    )
    return [_paper(row) for row in conn.execute(query)][::-1]


def count_before(conn: Connection, until: date) -> int:
    """Return how many papers were listed before a day."""
    query = select(func.count()).select_from(papers).where(papers.c.listed_on < until, _IS_ROOT)
    return conn.scalar(query) or 0


def counts_by_source(conn: Connection, first: date, last: date) -> dict[str, int]:
    """Return how many papers each source listed from `first` to `last`, most first."""
    n = func.count()
    query = (
        select(papers.c.source, n)
        .where(papers.c.listed_on.between(first, last), LISTED)
        .group_by(papers.c.source)
        .order_by(n.desc(), papers.c.source)
    )
    return dict(iter(conn.execute(query)))


def iterate(conn: Connection) -> Iterator[Paper]:
    """Yield every paper, oldest listing first, without loading all of them into memory."""
    query = select(*_COLUMNS).where(_IS_ROOT).order_by(papers.c.listed_on, papers.c.id)
    # An option of the connection would also apply to later statements.
    with conn.execute(query.execution_options(yield_per=2000)) as rows:
        for row in rows:
            yield _paper(row)


def count(conn: Connection) -> int:
    return conn.scalar(select(func.count()).select_from(papers).where(_IS_ROOT)) or 0


def insert_papers(conn: Connection, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Insert works and return their new ids in the order of `rows`.

    The transaction has the turn of PAPERS.
    """
    if not rows:
        return []
    # As only one transaction inserts papers, the new ids are those after the last one, in order.
    # RETURNING would need a statement for each row to keep this order.
    last = conn.scalar(select(func.max(papers.c.id))) or 0
    conn.execute(insert(papers), list(rows))
    return list(conn.scalars(select(papers.c.id).where(papers.c.id > last).order_by(papers.c.id)))


def add_ids(conn: Connection, rows: Iterable[tuple[Key, int]]) -> None:
    """Add outside ids of papers; an id that exists keeps its paper."""
    insert_missing(
        conn,
        paper_ids,
        [{"scheme": scheme, "value": value, "paper_id": id} for (scheme, value), id in rows],
    )


def records_of(conn: Connection, paper_id: int) -> list[dict[str, Any]]:
    """Return the records of a paper from all origins, oldest first."""
    query = (
        select(paper_records)
        .where(paper_records.c.paper_id == paper_id)
        .order_by(paper_records.c.received_at, paper_records.c.id)
    )
    return [dict(row._mapping) for row in conn.execute(query)]


@dataclass(frozen=True, slots=True)
class StoredTraits:
    """The work of a row, whether it was withdrawn, and its keys as in `keys_of`."""

    paper_id: int
    is_withdrawn: bool
    keys: tuple[Key, ...]


def standing(conn: Connection, id: int) -> StoredTraits | None:
    """Return the work of a row; None if there is no such row."""
    work = conn.scalar(select(WORK).where(papers.c.id == id))
    row = conn.execute(select(papers.c.withdrawn_at).where(papers.c.id == work)).one_or_none()
    if work is None or row is None:
        return None
    return StoredTraits(work, row.withdrawn_at is not None, keys_of(conn, [work])[work])


def keys_of(conn: Connection, works: Collection[int]) -> dict[int, tuple[Key, ...]]:
    """Return the outside ids of each of these works, and the links that sources gave of it.

    The scheme of these is `NAMED_LINK`; a work without any has ().
    """
    # No index has WORK.
    work_of = {id: id for id in works}
    merged = select(papers.c.id, papers.c.merged_into)
    work_of |= {id: work for id, work in rows_in(conn, merged, papers.c.merged_into, works) if work}
    ids = select(paper_ids.c.paper_id, paper_ids.c.scheme, paper_ids.c.value)
    facts = select(paper_records.c.paper_id, paper_records.c.facts)
    found: dict[int, set[Key]] = {work: set() for work in works}
    for row, scheme, value in rows_in(conn, ids, paper_ids.c.paper_id, work_of):
        found[work_of[row]].add((scheme, value))
    for row, said in rows_in(conn, facts, paper_records.c.paper_id, work_of):
        found[work_of[row]].update((NAMED_LINK, address) for address in said.get("links", ()))
    return {work: tuple(sorted(keys)) for work, keys in found.items()}


def dois(conn: Connection, ids: Collection[int]) -> dict[int, str]:
    """Return the first DOI of each of these works; works without a DOI are left out.

    arXiv's own DOIs do not count, since they say no more than its ids.
    """
    query = (
        select(WORK, func.min(paper_ids.c.value))
        .join(papers, papers.c.id == paper_ids.c.paper_id)
        .where(paper_ids.c.scheme == "doi", paper_ids.c.value.not_like("10.48550/arxiv.%"))
        .group_by(WORK)
    )
    return dict(iter(rows_in(conn, query, WORK, ids)))
