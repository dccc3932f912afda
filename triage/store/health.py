"""Checks of the database, for `triage doctor` and before mail is sent."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DatabaseError as DriverError

from triage.errors import DatabaseError
from triage.store import tables
from triage.store.engine.checkpoint import SOUND_SQLITE as SOUND_SQLITE
from triage.store.engine.database import check_revision
from triage.store.tables import model_promotions, runs, source_days, subscribers


def server_version(conn: Connection) -> tuple[str, tuple[int, ...]]:
    """Return the name of the database system and its version."""
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(conn.dialect.name, "database")
    return name, tuple(int(part) for part in conn.dialect.server_version_info or ())


def journal_mode(conn: Connection) -> str | None:
    """Return SQLite's journal mode; None for any other database."""
    return conn.scalar(text("PRAGMA journal_mode")) if conn.dialect.name == "sqlite" else None


def damage(conn: Connection) -> list[str] | None:
    """Return the errors of SQLite's quick check; None for any other database."""
    if conn.dialect.name != "sqlite":
        return None
    try:
        return [line for line in conn.scalars(text("PRAGMA quick_check(5)")) if line != "ok"]
    except DriverError as error:
        # With some damage, the check itself fails.
        if "malformed" in str(error.orig):
            return [str(error.orig)]
        raise


def check_copy(file: Path) -> None:
    """Check that a SQLite file is an undamaged database of this or an older release.

    This checkpoints its write-ahead log, so no other connection may be open.

    Raises:
        DatabaseError: it is damaged, is no database of triage, or is of another release.
    """
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as conn:
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            found = conn.execute("PRAGMA integrity_check(1)").fetchone()
            revision = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise DatabaseError(f"that is not a database of triage: {error}") from error
    if found != ("ok",):
        raise DatabaseError(f"that copy is damaged, use an older one: {found[0]}")
    if revision is None or revision[0] > tables.SCHEMA_REVISION:
        raise DatabaseError("that copy was made by a newer triage: install that one first")
    check_revision(revision[0])


def newest_time(conn: Connection) -> datetime | None:
    """Return the newest time in the database; None if there is none."""
    # Only small tables, because a person waits. Times of imported votes are of other clocks.
    columns = (*runs.c["started_at", "finished_at"], source_days.c.checked_at)
    columns += (model_promotions.c.at, subscribers.c.state_changed_at)
    found = [conn.scalar(select(func.max(column))) for column in columns]
    return max((at for at in found if at is not None), default=None)


def zones(conn: Connection) -> dict[str, int]:
    """Return the number of subscribers in each time zone."""
    query = select(subscribers.c.zone, func.count()).group_by(subscribers.c.zone)
    return dict(iter(conn.execute(query)))
