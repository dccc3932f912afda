"""Takes in what comes back: mail stops for who is not there or does not want it, and nobody else.

    complaint                     suppressed at once
    hard                          suppressed after two digests of different dates
    soft                          half a point a date; suppressed at five points (a hard one is one)
    unsubscribe                   unsubscribed
    policy, auto_reply, notice,
    unknown, forged               kept, and nothing else

A report counts only if it came to the address that one digest was sent from, whose token nobody
else can make, and it counts for that digest's date: whoever gets hold of one such address can spoil
one date with it. Everything is kept as it was received, and is known by its content, so that it may
be read any number of times.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

import structlog

from triage import store
from triage.errors import ConfigError, TokenError
from triage.ports import Clock
from triage.records import Subscriber, SubscriberState
from triage.returned import Kind, Returned, read
from triage.store import Database
from triage.tokens import Keyring, Purpose

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = structlog.get_logger()

POINTS = {Kind.HARD: 1.0, Kind.SOFT: 0.5}
THRESHOLD = 5.0
# After so long without a failure the points before it are forgotten.
STALE = timedelta(days=7)
# A mailbox that was said to be gone, and then took mail for so long, is there.
HARD_STALE = timedelta(days=30)
# Of what is longer, so much is kept; reports are a few thousand bytes.
LARGEST_KEPT = 1_000_000

AddressHash = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a message was and what followed.

    Attributes:
        known: it was taken in before, and nothing followed.
        stopped: the state that its subscriber was put into.
    """

    kind: Kind
    known: bool = False
    stopped: SubscriberState | None = None


@dataclass
class IntakeReport:
    """What a number of messages came to."""

    kinds: Counter[Kind] = field(default_factory=Counter)
    known: int = 0
    suppressed: int = 0
    unsubscribed: int = 0

    def add(self, taken: Taken) -> None:
        if taken.known:
            self.known += 1
            return
        self.kinds[taken.kind] += 1
        self.suppressed += taken.stopped is SubscriberState.SUPPRESSED
        self.unsubscribed += taken.stopped is SubscriberState.UNSUBSCRIBED

    def __str__(self) -> str:
        each = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kinds.items()))
        return (
            f"{self.kinds.total()} new" + (f" ({each})" if each else "") + f", {self.known} known;"
            f" {self.suppressed} suppressed, {self.unsubscribed} unsubscribed"
        )


@dataclass(frozen=True, slots=True)
class _About:
    """Whom a message is about, as far as its tokens prove it."""

    message: store.bounces.Sent | None = None
    subscriber: Subscriber | None = None

    @property
    def address(self) -> str | None:
        if self.message is not None:
            return self.message.recipient
        return self.subscriber.email if self.subscriber is not None else None


