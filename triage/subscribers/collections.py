"""Saves papers into collections, takes them out again, and manages collections.

A save is a vote and a membership: the vote is the strongest like, and a paper is saved while it is
in a collection. Other votes on a saved paper leave it in its collections.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from triage import store
from triage.domain.plain_text import clean, fold
from triage.domain.protocols import Clock
from triage.domain.records import EventKind, Subscriber
from triage.errors import ConfigError, NotFound
from triage.store import Connection, Database
from triage.subscribers import votes

MOST: Final = 200
"""The most collections and saved searches of a subscriber together."""

LONGEST_NAME: Final = 80
FROM_PAGE: Final = MappingProxyType({"method": "paper page"})
_NO_COLLECTION: Final = "you have no such collection"


def save(
    db: Database,
    clock: Clock,
    subscriber: Subscriber,
    paper_id: int,
    collection: int | None = None,
    evidence: Mapping[str, Any] = FROM_PAGE,
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
        store.subscribers.lock_one(conn, subscriber.id)
        n = store.collections.take_out(conn, subscriber.id, [paper_id], of=collection)
        if n and not store.collections.holding(conn, subscriber.id, paper_id):
            store.events.forget_saves(conn, subscriber.id, [paper_id])
    return n > 0


def is_in_named(db: Database, subscriber: Subscriber, paper_id: int) -> bool:
    """Return whether a paper is in another collection than the default one."""
    with db.read() as conn:
        held = store.collections.holding(conn, subscriber.id, paper_id)
        default = store.collections.find_default(conn, subscriber.id)
    return bool(held - {default.id if default else 0})


def place(
    db: Database,
    clock: Clock,
    subscriber: Subscriber,
    paper_id: int,
    chosen: Collection[int],
    evidence: Mapping[str, Any] = FROM_PAGE,
) -> None:
    """Save a paper into exactly these collections; without any, it is not saved any more.

    Raises:
        NotFound: no such paper is stored, or the subscriber has no such collection.
    """
    before = db.fetch(store.collections.holding, subscriber.id, paper_id)
    # It comes in before it goes out, so that its save is never deleted on the way.
    for id in sorted(set(chosen) - before):
        save(db, clock, subscriber, paper_id, id, evidence)
    for id in sorted(before.difference(chosen)):
        unsave(db, subscriber, paper_id, id)


def get_or_create_default(db: Database, clock: Clock, subscriber: Subscriber) -> int:
    """Return the id of a subscriber's default collection."""
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        return votes.default_collection(conn, subscriber.id, clock.now())


def create(db: Database, clock: Clock, subscriber: Subscriber, name: str, query: str = "") -> int:
    """Store a new collection, or a saved search if it has a query, and return its id.

    Raises:
        ConfigError: the name is empty, too long or taken, or there are MOST collections.
    """
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        name = _check_name(conn, subscriber, name)
        if len(store.collections.of(conn, subscriber.id)) >= MOST:
            raise ConfigError(f"You have {MOST} collections and searches. Delete one first.")
        public_id = secrets.token_hex(10)
        return store.collections.add(conn, subscriber.id, name, public_id, clock.now(), query)


def rename(db: Database, subscriber: Subscriber, id: int, name: str) -> None:
    """Give a collection or a saved search another name.

    Raises:
        ConfigError: the name is empty, too long or taken.
        NotFound: the subscriber has no such collection, or it is the default one.
    """
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        _find_own(conn, subscriber, id)
        store.collections.change(conn, id, name=_check_name(conn, subscriber, name, id))


def renew_feed(db: Database, subscriber: Subscriber, id: int) -> None:
    """Give the feed of a collection a new address; the old one does not work any more.

    Raises:
        NotFound: the subscriber has no such collection.
    """
    with db.write() as conn:
        if store.collections.find(conn, subscriber.id, id) is None:
            raise NotFound(_NO_COLLECTION)
        store.collections.change(conn, id, public_id=secrets.token_hex(10))


def delete(db: Database, subscriber: Subscriber, id: int, *, unsaves: bool) -> None:
    """Delete a collection or a saved search.

    Args:
        unsaves: papers that are in no other collection are not saved any more. Otherwise they go
            into the default collection.

    Raises:
        NotFound: the subscriber has no such collection, or it is the default one.
    """
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        collection = _find_own(conn, subscriber, id)
        alone = store.collections.find_only_in(conn, collection)
        store.collections.remove(conn, id)
        if unsaves:
            store.events.forget_saves(conn, subscriber.id, alone)
        elif alone:
            default = votes.default_collection(conn, subscriber.id, max(alone.values()))
            store.collections.put_all(conn, default, alone)


def _find_own(conn: Connection, subscriber: Subscriber, id: int) -> store.collections.Collection:
    """Return a collection that its subscriber may rename and delete, or raise NotFound."""
    found = store.collections.find(conn, subscriber.id, id)
    if found is None or found.is_default:
        raise NotFound(_NO_COLLECTION)
    return found


def _check_name(conn: Connection, subscriber: Subscriber, name: str, id: int = 0) -> str:
    """Return a name on one line, or raise ConfigError if collection `id` cannot have it."""
    name = clean(name)
    if not name:
        raise ConfigError("Write a name.")
    if len(name) > LONGEST_NAME:
        raise ConfigError(f"Write a name of at most {LONGEST_NAME} characters.")
    taken = {
        fold(each.name) for each, _ in store.collections.of(conn, subscriber.id) if each.id != id
    }
    if fold(name) in taken | {fold(store.collections.DEFAULT_NAME)}:
        raise ConfigError("You have a collection or a search with this name already.")
    return name
