"""The blocklist: addresses that get no mail, as keyed hashes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select

from triage.store.engine.upsert import insert_missing
from triage.store.tables import suppressions


def add(conn: Connection, address_hash: str, reason: str, at: datetime) -> None:
    """Add an address; if it is on the list, its reason stays."""
    insert_missing(conn, suppressions, [{"address_hash": address_hash, "reason": reason, "at": at}])


def remove(conn: Connection, address_hash: str) -> bool:
    """Remove an address; return whether it was on the list."""
    gone = delete(suppressions).where(suppressions.c.address_hash == address_hash)
    return conn.execute(gone).rowcount == 1


def reason(conn: Connection, address_hash: str) -> str | None:
    """Return why an address is on the list; None if it is not."""
    query = select(suppressions.c.reason).where(suppressions.c.address_hash == address_hash)
    return conn.scalar(query)


def refused_since(conn: Connection, since: datetime) -> set[str]:
    """Return the hashes of the addresses added since then because mail to them was refused."""
    refused = suppressions.c.reason.in_(["no such mailbox", "unreachable"])
    query = select(suppressions.c.address_hash).where(refused, suppressions.c.at >= since)
    return set(conn.scalars(query))
