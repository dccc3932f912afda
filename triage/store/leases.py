"""Leases: the right to do something alone, for a while."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, or_, select, update

from triage.store._insert import insert_missing
from triage.tables import leases


def take(conn: Connection, name: str, owner: str, until: datetime, now: datetime) -> bool:
    """Take a lease that is free or run out, or renew one's own; return whether it is held now.

    A lease that lasts much longer than the one asked for is of somebody whose clock was wrong.
    """
    longest = until + (until - now)
    row = {"name": name, "owner": owner, "epoch": 0, "until": until}
    insert_missing(conn, leases, [row])
    change = (
        update(leases)
        .where(
            leases.c.name == name,
            or_(leases.c.owner == owner, leases.c.until <= now, leases.c.until > longest),
        )
        .values(owner=owner, until=until, epoch=leases.c.epoch + 1)
    )
    return conn.execute(change).rowcount == 1


def give_back(conn: Connection, name: str, owner: str, now: datetime) -> None:
    """Let another owner take the lease at once."""
    mine = update(leases).where(leases.c.name == name, leases.c.owner == owner)
    conn.execute(mine.values(until=now))


def owner_of(conn: Connection, name: str, now: datetime) -> str | None:
    """Return who holds a lease now."""
    query = select(leases.c.owner).where(leases.c.name == name, leases.c.until > now)
    return conn.scalar(query)
