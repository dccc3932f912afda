"""The papers of a listing day, for the pages of days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, literal_column, select

from triage.domain.records import Paper
from triage.store import papers as papers_store
from triage.store.papers import LISTED
from triage.store.tables import papers


@dataclass(frozen=True, slots=True)
class DayPaper:
    """A paper on the page of a day, and when it was stored."""

    paper: Paper
    first_seen_at: datetime


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


def papers_between(conn: Connection, first: date, last: date) -> list[DayPaper]:
    """Return the papers that were listed from `first` to `last`, in the order of their ids."""
    found = papers_store.listed_between(conn, first, last)
    query = select(papers.c.id, papers.c.first_seen_at)
    query = query.where(LISTED, papers.c.listed_on.between(first, last))
    seen_at = {row.id: row.first_seen_at for row in conn.execute(query)}
    return [DayPaper(paper, seen_at[paper.id]) for paper in found if paper.id in seen_at]


def trending(conn: Connection, first: date, last: date, n: int) -> list[Paper]:
    """Return the `n` papers with most upvotes that were listed from `first` to `last`."""
    # With a literal 0, SQLite can use the small partial index; with a bound value it cannot.
    voted = papers.c.listed_on.between(first, last) & (papers.c.upvotes > literal_column("0"))
    query = (
        select(papers.c.id)
        .where(LISTED, voted)
        .order_by(papers.c.upvotes.desc(), papers.c.id)
        .limit(n)
    )
    ids = list(conn.scalars(query))
    found = papers_store.load(conn, ids)
    return [found[id] for id in ids if id in found]
