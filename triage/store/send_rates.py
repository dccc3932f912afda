"""Token buckets that all senders share, and that outlive them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select

from triage.store.engine.upsert import insert_missing, upsert
from triage.store.tables import send_rates


def load(conn: Connection, names: Collection[str]) -> dict[str, tuple[float, datetime]]:
    """Return how many tokens each bucket held, and when that was."""
    query = select(send_rates).where(send_rates.c.name.in_(list(names)))
    return {row.name: (row.tokens, row.at) for row in conn.execute(query)}


def save(conn: Connection, name: str, tokens: float, at: datetime) -> None:
    upsert(conn, send_rates, ["name"], {"name": name, "tokens": tokens, "at": at})


def first_used_or_now(conn: Connection, name: str, now: datetime) -> datetime:
    """Return when a name was first asked for; that is now, if it never was."""
    insert_missing(conn, send_rates, [{"name": name, "tokens": 0.0, "at": now}])
    at: datetime = conn.execute(
        select(send_rates.c.at).where(send_rates.c.name == name)
    ).scalar_one()
    return at
