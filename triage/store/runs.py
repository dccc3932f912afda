"""Nightly runs: how far the one for each date has come."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Connection, insert, select, update

from triage.tables import runs


def begin(conn: Connection, on: date, at: datetime) -> int:
    """Return the run for `on`, made now if there is none yet."""
    found = conn.scalar(select(runs.c.id).where(runs.c.on == on))
    if found is not None:
        return int(found)
    row = {"on": on, "stage": "begun", "started_at": at}
    return int(conn.execute(insert(runs).returning(runs.c.id), row).scalar_one())


def reach(conn: Connection, id: int, stage: str, finished_at: datetime | None = None) -> None:
    """Note that a run has come to `stage`."""
    change = update(runs).where(runs.c.id == id)
    conn.execute(change.values(stage=stage, finished_at=finished_at))
