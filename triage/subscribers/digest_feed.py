"""A subscriber's digests as a feed, at an address that is secret and can be revoked.

Whoever has the address can read along, and nothing else: a feed holds no link that acts for the
subscriber, for its address is given to services that fetch it.
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
    """Return the addresses of a subscriber's feed, which is made now if there is none.

    The same addresses come every time until the feed is revoked.
    """
    with db.write() as conn:
        found = store.digest_feeds.of(conn, subscriber.id)
        if found is None:
            found = secrets.token_hex(10), clock.now()
            store.digest_feeds.add(conn, subscriber.id, *found)
    public_id, made_at = found
    return links(keyring, Claims(subscriber.public_id, made_at, public_id), base_url)


def links(keyring: Keyring, claims: Claims, base_url: str) -> FeedLinks:
    """Return the addresses of the feed that some claims are about."""
    token = keyring.sign(Purpose.FEED, claims)
    start = f"{base_url.rstrip('/')}/f/{token}"
    return FeedLinks(f"{start}.atom", f"{start}.json")


def revoke(db: Database, subscriber: Subscriber) -> bool:
    """Let the addresses of a subscriber's feed lead nowhere; return False if there were none."""
    with db.write() as conn:
        return store.digest_feeds.revoke(conn, subscriber.id)


def digests(db: Database, claims: Claims, today: date) -> list[Slate] | None:
    """Return the digests of the last two weeks, newest first; None if the feed was revoked."""
    with db.read() as conn:
        subscriber = store.subscribers.by_public_id(conn, claims.subscriber)
        live = store.digest_feeds.of(conn, subscriber.id) if subscriber is not None else None
        if subscriber is None or live is None or live[0] != claims.slate:
            return None
        days = (today - timedelta(days=back) for back in range(-1, DAYS))
        slates = (store.slates.by_day(conn, subscriber.id, on) for on in days)
        return [slate for slate in slates if slate is not None]
