"""Papers to look up at enrichers, and the results."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, select, update

from triage.domain.chunks import group
from triage.domain.source_records import KnownPaper
from triage.store.papers import FINDABLE, WORK
from triage.store.tables import paper_ids, papers


def waiting(conn: Connection, since: date, asked_before: datetime, n: int) -> list[KnownPaper]:
    """Return at most `n` papers with an outside id to look up.

    They were listed on `since` or later, and were not looked up since `asked_before`. Papers that
    were never looked up come first, then the newest listing, then most upvotes.
    """
    never = papers.c.enriched_at.is_(None)
    query = (
        select(papers.c.id)
        .where(
            FINDABLE,
            papers.c.listed_on >= since,
            or_(never, papers.c.enriched_at < asked_before),
            papers.c.id.in_(select(paper_ids.c.paper_id)),
        )
        .order_by(
            never.desc(),
            papers.c.listed_on.desc(),
            papers.c.upvotes.is_(None),
            papers.c.upvotes.desc(),
            papers.c.id.desc(),
        )
        .limit(n)
    )
    ids = conn.scalars(query).all()
    # Papers that were merged into a work have ids, too.
    names = (
        select(WORK, paper_ids.c.scheme, paper_ids.c.value)
        .join(papers, papers.c.id == paper_ids.c.paper_id)
        .where(WORK.in_(ids))
        .order_by(paper_ids.c.scheme, paper_ids.c.value)
    )
    keys = group((id, (scheme, value)) for id, scheme, value in conn.execute(names))
    return [KnownPaper(id, tuple(keys.get(id, ()))) for id in ids]


def save(conn: Connection, id: int, fields: dict[str, Any]) -> None:
    """Set columns of all rows of one work."""
    conn.execute(update(papers).where(_of([id])).values(**fields))


def mark_looked_up(conn: Connection, ids: Collection[int], at: datetime) -> None:
    """Store that these works were looked up at all enrichers."""
    conn.execute(update(papers).where(_of(ids)).values(enriched_at=at))


def _of(ids: Collection[int]) -> ColumnElement[bool]:
    return or_(papers.c.id.in_(list(ids)), papers.c.merged_into.in_(list(ids)))
