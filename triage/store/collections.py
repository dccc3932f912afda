"""Collections of saved papers, with names that each subscriber chooses.

A saved search is a collection with a `query`: it holds no papers, and finds them when it is opened.

A paper is saved if it is in a collection. It is stored with the row that was saved, and counts for
the work of this row, as votes do: so a work that is merged or split needs no change here.
"""

from __future__ import annotations

from collections.abc import Collection as Several
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, or_, select, update

from triage.store.engine.upsert import rows_in
from triage.store.papers import WORK, is_same_work
from triage.store.tables import collected_papers, collections, papers, subscribers

DEFAULT_NAME = "Saved"
"""The collection of papers that were saved without the name of another one."""

_MEMBERS = collected_papers.join(collections, collections.c.id == collected_papers.c.collection_id)
_OF_WORK = _MEMBERS.join(papers, papers.c.id == collected_papers.c.paper_id)


@dataclass(frozen=True, slots=True)
class Collection:
    """A subscriber's collection, or a saved search if it has a `query`.

    The `public_id` is for the secret address of its feed.
    """

    id: int
    subscriber_id: int
    name: str
    query: str
    public_id: str
    created_at: datetime

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT_NAME


_COLUMNS = tuple(collections.c[name] for name in Collection.__dataclass_fields__)


def of(conn: Connection, subscriber_id: int) -> list[tuple[Collection, int]]:
    """Return a subscriber's collections and how many papers each has.

    The default comes first, then the others by name, and saved searches last.
    """
    n_papers = func.count(func.distinct(WORK))
    query = (
        select(*_COLUMNS, n_papers)
        .outerjoin(collected_papers, collected_papers.c.collection_id == collections.c.id)
        .outerjoin(papers, papers.c.id == collected_papers.c.paper_id)
        .where(collections.c.subscriber_id == subscriber_id)
        .group_by(*_COLUMNS)
    )
    found = [(Collection(*row[:-1]), row[-1]) for row in conn.execute(query)]
    return sorted(
        found,
        key=lambda pair: (not pair[0].is_default, bool(pair[0].query), pair[0].name.casefold()),
    )


def find(conn: Connection, subscriber_id: int, id: int) -> Collection | None:
    """Return the subscriber's collection with this id; None if they have none."""
    return _one(conn, select(*_COLUMNS).filter_by(subscriber_id=subscriber_id, id=id))


def find_default(conn: Connection, subscriber_id: int) -> Collection | None:
    """Return the default collection of a subscriber; None if nothing was saved into it yet."""
    query = select(*_COLUMNS).filter_by(subscriber_id=subscriber_id, name=DEFAULT_NAME)
    return _one(conn, query)


def find_by_public_ids(
    conn: Connection, subscriber_public_id: str, public_id: str
) -> Collection | None:
    """Return the collection whose feed has this id; None if the subscriber has no such feed."""
    query = select(*_COLUMNS).join(subscribers, subscribers.c.id == collections.c.subscriber_id)
    same = subscribers.c.public_id == subscriber_public_id, collections.c.public_id == public_id
    return _one(conn, query.where(*same))


def _one(conn: Connection, query: Select[*tuple[Any, ...]]) -> Collection | None:
    row = conn.execute(query).one_or_none()
    return Collection(*row) if row else None


def add(
    conn: Connection,
    subscriber_id: int,
    name: str,
    public_id: str,
    at: datetime,
    query: str = "",
) -> int:
    """Store a new collection, or a saved search if it has a query, and return its id.

    Raises:
        sqlalchemy.exc.IntegrityError: the subscriber has a collection with this name.
    """
    row = {"subscriber_id": subscriber_id, "name": name, "public_id": public_id, "created_at": at}
    row["query"] = query
    new = insert(collections).returning(collections.c.id)
    return int(conn.execute(new, row).scalar_one())


def change(conn: Connection, id: int, **values: str) -> None:
    """Set the `name` or the `public_id` of a collection."""
    conn.execute(update(collections).filter_by(id=id).values(values))


def remove(conn: Connection, id: int) -> None:
    """Delete a collection; its papers are no longer in it."""
    conn.execute(delete(collections).where(collections.c.id == id))


def put(conn: Connection, id: int, paper_id: int, at: datetime) -> bool:
    """Add a paper to a collection; return False if its work was in it."""
    query = select(collected_papers.c.paper_id).select_from(_OF_WORK)
    if conn.scalar(query.where(collections.c.id == id, is_same_work(paper_id)).limit(1)):
        return False
    row = {"collection_id": id, "paper_id": paper_id, "added_at": at}
    conn.execute(insert(collected_papers), row)
    return True


def take_out(
    conn: Connection,
    subscriber_id: int,
    paper_ids: Iterable[int],
    *,
    of: int | None = None,
    since: datetime | None = None,
) -> int:
    """Remove the works of papers from a subscriber's collections; return how many rows went.

    Args:
        of: only from the collection with this id.
        since: only if they were added at this time or later.
    """
    query = select(*collected_papers.c["collection_id", "paper_id"]).select_from(_OF_WORK)
    query = query.where(collections.c.subscriber_id == subscriber_id)
    if of is not None:
        query = query.where(collections.c.id == of)
    if since is not None:
        query = query.where(collected_papers.c.added_at >= since)
    same = [is_same_work(paper_id) for paper_id in paper_ids]
    gone = conn.execute(query.where(or_(False, *same))).all()
    for collection_id, paper_id in gone:
        own = collected_papers.c.collection_id == collection_id
        conn.execute(delete(collected_papers).where(own, collected_papers.c.paper_id == paper_id))
    return len(gone)


def holding(conn: Connection, subscriber_id: int, paper_id: int) -> set[int]:
    """Return the ids of the subscriber's collections that have the work of a paper."""
    query = select(collections.c.id).select_from(_OF_WORK)
    same = collections.c.subscriber_id == subscriber_id, is_same_work(paper_id)
    return set(conn.scalars(query.where(*same)))


def saved_among(conn: Connection, subscriber_id: int, paper_ids: Several[int]) -> set[int]:
    """Return those of these works that are in a collection of the subscriber."""
    query = select(WORK).select_from(_OF_WORK).where(collections.c.subscriber_id == subscriber_id)
    return {work for (work,) in rows_in(conn, query, WORK, paper_ids)}


def papers_of(conn: Connection, id: int) -> list[tuple[int, datetime]]:
    """Return the works in a collection and when each was first added, newest first."""
    added_at = func.min(collected_papers.c.added_at)
    query = select(WORK, added_at).select_from(_OF_WORK).where(collections.c.id == id)
    rows = conn.execute(query.group_by(WORK).order_by(added_at.desc(), WORK.desc()))
    return [(work, at) for work, at in rows]


def find_only_in(conn: Connection, collection: Collection) -> dict[int, datetime]:
    """Return the works that no other collection of the subscriber has, and when they were added."""
    here = dict(papers_of(conn, collection.id))
    query = select(WORK).select_from(_OF_WORK).where(collections.c.id != collection.id)
    query = query.where(collections.c.subscriber_id == collection.subscriber_id)
    elsewhere = set(conn.scalars(query))
    return {work: at for work, at in here.items() if work not in elsewhere}


def put_all(conn: Connection, id: int, several: Mapping[int, datetime]) -> None:
    """Add works, with the times, that are in no collection of the subscriber."""
    rows = [{"collection_id": id, "paper_id": work, "added_at": at} for work, at in several.items()]
    if rows:
        conn.execute(insert(collected_papers), rows)
