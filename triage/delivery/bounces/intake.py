"""Takes in bounces, complaints and votes, and does what they say about a subscriber.

    complaint                     suppressed at once
    hard                          suppressed after two digests of different dates
    soft                          half a point per date; suppressed at five points (hard: one point)
    unsubscribe                   unsubscribed
    vote                          stored as a vote
    policy, auto_reply, notice,
    ignored_vote, unknown, forged stored only

A report counts only if it came to the envelope sender of one digest, which has a token that nobody
else can make. It counts for the date of that digest, so a leaked address can affect only one date.
Every message is stored as received, under the hash of its content, so it may be read again. A vote
is stored under the hash of its Message-ID and tokens, because a copy of it that came another way
has other bytes. It counts if its token is genuine and its sender is proved to be the subscriber.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from email.parser import BytesHeaderParser
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import structlog

from triage import store
from triage.delivery.bounces.classify import ClassifiedMail, Kind, classify
from triage.delivery.bounces.sender_proof import Sender, prove_sender
from triage.domain.chunks import group
from triage.domain.link_tokens import LIFETIMES, Claims, Keyring, Purpose
from triage.domain.protocols import Clock
from triage.domain.records import EventKind, SubscriberState
from triage.errors import ConfigError, TokenError
from triage.store import Database
from triage.store.subscribers import Contact

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

log = structlog.get_logger()

POINTS = {Kind.HARD: 1.0, Kind.SOFT: 0.5}
THRESHOLD = 5.0
# Points expire after so long without a failure.
STALE = timedelta(days=7)
# A mailbox that accepts mail for so long after a hard bounce exists.
HARD_STALE = timedelta(days=30)
# Bytes stored of a longer message; reports have a few thousand.
LARGEST_KEPT = 1_000_000

AddressHash = Callable[[str], str]
RecordVote = Callable[["Connection", Claims, datetime, dict[str, Any]], bool]
"""Stores a vote that counts, with its evidence; returns False if its paper is not stored."""
Vote = tuple[str, int, EventKind]


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """The kind of a message and its effect.

    Attributes:
        known: it was taken in before, so it has no effect.
        stopped: the new state of its subscriber; None if that did not change.
    """

    kind: Kind
    known: bool = False
    stopped: SubscriberState | None = None


@dataclass
class IntakeReport:
    """Counts over several messages."""

    kinds: Counter[Kind] = field(default_factory=Counter)
    known: int = 0
    suppressed: int = 0
    unsubscribed: int = 0

    def __str__(self) -> str:
        each = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kinds.items()))
        return (
            f"{self.kinds.total()} new" + (f" ({each})" if each else "") + f", {self.known} known;"
            f" {self.suppressed} suppressed, {self.unsubscribed} unsubscribed"
        )


@dataclass(frozen=True, slots=True)
class _About:
    """The digest and the subscriber that the tokens of a message prove."""

    message: Row[int, int, str, datetime] | None = None
    subscriber: Contact | None = None

    @property
    def address(self) -> str | None:
        if self.message is not None:
            return str(self.message.recipient)
        return self.subscriber.email if self.subscriber is not None else None


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes in messages, in any order and any number of times.

    Attributes:
        address_hash: returns the key under which an address is suppressed.
        authserv_id: see `prove_sender`.
    """

    database: Database
    keyring: Keyring
    clock: Clock
    address_hash: AddressHash
    record_vote: RecordVote
    authserv_id: str = ""

    def take_all(self, messages: Iterable[bytes]) -> IntakeReport:
        """Take in messages, each in its own transaction."""
        report = IntakeReport()
        for raw in messages:
            taken = self.take(raw)
            report.known += taken.known
            if not taken.known:
                report.kinds[taken.kind] += 1
            report.suppressed += taken.stopped is SubscriberState.SUPPRESSED
            report.unsubscribed += taken.stopped is SubscriberState.UNSUBSCRIBED
        return report

    def take(self, raw: bytes) -> IntakeResult:
        """Take in one message as it was received.

        Raises:
            DatabaseError: it could not be stored; take it in again later.
        """
        content_hash = sha256(raw).hexdigest()
        try:
            returned = classify(raw)
            votes = self._verify_votes(returned)
            sender = prove_sender(raw, self.authserv_id) if votes else Sender()
        except Exception:
            # Strangers may send anything: store it for the operator, and continue.
            log.exception("unreadable", content_hash=content_hash)
            returned, votes, sender = ClassifiedMail(Kind.UNKNOWN), [], Sender()
        now = self.clock.now()
        with self.database.write() as conn:
            kind, about = self._check_tokens(conn, returned, votes)
            status = returned.status
            claims: list[Claims] = []
            if votes and kind is Kind.UNKNOWN:
                about, claims, status = _weigh(conn, votes, sender, now)
                kind = Kind.VOTE if claims else Kind.IGNORED_VOTE
            if kind is Kind.VOTE:
                content_hash = _hash_of_votes(raw, votes) or content_hash
            store.take_turn(conn, store.Turn.RETURNED, content_hash)
            if store.bounces.is_known(conn, content_hash):
                return IntakeResult(kind, known=True)
            if kind is not Kind.VOTE:
                about = _lock(conn, about)
            evidence = {"method": "mail", "proof": sender.proof}
            stored = [self.record_vote(conn, each, now, evidence) for each in claims]
            if claims and not any(stored):
                kind, status = Kind.IGNORED_VOTE, "no such paper"
            subscriber = about.subscriber
            # After an erasure, nothing is kept that the subscriber wrote.
            is_erased = kind is Kind.IGNORED_VOTE and about.message is None
            store.bounces.add(
                conn,
                content_hash=content_hash,
                kind=kind,
                status=status,
                message_id=about.message.id if about.message else None,
                subscriber_id=subscriber.id if subscriber else None,
                raw=None if is_erased else raw[:LARGEST_KEPT],
                received_at=now,
            )
            stopped = self._act(conn, kind, about, now)
        if stopped is not None and subscriber is not None:
            log.info("stopped", subscriber=subscriber.public_id, kind=str(kind), now=str(stopped))
        return IntakeResult(kind, stopped=stopped)

    # -- tokens ------------------------------------------------------------------------------------

    def _check_tokens(
        self, conn: Connection, returned: ClassifiedMail, votes: Sequence[Vote]
    ) -> tuple[Kind, _About]:
        """Return the kind of a message after its tokens were checked, and whom it is about."""
        addressed, n_bad = self._verify_addresses(returned.addressed)
        quoted, n_bad_quoted = self._verify_addresses(returned.quoted)
        slates = addressed[Purpose.BOUNCE] + quoted[Purpose.BOUNCE]
        leaving = addressed[Purpose.UNSUBSCRIBE] + self._verify_links(returned.links)
        kind = returned.kind
        if kind is Kind.AUTO_REPLY:
            return kind, _by_slate(conn, slates)
        if kind is Kind.COMPLAINT and not slates:
            subscribers = quoted[Purpose.UNSUBSCRIBE] + self._verify_links(returned.quoted_links)
            if subscribers:
                return kind, _by_subscriber(conn, subscribers)
        if kind is not Kind.UNKNOWN and slates:
            return kind, _by_slate(conn, slates)
        if kind is Kind.UNKNOWN and leaving:
            return Kind.UNSUBSCRIBE, _by_subscriber(conn, leaving)
        n_bad += n_bad_quoted + len(returned.links) + len(returned.quoted_links)
        n_bad += len(returned.votes) if kind is Kind.UNKNOWN else 0
        if n_bad and not (slates or leaving or votes):
            return Kind.FORGED, _About()
        return Kind.UNKNOWN, _by_slate(conn, slates)

    def _verify_addresses(
        self, tokens: Sequence[str]
    ) -> tuple[defaultdict[Purpose, list[str]], int]:
        """Return the public ids of valid tokens, by purpose, and the number of invalid tokens."""
        found = []
        for token in tokens:
            with contextlib.suppress(TokenError):
                found.append(self.keyring.verify_address(token))
        return defaultdict(list, group(found)), len(tokens) - len(found)

    def _verify_links(self, tokens: Sequence[str]) -> list[str]:
        """Return the subscribers (public ids) of the valid tokens of unsubscribe links."""
        found = []
        for token in tokens:
            with contextlib.suppress(TokenError):
                claims = self.keyring.verify(token, Purpose.UNSUBSCRIBE, self.clock.now())
                found.append(claims.subscriber)
        return found

    def _verify_votes(self, returned: ClassifiedMail) -> list[Vote]:
        """Return the votes with valid tokens, none if the mail is a report or automatic."""
        found = []
        for token in returned.votes if returned.kind is Kind.UNKNOWN else ():
            with contextlib.suppress(TokenError):
                found.append(self.keyring.verify_vote_address(token))
        return found

    # -- effects -----------------------------------------------------------------------------------

    def _act(
        self, conn: Connection, kind: Kind, about: _About, now: datetime
    ) -> SubscriberState | None:
        subscriber, address = about.subscriber, about.address
        if subscriber is None or address is None:
            return None
        if kind is Kind.UNSUBSCRIBE:
            state = SubscriberState.UNSUBSCRIBED
            return state if store.messages.stop(conn, subscriber.id, state, now) else None
        reason = "complaint" if kind is Kind.COMPLAINT else None
        if kind in POINTS:
            reason = why_suppress(store.bounces.days(conn, subscriber.id, list(POINTS)))
        done = reason and suppress_one(conn, subscriber, address, self.address_hash, reason, now)
        return SubscriberState.SUPPRESSED if done else None


