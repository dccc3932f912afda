"""Token buckets that all senders share, and that outlive them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select

from triage.store._insert import upsert
from triage.tables import paces


def load(conn: Connection, names: Collection[str]) -> dict[str, tuple[float, datetime]]:
    """Return how many tokens each bucket held, and when that was."""
    query = select(paces).where(paces.c.name.in_(list(names)))
    return {row.name: (row.tokens, row.at) for row in conn.execute(query)}


def save(conn: Connection, name: str, tokens: float, at: datetime) -> None:
    upsert(conn, paces, ["name"], {"name": name, "tokens": tokens, "at": at})
