"""Copies of the database, whole and checked, taken while it is in use."""

from __future__ import annotations

from pathlib import Path

from triage.errors import DatabaseError
from triage.ports import Clock
from triage.store import Database

KEPT = 7


def back_up(database: Database, folder: Path, clock: Clock) -> str:
    """Copy the database into `folder` and keep the newest copies; say what was done.

    The copy has another name until it is whole and checked, so a folder never holds half of one.
    Databases that are servers are left to their own tools.

    Raises:
        DatabaseError: the copy could not be written or is not sound.
    """
    if not database.is_file:
        return "left to the database server's own tools"
    name = f"triage-{clock.now():%Y%m%dT%H%M%SZ}.db"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = folder / f".{name}"
        temporary.touch(mode=0o600)
        database.copy_to(temporary)
        temporary.replace(folder / name)
        for old in sorted(folder.glob("triage-*.db"))[:-KEPT]:
            old.unlink()
    except OSError as error:
        raise DatabaseError(f"the back-up in {folder} failed: {error.strerror}") from error
    return f"wrote {name}"
