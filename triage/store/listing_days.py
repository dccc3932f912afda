"""The papers of a listing day, for the pages of days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, literal_column, select

from triage.domain.records import Paper
from triage.store import papers as papers_store
from triage.store.papers import LISTED
from triage.store.tables import papers


@dataclass(frozen=True, slots=True)
class DayPaper:
    """A paper on the page of a day; `is_new` if it was stored recently."""

    paper: Paper
    is_new: bool


def newest(conn: Connection) -> date | None:
    """Return the newest day that has papers; None if nothing is stored."""
    found: date | None = conn.scalar(select(func.max(papers.c.listed_on)).where(LISTED))
    return found


def newest_days(conn: Connection, n: int) -> list[date]:
    """Return the `n` newest days that have papers, newest first; fewer if there are fewer."""
    days = select(papers.c.listed_on).where(LISTED).distinct()
    return list(conn.scalars(days.order_by(papers.c.listed_on.desc()).limit(n)))


def around(conn: Connection, on: date) -> Row[Any, Any]:
    """Return the nearest days with papers `before` and `after` a day; None if there is none."""
    before = select(func.max(papers.c.listed_on)).where(LISTED, papers.c.listed_on < on)
    after = select(func.min(papers.c.listed_on)).where(LISTED, papers.c.listed_on > on)
    query = select(before.scalar_subquery().label("before"), after.scalar_subquery().label("after"))
    return conn.execute(query).one()


def count(conn: Connection, on: date) -> int:
    """Return the number of papers of a day."""
    query = select(func.count()).select_from(papers).where(LISTED, papers.c.listed_on == on)
    return conn.scalar(query) or 0


def page(conn: Connection, on: date, new_since: datetime, offset: int, n: int) -> list[DayPaper]:
    """Return at most `n` of a day's papers after the first `offset`, most upvotes first."""
    return _chosen(conn, papers.c.listed_on == on, new_since, offset, n)


def trending(
    conn: Connection, first: date, last: date, new_since: datetime, n: int
) -> list[DayPaper]:
    """Return the `n` papers with most upvotes that were listed from `first` to `last`."""
    # With a literal 0, SQLite can use the small partial index; with a bound value it cannot.
    voted = papers.c.listed_on.between(first, last) & (papers.c.upvotes > literal_column("0"))
    return _chosen(conn, voted, new_since, 0, n)


def _chosen(
    conn: Connection, which: ColumnElement[bool], new_since: datetime, offset: int, n: int
) -> list[DayPaper]:
    query = (
        select(papers.c.id, papers.c.first_seen_at)
        .where(LISTED, which)
        .order_by(func.coalesce(papers.c.upvotes, 0).desc(), papers.c.id)
        .offset(offset)
        .limit(n)
    )
    seen = {row.id: row.first_seen_at for row in conn.execute(query)}
    found = papers_store.load(conn, seen)
    return [DayPaper(found[id], at >= new_since) for id, at in seen.items()]
