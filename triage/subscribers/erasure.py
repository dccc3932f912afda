"""Rewrites the database file after an erasure, so that no deleted data remains in it."""

from __future__ import annotations

from triage import store
from triage.domain.protocols import Clock
from triage.store import Database

ERASURE = "erasure"


def request_rewrite(database: Database, clock: Clock) -> None:
    """Request a rewrite of the file, because SQLite leaves deleted bytes in it.

    A nightly job does it, so that no web page waits.
    """
    with database.write() as conn:
        store.jobs.note_done(conn, ERASURE, clock.now(), "the file is still to be rewritten")


def rewrite_after_erasures(database: Database) -> str:
    """Rewrite the database file if this was requested; return a report.

    Raises:
        DatabaseError: the rewrite failed; the request stays.
    """
    erased_at = database.fetch(store.jobs.last_done, ERASURE)
    if erased_at is None:
        return "nobody was erased"
    database.rewrite()
    database.execute(store.jobs.forget, ERASURE, erased_at)
    return "rewrote the database file after an erasure"
