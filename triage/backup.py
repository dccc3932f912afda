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
        # First of all, for what a killed process left takes the room that this copy needs.
        _drop_unfinished(folder)
        try:
            temporary = folder / f".{name}"
            temporary.touch(mode=0o600)
            database.copy_to(temporary)
            temporary.replace(folder / name)
        finally:
            _drop_unfinished(folder)
        for old in sorted(folder.glob("triage-*.db"))[:-KEPT]:
            old.unlink()
    except OSError as error:
        raise DatabaseError(
            f"the back-up in {folder} failed: {error.strerror}. See that this account may write"
            " there and that the disk has room"
        ) from error
    return f"wrote {name}"


def _drop_unfinished(folder: Path) -> None:
    # SQLite's own files beside a copy begin with its name.
    for path in folder.glob(".triage-*.db*"):
        path.unlink(missing_ok=True)