def _weigh(
    conn: Connection, votes: Sequence[Vote], sender: Sender, now: datetime
) -> tuple[_About, list[Claims], str]:
    """Return whom the votes of a mail are about, those that count, and why the last did not."""
    about, claims, why = _About(), [], "no such digest"
    for slate, position, action in votes:
        found = _by_slate(conn, [slate])
        if found.message is None or found.subscriber is None:
            continue
        about, issued_at = found, found.message.created_at
        if now >= issued_at + LIFETIMES[Purpose.VOTE]:
            why = "too old"
        elif _is_other(sender.address, found.subscriber.email):
            why = "other sender"
        elif not sender.proof:
            why = "unproved sender"
        else:
            public_id = found.subscriber.public_id
            claims.append(Claims(public_id, issued_at, slate, position, action))
    return about, claims, "" if claims else why


def _is_other(address: str, email: str) -> bool:
    return store.subscribers.email_key(address) != store.subscribers.email_key(email)


def _hash_of_votes(raw: bytes, votes: Sequence[Vote]) -> str | None:
    """Return a hash that all copies of a mail with votes have; None if it has no Message-ID."""
    message_id = BytesHeaderParser().parsebytes(raw[:LARGEST_KEPT])["Message-ID"]
    return (
        message_id and sha256(f"{message_id}{sorted(votes)}".encode("utf-8", "replace")).hexdigest()
    )


