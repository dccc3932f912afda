"""Subscribers come, pause, come back and leave."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from triage import store
from triage.domain.protocols import Clock
from triage.domain.records import EventKind, Subscriber, SubscriberState
from triage.errors import ConfigError, NotFound
from triage.store import Database
from triage.subscribers import preferences as preferences_module
from triage.subscribers.preferences import SubscriberPreferences

if TYPE_CHECKING:
    from sqlalchemy import Connection


DEFAULTS = SubscriberPreferences()


@dataclass(frozen=True, slots=True)
class Added:
    """The subscriber as stored. `new` is False when the address was known and nothing changed."""

    subscriber: Subscriber
    new: bool


def add(
    db: Database,
    email: str,
    clock: Clock,
    preferences: SubscriberPreferences = DEFAULTS,
    *,
    likes: Sequence[str] = (),
    consent: str = "the operator vouches for it",
    address_hash: Callable[[str], str] | None = None,
) -> Added:
    """Add a confirmed subscriber; an address that is known already stays as it is.

    Args:
        likes: papers, as `store.papers.resolve` understands them; each counts as a vote up.
        consent: how the subscriber agreed to receive mail.
        address_hash: the name under which an address is suppressed; None asks nobody.

    Raises:
        ConfigError: the address or a preference cannot be, or the address is suppressed.
        NotFound: a liked paper is not stored; nothing was added then.
    """
    subscriber = new_subscriber(email, preferences)
    address = subscriber.email
    key = store.subscribers.email_key(address)
    now = clock.now()
    with db.write() as conn:
        known = store.subscribers.by_email_key(conn, key)
        if known is not None:
            return Added(known, new=False)
        _refuse_suppressed(conn, address, address_hash)
        papers = {like: store.papers.resolve(conn, like) for like in likes}
        missing = [like for like, id in papers.items() if id is None]
        if missing:
            raise NotFound(
                f"no paper {missing[0][:80]!r}"
                + (f" and {len(missing) - 1} more of the likes" if missing[1:] else "")
                + ": import the papers first (`triage papers import`), or leave these likes out"
            )
        added = store.subscribers.add(conn, subscriber, email_key=key, consent=consent, at=now)
        like_at_start(conn, added.id, [id for id in papers.values() if id is not None], now)
    return Added(added, new=True)


def like_at_start(
    conn: Connection, subscriber_id: int, paper_ids: Sequence[int], at: datetime
) -> None:
    """Store what a new subscriber says they like, of what is stored, each paper once."""
    stored = store.papers.load(conn, paper_ids)
    for paper_id in dict.fromkeys(paper_ids):
        if paper_id in stored:
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=subscriber_id,
                    paper_id=paper_id,
                    kind=EventKind.VOTE_UP,
                    at=at,
                    recorded_at=at,
                    evidence={"method": "like given at the start"},
                ),
            )


def new_subscriber(email: str, preferences: SubscriberPreferences = DEFAULTS) -> Subscriber:
    """Return a new subscriber as yet nowhere stored, in the spelling that is stored.

    Raises:
        ConfigError: the address or a preference cannot be.
    """
    return Subscriber(
        id=0,
        public_id=secrets.token_hex(10),
        email=normal_address(email),
        state=SubscriberState.ACTIVE,
        **preferences_module.checked(asdict(preferences)),
    )


def find(db: Database, email: str) -> Subscriber:
    """Return the subscriber with that address.

    Raises:
        NotFound: there is none.
    """
    with db.read() as conn:
        return _by_email(conn, email)


def unsubscribe(db: Database, public_id: str, clock: Clock) -> bool:
    """Stop all mail at once, what waits in the outbox included; return False if it was stopped.

    Raises:
        NotFound: the subscriber was erased, and gets nothing either.
    """
    with db.write() as conn:
        subscriber = store.subscribers.by_public_id(conn, public_id)
        if subscriber is None:
            raise NotFound("this subscriber is no longer stored and gets no mail")
        return store.messages.stop(conn, subscriber.id, SubscriberState.UNSUBSCRIBED, clock.now())


def pause(db: Database, email: str, clock: Clock, until: date | None = None) -> bool:
    """Send nothing until `resume`; return False when nothing was being sent anyway.

    Args:
        until: the first date on which digests come again by themselves.

    Raises:
        ConfigError: that date has come already where the subscriber is.
        NotFound: no such subscriber.
    """
    with db.write() as conn:
        subscriber = _by_email(conn, email)
        if subscriber.state is not SubscriberState.ACTIVE:
            return False
        if until is None:
            return store.messages.stop(conn, subscriber.id, SubscriberState.PAUSED, clock.now())
        if until <= clock.now().astimezone(ZoneInfo(subscriber.zone)).date():
            raise ConfigError(f"{until} has come already: name the day on which digests come again")
        store.messages.cancel_waiting(conn, subscriber.id, SubscriberState.PAUSED, clock.now())
        store.subscribers.change(conn, subscriber.id, paused_until=until)
        return True


def resume(
    db: Database, email: str, clock: Clock, address_hash: Callable[[str], str] | None = None
) -> bool:
    """Send again to somebody who paused, unsubscribed or bounced; return False if active already.

    Raises:
        ConfigError: the address was never confirmed, or is suppressed.
        NotFound: no such subscriber.
    """
    with db.write() as conn:
        subscriber = _by_email(conn, email)
        if subscriber.state is SubscriberState.PENDING:
            raise ConfigError("this address was never confirmed: erase it and add it again")
        _refuse_suppressed(conn, subscriber.email, address_hash)
        now = clock.now()
        today = now.astimezone(ZoneInfo(subscriber.zone)).date()
        rested = subscriber.paused_until is not None and subscriber.paused_until > today
        store.subscribers.change(conn, subscriber.id, paused_until=None)
        return (
            store.subscribers.set_state(conn, subscriber.id, SubscriberState.ACTIVE, now) or rested
        )


def change(db: Database, public_id: str, **wanted: Any) -> Subscriber:
    """Change what a subscriber chose, by the names of `Subscriber`; the next digest knows it.

    Raises:
        ConfigError: a choice cannot be; nothing was changed then.
        NotFound: no such subscriber.
    """
    good = preferences_module.checked(wanted)
    with db.write() as conn:
        subscriber = store.subscribers.by_public_id(conn, public_id)
        if subscriber is None:
            raise NotFound("this subscriber is no longer stored")
        if good:
            store.subscribers.change(conn, subscriber.id, **good)
    return replace(subscriber, **good)


def start_afresh(db: Database, subscriber: Subscriber) -> int:
    """Forget every vote of a subscriber and all that was learned of them; return how many votes."""
    with db.write() as conn:
        store.user_models.forget(conn, subscriber.id)
        store.interests.forget(conn, subscriber.id)
        return store.events.forget(conn, subscriber.id)


def take_back(db: Database, subscriber: Subscriber, paper_id: int) -> bool:
    """Forget a subscriber's votes on one paper; return False if there were none."""
    with db.write() as conn:
        return store.events.forget(conn, subscriber.id, paper_id) > 0


