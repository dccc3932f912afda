"""Cursors and days of sources, and records that could not be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select

from triage.domain.digest_calendar import latest_date
from triage.domain.records import Verdict
from triage.domain.source_records import Rejected, SourceDay
from triage.store.engine.upsert import insert_missing, upsert
from triage.store.tables import quarantine, source_cursors, source_days


def cursor(conn: Connection, source: str) -> str | None:
    return conn.scalar(select(source_cursors.c.cursor).where(source_cursors.c.source == source))


def save_cursor(conn: Connection, source: str, cursor: str, at: datetime) -> None:
    upsert(conn, source_cursors, ["source"], {"source": source, "cursor": cursor, "updated_at": at})


def save_days(conn: Connection, days: Sequence[SourceDay], at: datetime) -> None:
    """Store source days; a new verdict replaces the old one of that day."""
    for day in days:
        upsert(conn, source_days, ["source", "category", "on"], asdict(day) | {"checked_at": at})


def days(
    conn: Connection, first: date, last: date, *, by_category: bool = False
) -> list[SourceDay]:
    """Return the days of all sources from `first` to `last`, both included.

    Args:
        by_category: include the days of categories, after the day of their source.
    """
    columns = [source_days.c[each.name] for each in fields(SourceDay)]
    query = (
        select(*columns)
        .where(source_days.c.on.between(first, last))
        .order_by(source_days.c.on, source_days.c.source, source_days.c.category)
    )
    if not by_category:
        query = query.where(source_days.c.category == "")
    rows = [dict(row._mapping) for row in conn.execute(query)]
    return [SourceDay(**row | {"verdict": Verdict(row["verdict"])}) for row in rows]


def has_days_ahead(conn: Connection, now: datetime) -> bool:
    """Return whether `forget_days_ahead` would delete anything."""
    return conn.execute(select(source_days.c.on).where(_is_ahead(now)).limit(1)).first() is not None


def forget_days_ahead(conn: Connection, now: datetime) -> list[tuple[str, date]]:
    """Delete the days that a clock ahead of `now` has read, so that they are read when they come.

    Days with papers stay: these came. So if it is the present clock that is wrong, and behind, only
    days without papers are read again.

    Returns:
        The source and date of each.
    """
    forget = delete(source_days).where(_is_ahead(now))
    gone = conn.execute(forget.returning(source_days.c.source, source_days.c.on))
    return sorted({(source, on) for source, on in gone})


def _is_ahead(now: datetime) -> ColumnElement[bool]:
    may_be_open = source_days.c.on >= now.date() - timedelta(days=1)
    return and_(
        source_days.c.got == 0,
        or_(source_days.c.on > latest_date(now), and_(source_days.c.checked_at > now, may_be_open)),
    )


def keep_rejected(
    conn: Connection, origin: str, rejected: Sequence[tuple[Rejected, str]], at: datetime
) -> None:
    """Store records that could not be used, each once by its hash."""
    rows = [
        {
            "origin": origin,
            "place": record.where,
            "reason": record.reason,
            "raw": record.raw,
            "content_hash": content_hash,
            "received_at": at,
        }
        for record, content_hash in rejected
    ]
    insert_missing(conn, quarantine, rows)


def quarantined(conn: Connection, origin: str) -> list[Rejected]:
    query = select(quarantine).where(quarantine.c.origin == origin).order_by(quarantine.c.id)
    return [Rejected(row.reason, row.raw, row.place) for row in conn.execute(query)]
