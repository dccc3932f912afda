"""What the database tells about itself, for `triage doctor`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, func, select, text

from triage.store._database import Database
from triage.tables import UtcDateTime, metadata, subscribers


def file_of(database: Database) -> Path | None:
    """Return the file that a SQLite database lies in; None for any other."""
    url = database.engine.url
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    return Path(str(url.database))


def server_version(conn: Connection) -> tuple[str, tuple[int, ...]]:
    """Return the name of the database's program and its version."""
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(conn.dialect.name, "database")
    return name, tuple(conn.dialect.server_version_info or ())


def journal_mode(conn: Connection) -> str | None:
    """Return SQLite's journal mode; None for any other database."""
    return conn.scalar(text("PRAGMA journal_mode")) if conn.dialect.name == "sqlite" else None


def damage(conn: Connection) -> list[str] | None:
    """Return what SQLite's quick check finds wrong; None where there is no such check."""
    if conn.dialect.name != "sqlite":
        return None
    return [line for line in conn.scalars(text("PRAGMA quick_check(5)")) if line != "ok"]


def newest_time(conn: Connection) -> datetime | None:
    """Return the newest instant at which this program wrote anything down."""
    # What lies ahead on purpose, a lease or the next try, is no sign of the clock; nor are the
    # times of imported votes, which other machines wrote.
    planned = {"not_before", "lease_until"}
    found = [
        conn.scalar(select(func.max(column)))
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, UtcDateTime)
        and column.name not in planned
        and column is not metadata.tables["events"].c.at
    ]
    return max((at for at in found if at is not None), default=None)


def zones(conn: Connection) -> dict[str, int]:
    """Return the time zones of all subscribers with how many live there."""
    query = select(subscribers.c.zone, func.count()).group_by(subscribers.c.zone)
    return dict(iter(conn.execute(query)))
