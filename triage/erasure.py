"""Rewrites the database's file after an erasure, so that no byte of what was deleted is left."""

from __future__ import annotations

from triage import store
from triage.ports import Clock
from triage.store import Database

ERASURE = "erasure"


def owe_rewriting(database: Database, clock: Clock) -> None:
    """Note that somebody was erased: what is deleted lies in SQLite's file until that is rewritten.

    Nobody on a page waits for that.
    """
    with database.write() as conn:
        store.jobs.note_done(conn, ERASURE, clock.now(), "the file is still to be rewritten")


def rewrite_after_erasures(database: Database) -> str:
    """Rewrite the database's file if somebody was erased; return in words what was done.

    Raises:
        DatabaseError: it could not be rewritten; it is still owed.
    """
    with database.read() as conn:
        erased_at = store.jobs.last_done(conn, ERASURE)
    if erased_at is None:
        return "nobody was erased"
    database.rewrite()
    with database.write() as conn:
        store.jobs.forget(conn, ERASURE, erased_at)
    return "what was erased is gone from the file"
