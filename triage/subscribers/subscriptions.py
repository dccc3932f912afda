"""Adds, changes, pauses, resumes and erases subscribers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

from triage import store
from triage.domain.digest_calendar import zone_or_utc
from triage.domain.mail_addresses import why_unmailable
from triage.domain.protocols import Clock, PaperLookup
from triage.domain.records import EventKind, Subscriber, SubscriberState
from triage.domain.source_records import NamedPaper
from triage.errors import ConfigError, NotFound
from triage.store import Connection, Database
from triage.subscribers import named_papers
from triage.subscribers.preferences import SubscriberPreferences, check_all

DEFAULTS = SubscriberPreferences()
FIRST_LIKE = "like given at the start"
_NO_SUBSCRIBER = "no such subscriber: `triage subscriber list` shows all of them"


@dataclass(frozen=True, slots=True)
class AddResult:
    """The stored subscriber. `new` is False if the address was known and nothing changed.

    `n_waiting` counts the liked papers that are not stored yet; `problems` says which services did
    not answer, and what happens to these papers.
    """

    subscriber: Subscriber
    new: bool
    n_waiting: int = 0
    problems: tuple[str, ...] = ()


def add(
    db: Database,
    email: str,
    clock: Clock,
    preferences: SubscriberPreferences = DEFAULTS,
    *,
    likes: Sequence[str] = (),
    lookups: Sequence[PaperLookup] = (),
    consent: str = "the operator vouches for it",
    address_hash: Callable[[str], str] | None = None,
) -> AddResult:
    """Add a confirmed subscriber; change nothing if the address is known.

    Args:
        likes: ids of papers for `store.papers.resolve`; each counts as a vote up.
        lookups: are asked for liked papers that are not stored. Those that give no answer wait.
        consent: how the subscriber agreed to receive mail.
        address_hash: hashes an address for the suppression list; None skips this check.

    Raises:
        ConfigError: the address or a preference is not valid, or the address is suppressed.
        NotFound: a liked paper is not stored and nobody can be asked for it; nothing was added.
    """
    subscriber = new_subscriber(email, preferences)
    key = store.subscribers.email_key(subscriber.email)
    with db.read() as conn:
        is_known = store.subscribers.by_email_key(conn, key) is not None
        unstored = [like for like in likes if store.papers.resolve(conn, like) is None]
    names = _names_of(unstored, lookups)
    looked_up = named_papers.LookupReport()
    if not is_known and len(names) == len(unstored):
        looked_up = named_papers.look_up(db, lookups, clock, list(names.values()))
    now = clock.now()
    with db.write() as conn:
        store.take_turn(conn, store.Turn.ADDRESS, key)
        known = store.subscribers.by_email_key(conn, key)
        if known is not None:
            return AddResult(known, new=False)
        _refuse_suppressed(conn, subscriber.email, address_hash)
        papers = {like: store.papers.resolve(conn, like) for like in likes}
        unstored = [like for like, id in papers.items() if id is None]
        _refuse_unknown([like for like in unstored if like not in names])
        added = store.subscribers.add(conn, subscriber, email_key=key, consent=consent, at=now)
        add_first_likes(conn, added.id, [id for id in papers.values() if id is not None], now)
        waiting = list({names[like].key: names[like] for like in unstored}.values())
        store.named_papers.add(conn, added.id, waiting, FIRST_LIKE, now)
        store.named_papers.mark_asked(conn, looked_up.answered, now)
    lines = named_papers.describe_waiting(waiting, lookups, looked_up.answered)
    return AddResult(added, True, len(waiting), (*looked_up.problems, *lines))


def would_add(
    db: Database,
    email: str,
    preferences: SubscriberPreferences = DEFAULTS,
    *,
    likes: Sequence[str] = (),
    lookups: Sequence[PaperLookup] = (),
    address_hash: Callable[[str], str] | None = None,
) -> bool:
    """Tell whether `add` would add somebody; store nothing and ask nobody for papers.

    Raises:
        ConfigError, NotFound: as `add`.
    """
    subscriber = new_subscriber(email, preferences)
    with db.read() as conn:
        key = store.subscribers.email_key(subscriber.email)
        if store.subscribers.by_email_key(conn, key) is not None:
            return False
        _refuse_suppressed(conn, subscriber.email, address_hash)
        unstored = [like for like in likes if store.papers.resolve(conn, like) is None]
    names = _names_of(unstored, lookups)
    _refuse_unknown([like for like in unstored if like not in names])
    return True


def _names_of(likes: Sequence[str], lookups: Sequence[PaperLookup]) -> dict[str, NamedPaper]:
    """Return the names of those liked papers that a service can be asked for."""
    schemes = named_papers.find_schemes(lookups)
    named = {like: named_papers.read_name(like) for like in likes}
    return {like: name for like, name in named.items() if name and name.scheme in schemes}


def _refuse_unknown(likes: Sequence[str]) -> None:
    if likes:
        raise NotFound(
            f"no paper {likes[0][:80]!r}"
            + (f" and {len(likes) - 1} more of the likes" if likes[1:] else "")
            + ": import the papers first (`triage papers import`), or leave these likes out"
        )


def add_first_likes(
    conn: Connection, subscriber_id: int, paper_ids: Sequence[int], at: datetime
) -> None:
    """Store a new subscriber's likes; skip duplicates and papers that are not stored."""
    stored = store.papers.load(conn, paper_ids)
    new = [id for id in dict.fromkeys(paper_ids) if id in stored]
    add_likes(conn, subscriber_id, new, at, FIRST_LIKE)


