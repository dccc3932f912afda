"""The last runs of jobs, leases, and the stage of the nightly run of each date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, delete, or_, select, update

from triage.store.engine.upsert import insert_missing, upsert
from triage.store.tables import jobs, leases, runs

# Who has a lease that was given back.
NOBODY = ""
# By how much the clocks of machines that share a database may differ.
MOST_APART = timedelta(minutes=5)

# -- jobs ------------------------------------------------------------------------------------------


def note_done(conn: Connection, name: str, at: datetime, outcome: str) -> None:
    """Store when a job was done last, and its result."""
    upsert(conn, jobs, ["name"], {"name": name, "done_at": at, "outcome": outcome})


def forget(conn: Connection, name: str, at: datetime) -> None:
    """Delete the row of a job if its time is still `at`."""
    conn.execute(delete(jobs).where(jobs.c.name == name, jobs.c.done_at == at))


def last_done(conn: Connection, name: str) -> datetime | None:
    return conn.scalar(select(jobs.c.done_at).where(jobs.c.name == name))


def outcomes(conn: Connection, names: Sequence[str], since: datetime) -> list[str]:
    """Return the results of those jobs that were done at or after `since`."""
    query = select(jobs.c.outcome).where(jobs.c.name.in_(names), jobs.c.done_at >= since)
    return list(conn.scalars(query))


# -- leases ----------------------------------------------------------------------------------------


def take_lease(
    conn: Connection,
    name: str,
    owner: str,
    until: datetime,
    now: datetime,
    is_gone: Callable[[str], bool] = lambda _: False,
) -> bool:
    """Take a free or expired lease, or renew an own one; return whether `owner` has it now.

    A lease that ends later than any owner can ask for now came from a wrong clock, and counts as
    expired.

    Args:
        is_gone: whether an owner is known to be a process that has ended.
    """
    longest = until + min(until - now, MOST_APART)
    holder = conn.scalar(select(leases.c.owner).where(leases.c.name == name))
    free = [owner, NOBODY, *([holder] if holder and is_gone(holder) else [])]
    insert_missing(conn, leases, [{"name": name, "owner": owner, "epoch": 0, "until": until}])
    change = (
        update(leases)
        .where(
            leases.c.name == name,
            or_(leases.c.owner.in_(free), leases.c.until <= now, leases.c.until > longest),
        )
        .values(owner=owner, until=until, epoch=leases.c.epoch + 1)
    )
    return conn.execute(change).rowcount == 1


def give_lease_back(conn: Connection, name: str, owner: str, now: datetime) -> None:
    """End a lease now, so that another owner can take it, also by a clock that shows less."""
    mine = update(leases).where(leases.c.name == name, leases.c.owner == owner)
    conn.execute(mine.values(owner=NOBODY, until=now))


# -- nightly runs ----------------------------------------------------------------------------------


def begin_run(conn: Connection, on: date, at: datetime) -> int:
    """Return the id of the run for `on`, and insert the run if there is none."""
    insert_missing(conn, runs, [{"on": on, "stage": "begun", "started_at": at}])
    return int(conn.execute(select(runs.c.id).where(runs.c.on == on)).scalar_one())


def reach_stage(conn: Connection, id: int, stage: str, finished_at: datetime | None = None) -> None:
    """Store the stage of a run."""
    conn.execute(update(runs).where(runs.c.id == id).values(stage=stage, finished_at=finished_at))
