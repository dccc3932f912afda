"""What each subscriber reads about, as it was found last, under numbers that stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from sqlalchemy import Connection, Update, func, insert, select, update

from triage.domain.records import Interest
from triage.store.tables import interests


def of(conn: Connection, subscriber_id: int) -> tuple[Interest, ...]:
    """Return a subscriber's interests by number; those that were given up are left out."""
    query = (
        select(interests)
        .where(interests.c.subscriber_id == subscriber_id)
        .order_by(interests.c.number)
    )
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
    """Store what was found now, and return it with a number for what is new.

    What is stored and was not found again is given up: its likes have gone elsewhere. Its number
    is not used again, since an old mail may speak of it. Whether an interest rests is not touched.
    """
    newest = conn.scalar(
        select(func.max(interests.c.number)).where(interests.c.subscriber_id == subscriber_id)
    )
    before = {each.number: each for each in of(conn, subscriber_id)}
    kept = []
    for each in found:
        known = before.pop(each.number, None)
        row = {"name": each.name, "papers": list(each.papers), "phrases": list(each.phrases)}
        if known is None:
            newest = (newest or 0) + 1
            kept.append(replace(each, number=newest))
            fresh = {"subscriber_id": subscriber_id, "number": newest, "muted": each.muted}
            stamp = {"paused_until": each.paused_until, "updated_at": at}
            conn.execute(insert(interests), row | fresh | stamp)
            continue
        kept.append(each)
        if (known.name, known.papers, known.phrases) != (each.name, each.papers, each.phrases):
            conn.execute(_one(subscriber_id, each.number).values(updated_at=at, **row))
    for number in before:
        conn.execute(_one(subscriber_id, number).values(papers=[], phrases=[], updated_at=at))
    return tuple(kept)


def rest(
    conn: Connection,
    subscriber_id: int,
    number: int,
    *,
    muted: bool,
    paused_until: date | None,
    at: datetime,
) -> None:
    """Say whether an interest rests: for good, until a date, or no more."""
    change = _one(subscriber_id, number)
    conn.execute(change.values(muted=muted, paused_until=paused_until, updated_at=at))


def forget(conn: Connection, subscriber_id: int) -> None:
    """Give up all that was found; the numbers stay taken, for old mails speak of them."""
    empty = {"papers": [], "phrases": [], "muted": False, "paused_until": None}
    conn.execute(update(interests).where(interests.c.subscriber_id == subscriber_id).values(empty))


def _one(subscriber_id: int, number: int) -> Update:
    return update(interests).where(
        interests.c.subscriber_id == subscriber_id, interests.c.number == number
    )