def add_likes(
    conn: Connection,
    subscriber_id: int,
    paper_ids: Iterable[int],
    at: datetime,
    method: str,
    own: Mapping[int, str] = MappingProxyType({}),
) -> None:
    """Store a vote up for each paper; `method` is the evidence where the vote came from.

    Args:
        own: papers that the subscriber wrote, each with their name as an author, or "". Where they
            have a vote, it is stored again with this evidence.
    """
    new = [(id, EventKind.VOTE_UP, at) for id in paper_ids]
    known = [
        (vote.paper_id, vote.kind, vote.at)
        for vote in store.events.votes(conn, subscriber_id)
        if (name := own.get(vote.paper_id)) is not None
        and (vote.own is None or name not in ("", vote.own))
    ]
    for id, kind, voted_at in (*known, *new):
        evidence = {"method": method} | ({"own": own[id]} if id in own else {})
        event = store.events.Event(subscriber_id, id, kind, voted_at, at, evidence=evidence)
        store.events.append(conn, event)


def new_subscriber(email: str, preferences: SubscriberPreferences = DEFAULTS) -> Subscriber:
    """Return a new, active subscriber, which is not stored, with normalized preferences.

    Raises:
        ConfigError: the address or a preference is not valid.
    """
    return Subscriber(
        id=0,
        public_id=secrets.token_hex(10),
        email=normal_address(email),
        state=SubscriberState.ACTIVE,
        **check_all(asdict(preferences)),
    )


def find(db: Database, email: str) -> Subscriber:
    """Return the subscriber with this address.

    Raises:
        NotFound: there is none.
    """
    return db.fetch(_by_email, email)


def pause(db: Database, email: str, clock: Clock, until: date | None = None) -> bool:
    """Stop digests until `resume`; return False if the subscriber was not active.

    Args:
        until: the first date on which digests are sent again without `resume`.

    Raises:
        ConfigError: this date is not in the future in the subscriber's time zone.
        NotFound: no such subscriber.
    """
    with db.write() as conn:
        subscriber = _lock_by_email(conn, email)
        if subscriber.state is not SubscriberState.ACTIVE:
            return False
        if until is None:
            return store.messages.stop(conn, subscriber.id, SubscriberState.PAUSED, clock.now())
        if until <= clock.now().astimezone(zone_or_utc(subscriber.zone)).date():
            raise ConfigError(f"{until} is not in the future: enter the first day for new digests")
        store.messages.cancel_waiting(conn, subscriber.id, SubscriberState.PAUSED, clock.now())
        store.subscribers.change(conn, subscriber.id, paused_until=until)
        return True


