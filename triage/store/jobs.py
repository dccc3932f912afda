"""Who may work, what was done last and when, and how far the nightly run of each date has come."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Connection, delete, or_, select, update

from triage.store.engine.upsert import insert_missing, upsert
from triage.store.tables import jobs, leases, runs

# -- jobs ------------------------------------------------------------------------------------------


def note_done(conn: Connection, name: str, at: datetime, outcome: str) -> None:
    """Note when a job was done last, and what came of it."""
    upsert(conn, jobs, ["name"], {"name": name, "done_at": at, "outcome": outcome})


def forget(conn: Connection, name: str, at: datetime) -> None:
    """Delete a row, unless it is of another time by now."""
    conn.execute(delete(jobs).where(jobs.c.name == name, jobs.c.done_at == at))


def last_done(conn: Connection, name: str) -> datetime | None:
    return conn.scalar(select(jobs.c.done_at).where(jobs.c.name == name))


# -- leases: the right to do something alone, for a while ------------------------------------------


def take_lease(conn: Connection, name: str, owner: str, until: datetime, now: datetime) -> bool:
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


def give_lease_back(conn: Connection, name: str, owner: str, now: datetime) -> None:
    """Let another owner take the lease at once."""
    mine = update(leases).where(leases.c.name == name, leases.c.owner == owner)
    conn.execute(mine.values(until=now))


# -- nightly runs ----------------------------------------------------------------------------------


def begin_run(conn: Connection, on: date, at: datetime) -> int:
    """Return the run for `on`, made now if there is none yet."""
    insert_missing(conn, runs, [{"on": on, "stage": "begun", "started_at": at}])
    return int(conn.execute(select(runs.c.id).where(runs.c.on == on)).scalar_one())


def reach_stage(conn: Connection, id: int, stage: str, finished_at: datetime | None = None) -> None:
    """Note that a run has come to `stage`."""
    change = update(runs).where(runs.c.id == id)
    conn.execute(change.values(stage=stage, finished_at=finished_at))
