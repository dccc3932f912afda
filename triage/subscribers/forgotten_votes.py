"""Forgets all votes of a subscriber, and brings them back within an hour."""

from __future__ import annotations

from datetime import datetime, timedelta

from triage import store
from triage.domain.digest_calendar import zone_or_utc
from triage.domain.protocols import Clock
from triage.domain.records import Subscriber
from triage.store import Connection, Database

KEPT = timedelta(hours=1)
"""How long forgotten votes can be brought back; then the nightly job `tidy` deletes them."""


def forget(db: Database, clock: Clock, subscriber: Subscriber) -> int:
    """Forget all votes, interests and models of a subscriber; return the number of votes.

    Papers that they named and that are still to be found become no likes later. Saved papers stay
    in their collections.
    """
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        n = len(store.events.votes(conn, subscriber.id))
        store.forgotten_votes.forget(conn, subscriber.id, clock.now())
        store.user_models.forget(conn, subscriber.id)
    return n


def can_restore_until(conn: Connection, clock: Clock, subscriber: Subscriber) -> datetime | None:
    """Return until when forgotten votes can be brought back, in the subscriber's time zone.

    None if there are none.
    """
    at = store.forgotten_votes.forgotten_at(conn, subscriber.id, clock.now() - KEPT)
    return at and (at + KEPT).astimezone(zone_or_utc(subscriber.zone))


def restore(db: Database, clock: Clock, subscriber: Subscriber) -> bool:
    """Bring forgotten votes back; return False if there are none, or the hour is over."""
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        if can_restore_until(conn, clock, subscriber) is None:
            return False
        store.forgotten_votes.restore(conn, subscriber.id, clock.now() - KEPT)
    return True