def erase(db: Database, email: str) -> None:
    """Delete a subscriber with votes, slates, impressions and the bytes of every message.

    Raises:
        NotFound: no such subscriber.
    """
    with db.write() as conn:
        store.subscribers.erase(conn, _by_email(conn, email).id)


def _by_email(conn: Connection, email: str) -> Subscriber:
    subscriber = store.subscribers.by_email_key(conn, store.subscribers.email_key(email))
    if subscriber is None:
        raise NotFound("no such subscriber: `triage subscriber list` shows all of them")
    return subscriber


def _refuse_suppressed(
    conn: Connection, email: str, address_hash: Callable[[str], str] | None
) -> None:
    reason = store.suppressions.reason(conn, address_hash(email)) if address_hash else None
    if reason is not None:
        raise ConfigError(
            f"nothing is sent to this address any more ({reason}): if its owner asks for mail,"
            " `triage outbox suppress EMAIL --lift` lets it receive again"
        )


def normal_address(email: str) -> str:
    """Return a mail address in the spelling that is stored.

    Raises:
        ConfigError: it is no mail address.
    """
    from email_validator import EmailNotValidError, validate_email

    try:
        # Test domains are let through: whether an address receives mail is for its server to say.
        valid = validate_email(email.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ConfigError(f"that is not a mail address: {error}") from None
    return valid.normalized
