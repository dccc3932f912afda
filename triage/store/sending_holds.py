"""Sending holds: while there is one, nothing is sent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select

from triage.store.engine.upsert import insert_missing
from triage.store.tables import sending_holds


def place(conn: Connection, name: str, why: str, at: datetime) -> None:
    """Place a hold; an existing one of that name keeps its reason."""
    insert_missing(conn, sending_holds, [{"name": name, "why": why, "at": at}])


def lift(conn: Connection, name: str) -> bool:
    """Delete a hold; return whether it existed."""
    return conn.execute(delete(sending_holds).where(sending_holds.c.name == name)).rowcount == 1


def reasons(conn: Connection) -> dict[str, str]:
    """Return the reasons by the names of the holds, oldest first."""
    query = select(sending_holds.c.name, sending_holds.c.why).order_by(sending_holds.c.at)
    return dict(iter(conn.execute(query)))
