"""Forgets what mail has left behind once it is of no more use.

    bytes       48 hours after a message ended; its hash stays
    attempts    90 days after it ended; its last answer stays
    bounces     30 days after they came, as they were received; what they were stays

What waits, is under way or is held is never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from triage import store
from triage.ports import Clock
from triage.store import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEEP_BYTES = timedelta(hours=48)
KEEP_ATTEMPTS = timedelta(days=90)
KEEP_RAW_BOUNCES = timedelta(days=30)
# Messages in one transaction: nobody's vote waits longer than a moment.
CHUNK = 200


def forget_old_mail(database: Database, clock: Clock) -> str:
    """Forget what is old, a few at a time; return in words how much that was."""
    now = clock.now()
    n_bodies = _in_parts(database, lambda c: store.attempts.drop_bodies(c, now - KEEP_BYTES, CHUNK))
    n_tried = _in_parts(database, lambda c: store.attempts.forget(c, now - KEEP_ATTEMPTS, CHUNK))
    with database.write() as conn:
        n_raw = store.bounces.drop_raw(conn, now - KEEP_RAW_BOUNCES)
    return (
        f"dropped the bytes of {n_bodies} messages and of {n_raw} bounces, and the attempts of"
        f" {n_tried} messages"
    )


def _in_parts(database: Database, forget: Callable[[Connection], int]) -> int:
    total = 0
    while True:
        with database.write() as conn:
            n = forget(conn)
        total += n
        if n < CHUNK:
            return total
