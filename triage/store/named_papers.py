"""Papers that people named and that were not stored: what waits, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, or_, select, update

from triage.domain.chunks import group
from triage.domain.source_records import NamedPaper
from triage.store.engine.upsert import insert_missing, rows_in, split_values
from triage.store.papers import Key
from triage.store.tables import named_papers

_column = named_papers.c
_WAITING = _column.paper_id.is_(None)


@dataclass(frozen=True, slots=True)
class StoredName:
    """A paper that one subscriber named, or the operator if `subscriber_id` is None."""

    id: int
    subscriber_id: int | None
    method: str
    named: NamedPaper


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of papers that a subscriber named; `missing` could not be found anywhere."""

    n_found: int
    n_waiting: int
    missing: tuple[NamedPaper, ...]


def add(
    conn: Connection,
    subscriber_id: int | None,
    names: Iterable[NamedPaper],
    method: str,
    at: datetime,
) -> None:
    """Store papers to be fetched; a paper that the same person named before stays as it is."""
    new = {each.key: each for each in names}
    if subscriber_id is None:
        # NULLs are never equal, so the database would store them again and again.
        query = select(_column.scheme, _column.value).where(_column.subscriber_id.is_(None))
        known = {(row.scheme, row.value) for row in conn.execute(query)}
        new = {key: each for key, each in new.items() if key not in known}
    rows = [
        {
            "subscriber_id": subscriber_id,
            "scheme": each.scheme,
            "value": each.value,
            "title": each.title,
            "authors": list(each.authors),
            "method": method,
            "added_at": at,
        }
        for each in new.values()
    ]
    insert_missing(conn, named_papers, rows)


def waiting(conn: Connection, after: int, n: int) -> list[StoredName]:
    """Return at most `n` names with ids above `after` whose paper is not stored yet, by id."""
    query = select(named_papers).where(_WAITING, _column.id > after).order_by(_column.id).limit(n)
    return [
        StoredName(row.id, row.subscriber_id, row.method, _named(row))
        for row in conn.execute(query)
    ]


def to_ask(
    conn: Connection, scheme: str, asked_before: datetime, most_asked: int, n: int
) -> list[NamedPaper]:
    """Return at most `n` papers to ask for, each once, those never asked for first.

    Args:
        asked_before: those that were asked for since then are left out.
        most_asked: those that were asked for this often are left out.
    """
    query = (
        select(_column.scheme, _column.value, _column.title, _column.authors)
        .where(
            _WAITING,
            _column.scheme == scheme,
            _column.n_asked < most_asked,
            or_(_column.asked_at.is_(None), _column.asked_at < asked_before),
        )
        .order_by(_column.n_asked, _column.id)
        .limit(n)
    )
    found: dict[Key, NamedPaper] = {}
    for row in conn.execute(query):
        found.setdefault((row.scheme, row.value), _named(row))
    return list(found.values())


def mark_asked(conn: Connection, keys: Iterable[Key], at: datetime) -> None:
    """Store that a service answered for these papers, whoever named them."""
    change = (
        update(named_papers)
        .where(_WAITING, _column.scheme == bindparam("s"), _column.value == bindparam("v"))
        .values(asked_at=at, n_asked=_column.n_asked + 1)
    )
    # In one order, so that two that store the same do not wait for each other.
    if rows := [{"s": scheme, "v": value} for scheme, value in sorted(keys)]:
        conn.execute(change, rows)


def mark_found(conn: Connection, id: int, paper_id: int) -> bool:
    """Store the paper of a name; return False if the name does not wait for it any more.

    The subscriber is told of it, also if a digest said that it was not found.
    """
    change = update(named_papers).where(_column.id == id, _WAITING)
    return conn.execute(change.values(paper_id=paper_id, told_at=None)).rowcount == 1


def outcome(conn: Connection, subscriber_id: int) -> Outcome:
    """Return what became of the papers that a subscriber named."""
    query = select(named_papers).where(_column.subscriber_id == subscriber_id)
    return _outcome(conn.execute(query.order_by(_column.id)).all())


def untold_outcomes(conn: Connection, subscriber_ids: Collection[int]) -> dict[int, Outcome]:
    """Return what became of named papers that no digest has told of, by subscriber id."""
    query = select(named_papers).where(_column.told_at.is_(None)).order_by(_column.id)
    rows = rows_in(conn, query, _column.subscriber_id, subscriber_ids)
    by_subscriber = group((row.subscriber_id, row) for row in rows)
    return {id: _outcome(own) for id, own in by_subscriber.items()}


def _outcome(rows: Sequence[Row[Any]]) -> Outcome:
    missing = [row for row in rows if row.paper_id is None and row.asked_at is not None]
    n_found = sum(row.paper_id is not None for row in rows)
    return Outcome(n_found, len(rows) - n_found - len(missing), tuple(map(_named, missing)))


def mark_told(conn: Connection, subscriber_ids: Collection[int], at: datetime) -> None:
    """Store that digests told these subscribers of all names with an outcome."""
    told = (
        update(named_papers)
        .where(
            _column.told_at.is_(None),
            or_(_column.paper_id.is_not(None), _column.asked_at.is_not(None)),
        )
        .values(told_at=at)
    )
    for some in split_values(subscriber_ids):
        conn.execute(told.where(_column.subscriber_id.in_(some)))


def forget(
    conn: Connection, subscriber_id: int, method: str = "", kept: Collection[Key] = ()
) -> None:
    """Delete a subscriber's names that are not `kept`: those of one method, or all."""
    query = select(_column.id, _column.scheme, _column.value).where(
        _column.subscriber_id == subscriber_id
    )
    if method:
        query = query.where(_column.method == method)
    gone = [row.id for row in conn.execute(query) if (row.scheme, row.value) not in kept]
    for some in split_values(gone):
        conn.execute(delete(named_papers).where(_column.id.in_(some)))


def _named(row: Any) -> NamedPaper:
    return NamedPaper(row.scheme, row.value, row.title, tuple(row.authors))