class Intake:
    """Takes in messages, in any order and any number of times.

    Args:
        address_hash: the name under which an address is suppressed.
    """

    def __init__(
        self, database: Database, keyring: Keyring, clock: Clock, address_hash: AddressHash
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._address_hash = address_hash

    def take_all(self, messages: Iterable[bytes]) -> IntakeReport:
        """Take in messages one by one, each in a transaction of its own."""
        report = IntakeReport()
        for raw in messages:
            report.add(self.take(raw))
        return report

    def take(self, raw: bytes) -> Taken:
        """Take in one message as it was received.

        Raises:
            DatabaseError: it could not be stored; it is to be handed in again.
        """
        content_hash = sha256(raw).hexdigest()
        try:
            returned = read(raw)
        except Exception:
            # Whatever a stranger sends is kept for a person to look at, and mail goes on.
            log.exception("unreadable", content_hash=content_hash)
            returned = Returned(Kind.UNKNOWN)
        now = self._clock.now()
        with self._database.write() as conn:
            if store.bounces.is_known(conn, content_hash):
                return Taken(returned.kind, known=True)
            kind, about = self._judged(conn, returned)
            subscriber = about.subscriber
            store.bounces.add(
                conn,
                content_hash=content_hash,
                kind=kind,
                status=returned.status,
                message_id=about.message.id if about.message else None,
                subscriber_id=subscriber.id if subscriber else None,
                raw=raw[:LARGEST_KEPT],
                at=now,
            )
            stopped = self._act(conn, kind, about, now)
        if stopped is not None and subscriber is not None:
            log.info("stopped", subscriber=subscriber.public_id, kind=str(kind), now=str(stopped))
        return Taken(kind, stopped=stopped)

    # -- whether it is about us, and whom ----------------------------------------------------------

    def _judged(self, conn: Connection, returned: Returned) -> tuple[Kind, _About]:
        """Return what a message is, now that its tokens are looked at, and whom it is about."""
        addressed, n_bad = self._verified(returned.addressed)
        quoted, n_bad_quoted = self._verified(returned.quoted)
        sent = addressed[Purpose.BOUNCE] + quoted[Purpose.BOUNCE]
        leaving = addressed[Purpose.UNSUBSCRIBE] + self._linked(returned.links)
        kind = returned.kind
        if kind is Kind.AUTO_REPLY:
            return kind, _by_slate(conn, sent)
        if kind is Kind.COMPLAINT and not sent:
            readers = quoted[Purpose.UNSUBSCRIBE] + self._linked(returned.quoted_links)
            if readers:
                return kind, _by_reader(conn, readers)
        if kind is not Kind.UNKNOWN and sent:
            return kind, _by_slate(conn, sent)
        if kind is Kind.UNKNOWN and leaving:
            return Kind.UNSUBSCRIBE, _by_reader(conn, leaving)
        n_bad += n_bad_quoted + len(returned.links) + len(returned.quoted_links)
        if n_bad and not sent and not leaving:
            return Kind.FORGED, _About()
        return Kind.UNKNOWN, _by_slate(conn, sent)

    def _verified(self, tokens: Sequence[str]) -> tuple[defaultdict[Purpose, list[str]], int]:
        """Return the public ids that tokens prove, by purpose, and how many prove nothing."""
        found: defaultdict[Purpose, list[str]] = defaultdict(list)
        n_bad = 0
        for token in tokens:
            try:
                purpose, public_id = self._keyring.verify_address(token)
            except TokenError:
                n_bad += 1
            else:
                found[purpose].append(public_id)
        return found, n_bad

    def _linked(self, tokens: Sequence[str]) -> list[str]:
        """Return the subscribers that tokens of links to unsubscribe prove."""
        found = []
        for token in tokens:
            with contextlib.suppress(TokenError):
                claims = self._keyring.verify(token, Purpose.UNSUBSCRIBE, self._clock.now())
                found.append(claims.subscriber)
        return found

    # -- what follows ------------------------------------------------------------------------------

    def _act(
        self, conn: Connection, kind: Kind, about: _About, now: datetime
    ) -> SubscriberState | None:
        subscriber, address = about.subscriber, about.address
        if subscriber is None or address is None:
            return None
        if kind is Kind.UNSUBSCRIBE:
            left = SubscriberState.UNSUBSCRIBED
            return left if store.messages.stop(conn, subscriber.id, left, now) else None
        reason = None
        if kind is Kind.COMPLAINT:
            reason = "complaint"
        elif kind in POINTS:
            reason = why_suppress(store.bounces.days(conn, subscriber.id, list(POINTS)))
        if reason is None:
            return None
        suppressed = _suppress(conn, subscriber, address, self._address_hash, reason, now)
        return SubscriberState.SUPPRESSED if suppressed else None


def why_suppress(failures: Sequence[tuple[date, str]]) -> str | None:
    """Return why an address is to be suppressed after these failures, None if it is not.

    Args:
        failures: dates of digests that came back, and whether `hard` or `soft`, in any order; a
            date counts once, as the worse of its failures. None give None.
    """
    points: dict[date, float] = {}
    for on, kind in failures:
        points[on] = max(points.get(on, 0.0), POINTS[Kind(kind)])
    hard = sorted(on for on, worth in points.items() if worth == POINTS[Kind.HARD])
    if any(later - on <= HARD_STALE for on, later in pairwise(hard)):
        return "no such mailbox"
    score, last_on = 0.0, date.min
    for on in sorted(points):
        score = points[on] + (score if on - last_on <= STALE else 0.0)
        last_on = on
        if score >= THRESHOLD:
            return "unreachable"
    return None


def suppress(database: Database, email: str, clock: Clock, address_hash: AddressHash) -> bool:
    """Send nothing to an address any more, whoever asks; return False if that was so.

    Raises:
        ConfigError: it is no address.
    """
    key, now = _key(email), clock.now()
    with database.write() as conn:
        known = store.suppressions.reason(conn, address_hash(key)) is not None
        store.suppressions.add(conn, address_hash(key), "operator", now)
        subscriber = store.subscribers.by_email_key(conn, key)
        if subscriber is not None:
            _suppress(conn, subscriber, subscriber.email, address_hash, "operator", now)
    return not known


def lift(database: Database, email: str, clock: Clock, address_hash: AddressHash) -> bool:
    """Let an address receive again; return False if it was not suppressed.

    A subscriber of that address who was active before is active again.

    Raises:
        ConfigError: it is no address.
    """
    key = _key(email)
    with database.write() as conn:
        lifted = store.suppressions.remove(conn, address_hash(key))
        subscriber = store.subscribers.by_email_key(conn, key)
        if subscriber is not None and subscriber.state is SubscriberState.SUPPRESSED:
            active = SubscriberState.ACTIVE
            lifted |= store.subscribers.set_state(conn, subscriber.id, active, clock.now())
    return lifted


def _key(email: str) -> str:
    key = store.subscribers.email_key(email)
    if "@" not in key.strip("@"):
        raise ConfigError("that is not a mail address")
    return key


def _suppress(
    conn: Connection,
    subscriber: Subscriber,
    address: str,
    address_hash: AddressHash,
    reason: str,
    now: datetime,
) -> bool:
    """Suppress an address, and stop mail to its subscriber; return False if there was none."""
    store.suppressions.add(conn, address_hash(address), reason, now)
    email_key = store.subscribers.email_key
    # Whoever has left has left, and whoever has another address by now is well there.
    is_well = subscriber.state is SubscriberState.UNSUBSCRIBED or (
        email_key(subscriber.email) != email_key(address)
    )
    suppressed = SubscriberState.SUPPRESSED
    return not is_well and store.messages.stop(conn, subscriber.id, suppressed, now)


def _by_slate(conn: Connection, public_ids: Sequence[str]) -> _About:
    found = (store.bounces.of_slate(conn, public_id) for public_id in public_ids)
    sent = next(filter(None, found), None)
    return _About(sent, store.subscribers.by_id(conn, sent.subscriber_id)) if sent else _About()


def _by_reader(conn: Connection, public_ids: Sequence[str]) -> _About:
    found = (store.subscribers.by_public_id(conn, public_id) for public_id in public_ids)
    return _About(subscriber=next(filter(None, found), None))
