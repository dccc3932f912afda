"""A subscriber's digests as a feed, at a secret address that can be revoked.

The address allows only reading. Feeds have no links that act for the subscriber, because their
addresses are given to other services.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import date, timedelta

from triage import store
from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.domain.protocols import Clock
from triage.domain.records import Slate, Subscriber
from triage.store import Database

DAYS = 14


@dataclass(frozen=True, slots=True)
class FeedLinks:
    """The two addresses of one feed."""

    atom: str
    json: str


def get_or_create_feed(
    db: Database, clock: Clock, keyring: Keyring, subscriber: Subscriber, base_url: str
) -> FeedLinks:
    """Return the addresses of a subscriber's feed; they stay the same until it is revoked."""
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        feed = store.digest_feeds.of(conn, subscriber.id)
        if feed is None:
            feed = secrets.token_hex(10), clock.now()
            store.digest_feeds.add(conn, subscriber.id, *feed)
    public_id, made_at = feed
    return links(keyring, Claims(subscriber.public_id, made_at, public_id), base_url)


def links(keyring: Keyring, claims: Claims, base_url: str) -> FeedLinks:
    """Return the addresses of the feed with these claims."""
    start = f"{base_url.rstrip('/')}/f/{keyring.sign(Purpose.FEED, claims)}"
    return FeedLinks(f"{start}.atom", f"{start}.json")


def revoke(db: Database, subscriber: Subscriber) -> bool:
    """Make a subscriber's feed addresses invalid; return False if there were none."""
    return db.execute(store.digest_feeds.revoke, subscriber.id)


def digests(db: Database, claims: Claims, today: date) -> list[Slate] | None:
    """Return the digests of the last two weeks, newest first; None if the feed was revoked."""
    with db.read() as conn:
        subscriber = store.subscribers.by_public_id(conn, claims.subscriber)
        feed = store.digest_feeds.of(conn, subscriber.id) if subscriber is not None else None
        if subscriber is None or feed is None or feed[0] != claims.slate:
            return None
        days = (today - timedelta(days=back) for back in range(-1, DAYS))
        slates = (store.slates.by_day(conn, subscriber.id, on) for on in days)
        return [slate for slate in slates if slate is not None]
