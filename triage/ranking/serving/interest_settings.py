"""Updates a subscriber's interests, and mutes or pauses one of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from triage import store
from triage.domain.protocols import Clock, Encoder
from triage.domain.records import Interest, Subscriber
from triage.errors import NotFound
from triage.ranking.interest_clusters import cluster_interests, name_interests
from triage.ranking.pool import Pool
from triage.ranking.serving.active_models import (
    encode_new,
    ensure_active_models,
    load_active_models,
)
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import load_pool, load_profile
from triage.store import Database

# Names of interests are compared with the papers of these days.
POOL_DAYS = 14
# The same where a page waits, in days that have papers.
QUICK_DAYS = 3


@dataclass(frozen=True, slots=True)
class InterestShare:
    """An interest and its current share of the slate, in [0, 1]; 0 if it is paused or muted."""

    interest: Interest
    share: float


def refresh_interests(
    database: Database, model_store: ModelStore, clock: Clock, subscriber: Subscriber
) -> tuple[InterestShare, ...]:
    """Compute, store and return a subscriber's interests, largest first.

    Raises:
        NotFound: no papers are stored.
    """
    encoder = ensure_active_models(database, model_store, clock, clock.now().date()).encoder
    encode_new(database, encoder)
    with database.read() as conn:
        pool = load_pool(conn, encoder, clock.now().date(), POOL_DAYS)
    return _refresh(database, encoder, pool, clock, subscriber)


def refresh_interests_quickly(
    database: Database, model_store: ModelStore, clock: Clock, subscriber: Subscriber
) -> None:
    """Do the same for a page: with the active encoder and few papers, fit and encode nothing.

    Without an encoder, the next digest finds the interests.
    """
    pair = load_active_models(database, model_store)
    with database.read() as conn:
        days = store.listing_days.newest_days(conn, QUICK_DAYS)
        if pair is None or not days:
            return
        pool = load_pool(conn, pair.encoder, days[0], (days[0] - days[-1]).days)
    _refresh(database, pair.encoder, pool, clock, subscriber)


def _refresh(
    database: Database,
    encoder: Encoder,
    pool: Pool,
    clock: Clock,
    subscriber: Subscriber,
) -> tuple[InterestShare, ...]:
    on = clock.now().date()
    with database.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        profile = load_profile(conn, encoder, subscriber, store.events.votes(conn, subscriber.id))
        found = cluster_interests(profile, on, pool.threshold)
        with_names = name_interests(found, profile, pool.mean_tfidf, encoder)
        saved = store.interests.save(conn, subscriber.id, with_names, clock.now())
    return tuple(
        InterestShare(each, float(share)) for each, share in zip(saved, found.shares, strict=True)
    )


def set_interest_pause(
    database: Database,
    clock: Clock,
    subscriber: Subscriber,
    number: int,
    *,
    muted: bool = False,
    paused_until: date | None = None,
) -> Interest:
    """Mute an interest, or pause it until a date, from the next digest on; by default resume it.

    Raises:
        NotFound: the subscriber has no interest of that number.
    """
    with database.write() as conn:
        known = {each.number: each for each in store.interests.of(conn, subscriber.id)}
        if number not in known:
            numbers = ", ".join(map(str, known)) or "none yet"
            raise NotFound(f"no interest {number}; the numbers are {numbers}: list them first")
        at = clock.now()
        store.interests.set_muted(
            conn, subscriber.id, number, muted=muted, paused_until=paused_until, at=at
        )
    return known[number]
