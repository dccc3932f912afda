"""Rewrites the database file after an erasure, so that no deleted byte is left in it."""

from __future__ import annotations

from triage import store
from triage.domain.protocols import Clock
from triage.store import Database

ERASURE = "erasure"


def owe_rewriting(database: Database, clock: Clock) -> None:
    """Request a rewrite of the file: SQLite leaves deleted bytes in it until then.

    The nightly job does it, so that a web page does not wait for it.
    """
    with database.write() as conn:
        store.jobs.note_done(conn, ERASURE, clock.now(), "the file is still to be rewritten")


def rewrite_after_erasures(database: Database) -> str:
    """Rewrite the database file if a rewrite was requested; return what was done.

    Raises:
        DatabaseError: it could not be rewritten; the request stays.
    """
    with database.read() as conn:
        erased_at = store.jobs.last_done(conn, ERASURE)
    if erased_at is None:
        return "nobody was erased"
    database.rewrite()
    with database.write() as conn:
        store.jobs.forget(conn, ERASURE, erased_at)
    return "rewrote the database file after an erasure"
