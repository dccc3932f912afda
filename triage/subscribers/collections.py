"""Saves papers into collections, and takes them out again.

A save is a vote and a membership: the vote is the strongest like, and a paper is saved while it is
in a collection. Other votes on a saved paper leave it in its collections.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from triage import store
from triage.domain.protocols import Clock
from triage.domain.records import EventKind, Subscriber
from triage.store import Database
from triage.subscribers import votes


def save(
    db: Database,
    clock: Clock,
    subscriber: Subscriber,
    paper_id: int,
    collection: int | None = None,
    evidence: Mapping[str, Any] = MappingProxyType({"method": "page"}),
) -> bool:
    """Save a paper; return False if the last vote was a save already.

    Args:
        collection: see `votes.vote`.
        evidence: how the request arrived.

    Raises:
        NotFound: no such paper is stored, or the subscriber has no such collection.
    """
    save = EventKind.SAVE
    return votes.vote(db, subscriber, paper_id, save, clock, dict(evidence), collection)


def unsave(
    db: Database, subscriber: Subscriber, paper_id: int, collection: int | None = None
) -> bool:
    """Take a paper out of one collection, or of all; return False if it was in none of them.

    If no collection has it then, its saves are deleted, too; other votes stay.
    """
    with db.write() as conn:
        n = store.collections.take_out(conn, subscriber.id, [paper_id], of=collection)
        if n and not store.collections.holding(conn, subscriber.id, paper_id):
            store.events.forget(conn, subscriber.id, paper_id, EventKind.SAVE)
    return n > 0
