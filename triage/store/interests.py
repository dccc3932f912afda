"""The interests of each subscriber, with numbers that do not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Update, func, insert, select, update

from triage.domain.records import Interest
from triage.store.tables import interests


def of(conn: Connection, subscriber_id: int) -> tuple[Interest, ...]:
    """Return a subscriber's interests by number, without retired ones."""
    query = select(interests).filter_by(subscriber_id=subscriber_id).order_by(interests.c.number)
    return tuple(
        Interest(
            number=row.number,
            name=row.name,
            papers=tuple(row.papers),
            phrases=tuple(row.phrases),
            muted=row.muted,
            paused_until=row.paused_until,
        )
        for row in conn.execute(query)
        if row.papers or row.phrases
    )


def save(
    conn: Connection, subscriber_id: int, found: Sequence[Interest], at: datetime
) -> tuple[Interest, ...]:
    """Store the interests that were found now, and return them with numbers for new ones.

    Stored interests that were not found again are retired. Their numbers are not used again,
    because old mails may have them. Muted and paused interests stay so.
    """
    newest = conn.scalar(
        select(func.max(interests.c.number)).where(interests.c.subscriber_id == subscriber_id)
    )
    stored = {each.number: each for each in of(conn, subscriber_id)}
    numbered = []
    for each in found:
        old = stored.pop(each.number, None)
        row: dict[str, Any] = {"name": each.name, "updated_at": at}
        row |= {"papers": list(each.papers), "phrases": list(each.phrases)}
        if old is None:
            newest = (newest or 0) + 1
            each = replace(each, number=newest)
            row |= {"subscriber_id": subscriber_id, "number": newest}
            row |= {"muted": each.muted, "paused_until": each.paused_until}
            conn.execute(insert(interests), row)
        elif (old.name, old.papers, old.phrases) != (each.name, each.papers, each.phrases):
            conn.execute(_one(subscriber_id, each.number).values(row))
        numbered.append(each)
    for number in stored:
        conn.execute(_one(subscriber_id, number).values(papers=[], phrases=[], updated_at=at))
    return tuple(numbered)


def set_muted(
    conn: Connection,
    subscriber_id: int,
    number: int,
    *,
    muted: bool,
    paused_until: date | None,
    at: datetime,
) -> None:
    """Mute an interest, pause it until a date, or end both."""
    change = _one(subscriber_id, number)
    conn.execute(change.values(muted=muted, paused_until=paused_until, updated_at=at))


def forget(conn: Connection, subscriber_id: int) -> None:
    """Retire all interests of a subscriber; their numbers are not used again."""
    empty = {"papers": [], "phrases": [], "muted": False, "paused_until": None}
    conn.execute(update(interests).where(interests.c.subscriber_id == subscriber_id).values(empty))


def _one(subscriber_id: int, number: int) -> Update:
    return update(interests).filter_by(subscriber_id=subscriber_id, number=number)
