"""Papers: works, the ids they are known under, and what each origin said of them.

Rows that turned out to be one work all hold its columns; what is listed, found or counted here is
the one among them that was merged into no other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select

from triage.domain.paper_ids import identify, title_key
from triage.domain.records import Paper
from triage.store.engine.upsert import chunks, insert_missing
from triage.store.tables import paper_ids, paper_records, papers

Key = tuple[str, str]
"""A scheme and a value under which a paper is known outside: `("arxiv", "2506.01234")`."""

_LONGEST_TEXT = 2000
_STANDS = papers.c.merged_into.is_(None)
FINDABLE = papers.c.withdrawn_at.is_(None) & _STANDS
"""Neither withdrawn nor merged into others."""

WORK = func.coalesce(papers.c.merged_into, papers.c.id)
"""The row that stands for the work of a row."""

_COLUMNS = tuple(papers.c[each.name] for each in fields(Paper))
_BY_ID = select(*_COLUMNS).where(papers.c.id.in_(bindparam("ids", expanding=True)))


def _paper(row: Any) -> Paper:
    return _from(dict(row._mapping))


def _from(fields: dict[str, Any]) -> Paper:
    fields["authors"] = tuple(fields["authors"])
    fields["categories"] = tuple(fields["categories"])
    return Paper(**fields)


def by_scheme(keys: Iterable[Key]) -> Iterator[tuple[str, list[str]]]:
    """Yield each scheme with its values, in as many pieces as statements need."""
    values: dict[str, list[str]] = {}
    for scheme, value in keys:
        values.setdefault(scheme, []).append(value)
    for scheme, several in values.items():
        for some in chunks(several):
            yield scheme, some


def find(conn: Connection, keys: Collection[Key]) -> dict[Key, int]:
    """Return the paper id of every key that is known."""
    found: dict[Key, int] = {}
    for scheme, some in by_scheme(keys):
        query = (
            select(paper_ids.c.value, WORK)
            .join(papers, papers.c.id == paper_ids.c.paper_id)
            .where(paper_ids.c.scheme == scheme, paper_ids.c.value.in_(some))
        )
        found.update({(scheme, value): id for value, id in conn.execute(query)})
    return found


def find_titles(conn: Connection, title_keys: Collection[str]) -> dict[str, int]:
    """Return, for each normalised title that is stored, the first paper that bears it."""
    found: dict[str, int] = {}
    for some in chunks(title_keys):
        query = (
            select(papers.c.title_key, func.min(papers.c.id))
            .where(papers.c.title_key.in_(some), _STANDS)
            .group_by(papers.c.title_key)
        )
        found.update(iter(conn.execute(query)))
    return found


def resolve(conn: Connection, text: str) -> int | None:
    """Return the paper that a person or a file means, in any spelling `outside_id` or a link has.

    Understood are arXiv ids and DOIs, bare or as links, `scheme:value`, and `title:` with a title.
    """
    scheme, _, value = text.strip().partition(":")
    if scheme == "title":
        title = title_key(value[:_LONGEST_TEXT])
        return find_titles(conn, [title]).get(title) if title else None
    keys = keys_meant(text)
    known = find(conn, keys)
    return next((known[key] for key in keys if key in known), None)


def keys_meant(text: str) -> list[Key]:
    """Return the ids that a text may mean, the likeliest first; see `resolve`."""
    text = text.strip()
    if len(text) > _LONGEST_TEXT:
        return []
    keys: list[Key] = []
    found = identify(text)
    if found is not None:
        schemes = ("doi", "biorxiv", "medrxiv") if found[0] == "doi" else (found[0],)
        keys += [(scheme, found[1]) for scheme in schemes]
    # A scheme may hold a colon itself, as in `feed:nature:10.1038/…`.
    return keys + [(text[: at.start()], text[at.end() :]) for at in re.finditer(":", text)]


def outside_id(paper: Paper) -> str:
    """Return the one text by which `resolve` finds this paper in any database that holds it."""
    if paper.source_id is None:
        return f"title:{paper.title}"
    return paper.source_id if identify(paper.source_id) else f"{paper.source}:{paper.source_id}"


def load(conn: Connection, ids: Collection[int]) -> dict[int, Paper]:
    """Return the stored papers among `ids`."""
    found: dict[int, Paper] = {}
    for some in chunks(ids):
        found.update({row.id: _paper(row) for row in conn.execute(_BY_ID, {"ids": some})})
    return found


def listed_between(conn: Connection, first: date, last: date) -> list[Paper]:
    """Return the papers listed from `first` to `last`, both included, that are not withdrawn."""
    query = (
        select(*_COLUMNS)
        .where(papers.c.listed_on.between(first, last), FINDABLE)
        .order_by(papers.c.id)
    )
    return [_paper(row) for row in conn.execute(query)]


def revised(
    conn: Connection, ids: Collection[int], after: date, until: date
) -> list[tuple[Paper, date]]:
    """Return those of these papers whose last major revision is of these days, newest first.

    Args:
        after: the day before the first one.
        until: the last day.
    """
    query = select(*_COLUMNS, papers.c.revised_on).where(
        papers.c.revised_on > after, papers.c.revised_on <= until, papers.c.withdrawn_at.is_(None)
    )
    found = []
    for some in chunks(ids):
        for row in conn.execute(query.where(papers.c.id.in_(some))):
            fields = dict(row._mapping)
            day = fields.pop("revised_on")
            found.append((_from(fields), day))
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
    query = select(func.count()).select_from(papers).where(papers.c.listed_on < until, _STANDS)
    return conn.scalar(query) or 0


def counts_by_source(conn: Connection, first: date, last: date) -> dict[str, int]:
    """Return how many papers each source listed from `first` to `last`, most first."""
    n = func.count()
    query = (
        select(papers.c.source, n)
        .where(papers.c.listed_on.between(first, last), FINDABLE)
        .group_by(papers.c.source)
        .order_by(n.desc(), papers.c.source)
    )
    return dict(iter(conn.execute(query)))


def iterate(conn: Connection) -> Iterator[Paper]:
    """Yield every paper, oldest listing first, without holding all of them in memory."""
    query = select(*_COLUMNS).where(_STANDS).order_by(papers.c.listed_on, papers.c.id)
    # Of the statement, for an option of the connection would stay for all that follows.
    with conn.execute(query.execution_options(yield_per=2000)) as rows:
        for row in rows:
            yield _paper(row)


def count(conn: Connection) -> int:
    return conn.scalar(select(func.count()).select_from(papers).where(_STANDS)) or 0


def insert_papers(conn: Connection, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Insert works and return their new ids in the order of `rows`."""
    if not rows:
        return []
    statement = insert(papers).returning(papers.c.id, sort_by_parameter_order=True)
    return [int(id) for id in conn.scalars(statement, list(rows))]