def resume(
    db: Database, email: str, clock: Clock, address_hash: Callable[[str], str] | None = None
) -> bool:
    """Send digests again after a pause, an unsubscription or bounces; False if already active.

    Raises:
        ConfigError: the address was never confirmed, or is suppressed.
        NotFound: no such subscriber.
    """
    with db.write() as conn:
        subscriber = _lock_by_email(conn, email)
        if subscriber.state is SubscriberState.PENDING:
            raise ConfigError("this address was never confirmed: erase it and add it again")
        _refuse_suppressed(conn, subscriber.email, address_hash)
        now = clock.now()
        today = now.astimezone(zone_or_utc(subscriber.zone)).date()
        was_paused = subscriber.paused_until is not None and subscriber.paused_until > today
        store.subscribers.change(conn, subscriber.id, paused_until=None)
        is_new = store.subscribers.set_state(conn, subscriber.id, SubscriberState.ACTIVE, now)
        return is_new or was_paused


def change(db: Database, public_id: str, **changes: Any) -> Subscriber:
    """Change preferences, by the names of `Subscriber`, from the next digest on.

    Raises:
        ConfigError: a preference is not valid; nothing was changed.
        NotFound: no such subscriber.
    """
    good = check_all(changes)
    with db.write() as conn:
        subscriber = store.subscribers.by_public_id(conn, public_id)
        if subscriber is None:
            raise NotFound("this subscriber is no longer stored")
        if good:
            store.subscribers.change(conn, subscriber.id, **good)
    return replace(subscriber, **good)


def take_back(db: Database, subscriber: Subscriber, paper_id: int) -> bool:
    """Delete a subscriber's votes on one paper; return False if there were none.

    The save of a paper in a collection stays: `collections.unsave` takes it back.
    """
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        is_saved = bool(store.collections.holding(conn, subscriber.id, paper_id))
        return store.events.forget(conn, subscriber.id, paper_id, saves=not is_saved) > 0


def find_id(db: Database, email: str) -> int:
    """Return the id of the subscriber with this address, also if their row cannot be read.

    Raises:
        NotFound: there is none.
    """
    id = db.fetch(store.subscribers.id_by_email_key, store.subscribers.email_key(email))
    if id is None:
        raise NotFound(_NO_SUBSCRIBER)
    return id


def erase(db: Database, email: str) -> None:
    """Delete a subscriber with all votes, slates, impressions and messages.

    Raises:
        NotFound: no such subscriber.
    """
    db.execute(store.subscribers.erase, find_id(db, email))


def _by_email(conn: Connection, email: str) -> Subscriber:
    subscriber = store.subscribers.by_email_key(conn, store.subscribers.email_key(email))
    if subscriber is None:
        raise NotFound(_NO_SUBSCRIBER)
    return subscriber


def _lock_by_email(conn: Connection, email: str) -> Subscriber:
    """Return what `_by_email` does, of a subscriber whom no other writer changes from now on."""
    store.subscribers.lock_one(conn, _by_email(conn, email).id)
    return _by_email(conn, email)


def _refuse_suppressed(
    conn: Connection, email: str, address_hash: Callable[[str], str] | None
) -> None:
    reason = store.suppressions.reason(conn, address_hash(email)) if address_hash else None
    if reason is not None:
        raise ConfigError(
            f"this address is suppressed ({reason}): if its owner wants mail again, run"
            " `triage outbox suppress EMAIL --lift`"
        )


def normal_address(email: str) -> str:
    """Return a mail address in the form in which it is stored and mailed, which is ASCII.

    Raises:
        ConfigError: this is not a mail address, or no mail can go to it.
    """
    from email_validator import EmailNotValidError, validate_email

    try:
        # Test domains are allowed: only the mail server knows whether an address exists.
        valid = validate_email(email.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ConfigError(f"this is not a mail address: {error}") from None
    address = valid.ascii_email or valid.normalized
    if why := why_unmailable(address):
        raise ConfigError(f"no mail can go to this address: {why}")
    return address
