"""Token buckets for sending, shared by all senders."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from triage.store.engine.upsert import insert_missing, upsert
from triage.store.tables import send_rates

# A bucket that was never used, and so is full.
_NEW = {"tokens": 0.0, "at": datetime(1970, 1, 1, tzinfo=UTC)}


def lock(conn: Connection, names: Collection[str]) -> dict[str, tuple[float, datetime]]:
    """Return the tokens of each bucket and the time of that count; a new one counted long ago.

    No other sender takes of them until the transaction ends.
    """
    query = select(send_rates).where(send_rates.c.name.in_(list(names)))
    query = query.order_by(send_rates.c.name).with_for_update()
    found = {row.name: row for row in conn.execute(query)}
    if missing := sorted(set(names) - found.keys()):
        insert_missing(conn, send_rates, [_NEW | {"name": name} for name in missing])
        found = {row.name: row for row in conn.execute(query)}
    return {name: (row.tokens, row.at) for name, row in found.items()}


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
