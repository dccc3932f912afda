"""What a subscriber's interests are, and which of them rest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from triage import store
from triage.domain.protocols import Clock, ModelStore
from triage.domain.records import Interest, Subscriber
from triage.errors import NotFound
from triage.ranking.interest_clusters import cluster_interests, named, similarity_threshold
from triage.ranking.serving.active_models import encode_new, ensure_active_models
from triage.ranking.serving.ranker import load_pool, load_profile
from triage.store import Database

# The papers that names are set off against.
POOL_DAYS = 14


@dataclass(frozen=True, slots=True)
class TunedInterest:
    """An interest and its share of the slate now, in [0, 1]; 0 for one that rests."""

    interest: Interest
    share: float


def refresh_interests(
    database: Database, workshop: ModelStore, clock: Clock, subscriber: Subscriber
) -> tuple[TunedInterest, ...]:
    """Find a subscriber's interests as they are now, largest first, and store them.

    Raises:
        NotFound: no papers are stored at all.
    """
    on = clock.now().date()
    encoder = ensure_active_models(database, workshop, clock, on).encoder
    encode_new(database, encoder)
    with database.write() as conn:
        profile = load_profile(conn, encoder, subscriber, store.events.votes(conn, subscriber.id))
        pool = load_pool(conn, encoder, on, POOL_DAYS)
        found = cluster_interests(profile, on, similarity_threshold(pool.encodings.latent))
        told = named(found, profile, pool, encoder)
        kept = store.interests.save(conn, subscriber.id, told, clock.now())
    return tuple(
        TunedInterest(each, float(share)) for each, share in zip(kept, found.shares, strict=True)
    )


def rest(
    database: Database,
    clock: Clock,
    subscriber: Subscriber,
    number: int,
    *,
    muted: bool = False,
    paused_until: date | None = None,
) -> Interest:
    """Let an interest rest, for good or until a date; neither wakes it. The next digest knows it.

    Raises:
        NotFound: the subscriber has no interest of that number.
    """
    with database.write() as conn:
        known = {each.number: each for each in store.interests.of(conn, subscriber.id)}
        if number not in known:
            told = ", ".join(map(str, known)) or "none yet"
            raise NotFound(f"no interest {number}; the numbers are {told}: list them first")
        store.interests.rest(
            conn,
            subscriber.id,
            number,
            muted=muted,
            paused_until=paused_until,
            at=clock.now(),
        )
    return known[number]
