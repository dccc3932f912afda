"""Deletes old data of messages that have ended.

    bytes       48 hours after the message ended; the hash stays
    attempts    90 days after the message ended; the last reply stays
    bounces     30 days after they arrived: the raw message; the kind stays

Messages that wait, are being sent or are held are not changed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from triage import store
from triage.domain.protocols import Clock
from triage.store import Connection, Database

KEEP_BYTES = timedelta(hours=48)
KEEP_ATTEMPTS = timedelta(days=90)
KEEP_RAW_BOUNCES = timedelta(days=30)
# Messages per transaction: a vote must not wait long for the write lock.
CHUNK = 200


def forget_old_mail(database: Database, clock: Clock) -> str:
    """Delete old data in small transactions; return a summary."""
    now = clock.now()
    n_bodies = _in_parts(database, lambda c: store.attempts.drop_bodies(c, now - KEEP_BYTES, CHUNK))
    n_tried = _in_parts(database, lambda c: store.attempts.forget(c, now - KEEP_ATTEMPTS, CHUNK))
    n_raw = database.execute(store.bounces.drop_raw, now - KEEP_RAW_BOUNCES)
    return (
        f"dropped the bytes of {n_bodies} messages and of {n_raw} bounces, and the attempts of"
        f" {n_tried} messages"
    )


def _in_parts(database: Database, forget: Callable[[Connection], int]) -> int:
    total = 0
    while True:
        n = database.execute(forget)
        total += n
        if n < CHUNK:
            return total
