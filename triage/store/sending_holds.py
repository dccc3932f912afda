"""Holds: while there is one, nothing is sent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select

from triage.store.engine.upsert import insert_missing
from triage.store.tables import sending_holds


def place(conn: Connection, name: str, why: str, at: datetime) -> None:
    """Pause sending; a hold of that name that stands already keeps its reason."""
    insert_missing(conn, sending_holds, [{"name": name, "why": why, "at": at}])


def lift(conn: Connection, name: str) -> bool:
    """Take a hold away; return whether it was there."""
    return conn.execute(delete(sending_holds).where(sending_holds.c.name == name)).rowcount == 1


def reasons(conn: Connection) -> dict[str, str]:
    """Return why sending is paused, by the names of the holds; nothing where it is not."""
    return {
        row.name: row.why
        for row in conn.execute(select(sending_holds).order_by(sending_holds.c.at))
    }
