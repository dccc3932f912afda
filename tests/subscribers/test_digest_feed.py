"""A subscriber's feed has one address, until it is revoked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import add_reader, empty_slate, installed, queue
from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.store import Database
from triage.subscribers import digest_feed, subscriptions

KEYRING = Keyring("a secret of the tests, 32 or more characters")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as database:
        yield database


def claims_of(address: str) -> Claims:
    token = address.rpartition("/")[2].removesuffix(".atom")
    return KEYRING.verify(token, Purpose.FEED, NOON + timedelta(days=5000))


def test_the_address_stays_until_it_is_revoked_and_then_is_another(db: Database) -> None:
    reader = add_reader(db)
    clock = StoppedClock()

    def address() -> str:
        return digest_feed.get_or_create_feed(
            db, clock, KEYRING, reader, "https://x.example/papers/"
        ).atom

    first = address()
    clock.sleep(100_000)
    assert address() == first
    assert first.startswith("https://x.example/papers/f/v1.")
    assert digest_feed.digests(db, claims_of(first), DAY) == []
    assert digest_feed.revoke(db, reader)
    assert not digest_feed.revoke(db, reader)
    assert digest_feed.digests(db, claims_of(first), DAY) is None
    assert address() != first
    assert digest_feed.digests(db, claims_of(first), DAY) is None


def test_a_feed_holds_two_weeks_newest_first(db: Database) -> None:
    reader = add_reader(db)
    for back in (0, 3, 13, 14):
        queue(db, empty_slate(reader, back + 1, on=DAY - timedelta(days=back)))
    found = digest_feed.get_or_create_feed(db, StoppedClock(), KEYRING, reader, "https://x.example")
    slates = digest_feed.digests(db, claims_of(found.atom), DAY)
    assert slates is not None
    assert [(DAY - slate.on).days for slate in slates] == [0, 3, 13]


def test_nobodys_feed_shows_anothers_digests(db: Database) -> None:
    one, other = add_reader(db, 1), add_reader(db, 2)
    queue(db, empty_slate(other, on=DAY))
    mine = digest_feed.get_or_create_feed(db, StoppedClock(), KEYRING, one, "https://x.example")
    theirs = digest_feed.get_or_create_feed(db, StoppedClock(), KEYRING, other, "https://x.example")
    assert digest_feed.digests(db, claims_of(mine.atom), DAY) == []
    crossed = Claims(other.public_id, NOON, claims_of(mine.atom).slate)
    assert digest_feed.digests(db, crossed, DAY) is None
    subscriptions.erase(db, other.email)
    assert digest_feed.digests(db, claims_of(theirs.atom), DAY) is None