def add_ids(conn: Connection, rows: Iterable[tuple[Key, int]]) -> None:
    """Say under which ids papers are known; an id that is taken keeps its paper."""
    insert_missing(
        conn,
        paper_ids,
        [{"scheme": scheme, "value": value, "paper_id": id} for (scheme, value), id in rows],
    )


def records_of(conn: Connection, paper_id: int) -> list[dict[str, Any]]:
    """Return what each origin said of a paper, oldest first."""
    query = (
        select(paper_records)
        .where(paper_records.c.paper_id == paper_id)
        .order_by(paper_records.c.received_at, paper_records.c.id)
    )
    return [dict(row._mapping) for row in conn.execute(query)]


@dataclass(frozen=True, slots=True)
class StoredTraits:
    """Where a row stands: for which work, whether that was withdrawn, and all ids of the work."""

    paper_id: int
    is_withdrawn: bool
    keys: tuple[Key, ...]


def standing(conn: Connection, id: int) -> StoredTraits | None:
    """Return what a row stands for; None if there is no such row."""
    work = conn.scalar(select(WORK).where(papers.c.id == id))
    row = conn.execute(select(papers.c.withdrawn_at).where(papers.c.id == work)).one_or_none()
    if work is None or row is None:
        return None
    query = (
        select(paper_ids.c.scheme, paper_ids.c.value)
        .join(papers, papers.c.id == paper_ids.c.paper_id)
        # Not by WORK, which no index holds.
        .where(or_(papers.c.id == work, papers.c.merged_into == work))
        .order_by(paper_ids.c.scheme, paper_ids.c.value)
    )
    keys = tuple((scheme, value) for scheme, value in conn.execute(query))
    return StoredTraits(work, row.withdrawn_at is not None, keys)


def dois(conn: Connection, ids: Collection[int]) -> dict[int, str]:
    """Return the first DOI under which each of these works is known, of those that have one."""
    found: dict[int, str] = {}
    for some in chunks(ids):
        query = (
            select(WORK, func.min(paper_ids.c.value))
            .join(papers, papers.c.id == paper_ids.c.paper_id)
            .where(paper_ids.c.scheme == "doi", WORK.in_(some))
            .group_by(WORK)
        )
        found.update(iter(conn.execute(query)))
    return found
