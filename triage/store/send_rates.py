"""Token buckets for sending, shared by all senders."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select

from triage.store.engine.upsert import insert_missing, upsert
from triage.store.tables import send_rates


def load(conn: Connection, names: Collection[str]) -> dict[str, tuple[float, datetime]]:
    """Return the tokens of each bucket and the time of that count; unknown names are left out."""
    query = select(send_rates).where(send_rates.c.name.in_(list(names)))
    return {row.name: (row.tokens, row.at) for row in conn.execute(query)}


def save(conn: Connection, name: str, tokens: float, at: datetime) -> None:
    upsert(conn, send_rates, ["name"], {"name": name, "tokens": tokens, "at": at})


def first_used_or_now(conn: Connection, name: str, now: datetime) -> datetime:
    """Return when this was first called for a name; on the first call, store and return `now`.

    A first call that was later than `now` was made by a wrong clock: this one replaces it.
    """
    insert_missing(conn, send_rates, [{"name": name, "tokens": 0.0, "at": now}])
    at: datetime = conn.execute(select(send_rates.c.at).filter_by(name=name)).scalar_one()
    if at > now:
        save(conn, name, 0.0, now)
    return min(at, now)