def why_suppress(failures: Sequence[tuple[date, str]]) -> str | None:
    """Return why to suppress an address after these failures; None if it stays.

    Args:
        failures: dates of digests that bounced, each with `hard` or `soft`, in any order. A date
            counts once, with its worst failure. Empty gives None.
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
    """Suppress an address; return False if it was suppressed before.

    Raises:
        ConfigError: it is not a mail address.
    """
    key, now = _key(email), clock.now()
    with database.write() as conn:
        store.take_turn(conn, store.Turn.ADDRESS, key)
        subscriber = _lock(
            conn, _About(None, store.subscribers.contact(conn, email_key=key))
        ).subscriber
        was_suppressed = store.suppressions.reason(conn, address_hash(key)) is not None
        store.suppressions.add(conn, address_hash(key), "operator", now)
        if subscriber is not None:
            suppress_one(conn, subscriber, subscriber.email, address_hash, "operator", now)
    return not was_suppressed


def lift(database: Database, email: str, clock: Clock, address_hash: AddressHash) -> bool:
    """Lift the suppression of an address; return False if it was not suppressed.

    A suppressed subscriber with that address becomes active, or pending if never confirmed.

    Raises:
        ConfigError: it is not a mail address.
    """
    key = _key(email)
    with database.write() as conn:
        store.take_turn(conn, store.Turn.ADDRESS, key)
        lifted = store.suppressions.remove(conn, address_hash(key))
        subscriber = store.subscribers.contact(conn, email_key=key)
        if subscriber is not None:
            lifted |= store.subscribers.lift(conn, subscriber.id, clock.now())
    return lifted


def _key(email: str) -> str:
    key = store.subscribers.email_key(email)
    if "@" not in key.strip("@"):
        raise ConfigError("that is not a mail address")
    return key


def suppress_one(
    conn: Connection,
    subscriber: Contact,
    address: str,
    address_hash: AddressHash,
    reason: str,
    now: datetime,
) -> bool:
    """Suppress an address; return whether its subscriber was suppressed, too.

    A subscriber who gets nothing now anyway, who left, paused or never confirmed, stays so, and is
    the same as before when the address is lifted. One who has a new address still gets mail there.
    """
    store.suppressions.add(conn, address_hash(address), reason, now)
    email_key = store.subscribers.email_key
    is_theirs = email_key(subscriber.email) == email_key(address)
    if not is_theirs or subscriber.state != SubscriberState.ACTIVE:
        return False
    return store.messages.stop(conn, subscriber.id, SubscriberState.SUPPRESSED, now)


def _lock(conn: Connection, about: _About) -> _About:
    """Return the same, with a subscriber whom no other writer changes from now on.

    Of one who is erased meanwhile, nothing is left.
    """
    if about.subscriber is None:
        return about
    store.subscribers.lock(conn, [about.subscriber.id])
    subscriber = store.subscribers.contact(conn, id=about.subscriber.id)
    return replace(about, subscriber=subscriber) if subscriber else _About()


def _by_slate(conn: Connection, public_ids: Sequence[str]) -> _About:
    found = (store.bounces.of_slate(conn, public_id) for public_id in public_ids)
    sent = next(filter(None, found), None)
    return _About(sent, sent and store.subscribers.contact(conn, id=sent.subscriber_id))


def _by_subscriber(conn: Connection, public_ids: Sequence[str]) -> _About:
    found = (store.subscribers.contact(conn, public_id=public_id) for public_id in public_ids)
    return _About(subscriber=next(filter(None, found), None))
