"""Copies of the database: whole and checked, taken while it is in use, and put back again."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triage.domain.protocols import Clock
from triage.errors import DatabaseError
from triage.resources import rename_synced, sync
from triage.store import Database, health

KEPT = 7
# SQLite's own lock, which every open connection shares: the bytes are in "File Locking and
# Concurrency" (sqlite.org/lockingv3.html, os.h: PENDING_BYTE + 2, SHARED_SIZE).
_SHARED_FIRST, _SHARED_SIZE = 0x40000000 + 2, 510
_BESIDE = ("-wal", "-shm")


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
    with _explained(f"the back-up in {folder} failed"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # First of all, for what a killed process left takes the room that this copy needs.
        _drop_unfinished(folder)
        copy_to(database, folder / name)
        for old in sorted(folder.glob("triage-*.db"))[:-KEPT]:
            old.unlink()
    return f"wrote {name}"


def copy_to(database: Database, path: Path) -> None:
    """Copy the database to a file that only this account can read; one that is there goes.

    Raises:
        DatabaseError: the copy could not be written or is not sound.
    """
    if not database.is_file:
        raise DatabaseError(
            "the database is a server: copy it with its own tools, as `pg_dump --format=custom`"
        )
    temporary = path.with_name(f".{path.name}")
    with _explained(f"the back-up {path} failed"):
        try:
            temporary.unlink(missing_ok=True)
            temporary.touch(mode=0o600)
            database.copy_to(temporary)
            sync(temporary)
            rename_synced(temporary, path)
        finally:
            for left in (temporary, *path.parent.glob(f"{temporary.name}-*")):
                left.unlink(missing_ok=True)


def restore(file: Path, copy: Path, clock: Clock) -> Path | None:
    """Put a copy in the database's place; return where the replaced one lies, if there was one.

    The journal of what was sent stays as it is: it knows what the copy does not.

    Args:
        file: the database; nobody may have it open, this process included.

    Raises:
        DatabaseError: the copy is missing, not sound or not a database of this program; or a
            process has the database open.
    """
    if not copy.is_file():
        raise DatabaseError(f"{copy} does not exist: backups/ holds the nightly copies")
    if file.exists() and copy.samefile(file):
        raise DatabaseError(f"{copy} is the database itself: name a copy of it")
    with _explained(f"{copy} could not be put in the place of {file}"), _alone(file):
        temporary = file.with_name(f".{file.name}.restoring")
        parts = (temporary, *(Path(f"{temporary}{end}") for end in _BESIDE))
        try:
            for left in parts:
                left.unlink(missing_ok=True)
            temporary.touch(mode=0o600)
            shutil.copyfile(copy, temporary)
            wal = Path(f"{copy}-wal")
            if wal.exists():
                # A copy that was taken by hand, of a database in use or after a crash.
                shutil.copyfile(wal, f"{temporary}-wal")
            health.check_copy(temporary)
            sync(temporary)
            kept = _set_aside(file, clock)
            rename_synced(temporary, file)
        finally:
            for left in parts:
                left.unlink(missing_ok=True)
    return kept


def _set_aside(file: Path, clock: Clock) -> Path | None:
    """Rename the database, and what was written ahead of it and is a part of it."""
    kept = file.with_name(f"{file.stem}-replaced-{clock.now():%Y%m%dT%H%M%SZ}{file.suffix}")
    there_was = file.exists()
    if there_was:
        file.replace(kept)
    wal, shm = (Path(f"{file}{end}") for end in _BESIDE)
    if wal.exists():
        wal.replace(f"{kept}-wal")
    shm.unlink(missing_ok=True)
    return kept if there_was else None


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Refuse if any process has the database open; until the block ends none can open it."""
    try:
        opened = file.open("r+b")
    except FileNotFoundError:
        yield
        return
    with opened:
        try:
            fcntl.lockf(
                opened, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST, os.SEEK_SET
            )
        except BlockingIOError:
            raise DatabaseError(
                f"{file} is in use: stop triage first, `triage serve` and all other commands"
            ) from None
        yield


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatabaseError(
            f"{what}: {error.strerror}. See that this account may write there and that the disk"
            " has room"
        ) from error


def _drop_unfinished(folder: Path) -> None:
    # SQLite's own files beside a copy begin with its name.
    for path in folder.glob(".triage-*.db*"):
        path.unlink(missing_ok=True)
