"""When each recurring chore was done last, and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from triage.store._insert import upsert
from triage.tables import jobs


def done(conn: Connection, name: str, at: datetime, outcome: str) -> None:
    upsert(conn, jobs, ["name"], {"name": name, "done_at": at, "outcome": outcome})


def forget(conn: Connection, name: str, at: datetime) -> None:
    """Delete a row, unless it is of another time by now."""
    conn.execute(delete(jobs).where(jobs.c.name == name, jobs.c.done_at == at))


def last_done(conn: Connection, name: str) -> datetime | None:
    return conn.scalar(select(jobs.c.done_at).where(jobs.c.name == name))


def listing(conn: Connection) -> list[dict[str, Any]]:
    """Return name, done_at and outcome of every chore."""
    return [dict(row._mapping) for row in conn.execute(select(jobs).order_by(jobs.c.name))]
