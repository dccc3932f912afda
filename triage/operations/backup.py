"""Back up the database while it is in use, check each copy, and restore one."""

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
# The bytes that SQLite locks in the file of every open connection: "File Locking and Concurrency"
# (sqlite.org/lockingv3.html, os.h: PENDING_BYTE + 2, SHARED_SIZE).
_SHARED_FIRST, _SHARED_SIZE = 0x40000000 + 2, 510
_SUFFIXES = ("-wal", "-shm")


def back_up(database: Database, folder: Path, clock: Clock) -> str:
    """Copy the database into `folder`, keep the newest KEPT copies, and return what was done.

    A copy gets its name only when it is complete and checked. If the names of others are of later
    times, a clock was or is wrong: the newest KEPT of those stay, too, so that no true copy goes
    because of it. A database server is not copied.

    Raises:
        DatabaseError: the copy could not be written or is damaged.
    """
    if not database.is_file:
        return "left to the database server's own tools"
    name = f"triage-{clock.now():%Y%m%dT%H%M%SZ}.db"
    with _explain_os_errors(f"the back-up in {folder} failed"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # First delete what a killed process left (and SQLite's files beside it), to free space.
        for unfinished in folder.glob(".triage-*.db*"):
            unfinished.unlink(missing_ok=True)
        copy_to(database, folder / name)
        copies = sorted(folder.glob("triage-*.db"))
        n_past = sum(each.name <= name for each in copies)
        for old in (*copies[:n_past][:-KEPT], *copies[n_past:][:-KEPT]):
            old.unlink()
    return f"wrote {name}"


def copy_to(database: Database, path: Path) -> None:
    """Copy a SQLite database to a file that only this account can read; replace an existing file.

    Raises:
        DatabaseError: the copy could not be written or is damaged.
    """
    temporary = path.with_name(f".{path.name}")
    with _explain_os_errors(f"the back-up {path} failed"):
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
    """Replace the database by a copy; return the new path of the replaced one, None without one.

    The sent log is not changed: it knows which messages were sent after the copy was made.

    Args:
        file: the database; no process may have it open, this one included.

    Raises:
        DatabaseError: the copy is missing, damaged or not a database of this program; or a
            process has the database open.
    """
    if not copy.is_file():
        raise DatabaseError(f"{copy} does not exist: the nightly copies are in backups/")
    if file.exists() and copy.samefile(file):
        raise DatabaseError(f"{copy} is the database itself: name a copy of it")
    with _explain_os_errors(f"{copy} could not replace {file}"), _lock_out_others(file):
        temporary = file.with_name(f".{file.name}.restoring")
        parts = (temporary, *(Path(f"{temporary}{suffix}") for suffix in _SUFFIXES))
        try:
            for left in parts:
                left.unlink(missing_ok=True)
            temporary.touch(mode=0o600)
            shutil.copyfile(copy, temporary)
            wal = Path(f"{copy}-wal")
            if wal.exists():
                # Somebody copied the files of a database in use, or after a crash.
                shutil.copyfile(wal, f"{temporary}-wal")
            health.check_copy(temporary)
            sync(temporary)
            replaced = _set_aside(file, clock)
            rename_synced(temporary, file)
        finally:
            for left in parts:
                left.unlink(missing_ok=True)
    return replaced


def _set_aside(file: Path, clock: Clock) -> Path | None:
    """Rename the database and its WAL file, which is a part of it."""
    new = file.with_name(f"{file.stem}-replaced-{clock.now():%Y%m%dT%H%M%SZ}{file.suffix}")
    existed = file.exists()
    if existed:
        file.replace(new)
    wal, shm = (Path(f"{file}{suffix}") for suffix in _SUFFIXES)
    if wal.exists():
        wal.replace(f"{new}-wal")
    shm.unlink(missing_ok=True)
    return new if existed else None


@contextmanager
def _lock_out_others(file: Path) -> Iterator[None]:
    """Raise if a process has the database open; no process can open it until the block ends."""
    try:
        database = file.open("r+b")
    except FileNotFoundError:
        yield
        return
    with database:
        try:
            fcntl.lockf(
                database, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST, os.SEEK_SET
            )
        except BlockingIOError:
            raise DatabaseError(
                f"{file} is in use: stop triage first, `triage serve` and all other commands"
            ) from None
        yield


@contextmanager
def _explain_os_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatabaseError(
            f"{what}: {error.strerror}. Check that this account may write there and that the disk"
            " has free space"
        ) from error
