"""Subscribing and logging in from the pages, where nobody knows yet who asks.

    a form ─→ ask ─────→ answer ─→ mail ─→ a page with one button ─→ confirm
              (one row)  (limits)                                  └→ log in

A form only ever stores a row, whoever is asked for: what the row is worth is decided apart from the
request, so neither the page nor its speed tells who is subscribed. Nothing but the mail that
answers is sent before its button was pressed.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from triage import store, subscribe
from triage.errors import TokenError, TokenExpired
from triage.ports import Clock
from triage.records import OutgoingMessage, Subscriber, SubscriberState
from triage.store import Database
from triage.store.accounts import Ask
from triage.tokens import Claims, Keyring, Purpose

if TYPE_CHECKING:
    from sqlalchemy import Connection

SESSION = timedelta(days=30)
CONFIRM_WITHIN = timedelta(days=7)
KEPT = timedelta(days=31)
MOST_WAITING = 5_000
AT_ONCE = 200
MOST_TRIES = 5

_HOUR, _DAY, _MONTH = timedelta(hours=1), timedelta(days=1), timedelta(days=30)
# https://www.spamhaus.org/resource-hub/bulk-email/: who mails strangers on request is asked to
# limit how often, by address, by who asks, by receiver, and in all.
_LIMITS: tuple[tuple[str, timedelta, int], ...] = (
    ("network", _HOUR, 5),
    ("network", _DAY, 20),
    ("domain", _HOUR, 50),
    ("", _HOUR, 200),
)
_CONFIRMATIONS = ((_DAY, 1), (_MONTH, 3))
_LOGINS = ((_HOUR, 3), (_DAY, 10))


class Kind(StrEnum):
    """What somebody asks for; also the kind of the message that answers."""

    SUBSCRIBE = "subscribe"
    LOGIN = "login"


class NoteKind(StrEnum):
    """The mails that are no digest."""

    CONFIRM = "confirm"
    ALREADY = "already"
    LOGIN = "login"
    GOODBYE = "goodbye"


@dataclass(frozen=True, slots=True)
class Note:
    """A mail with one link, `token` "" where that names nobody. Nothing of it a stranger wrote."""

    kind: NoteKind
    public_id: str
    recipient: str
    token: str


Compose = Callable[[Note, datetime], OutgoingMessage]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new subscriber wrote into the form, as yet unchecked."""

    email: str
    interests: str = ""
    categories: tuple[str, ...] = ()
    zone: str = "UTC"
    hour: int = 7


class Enrolment:
    """Takes wishes, answers them by mail, and knows who is logged in.

    Args:
        compose: makes the mail that answers.
        address_hash: the name under which an address is suppressed.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keyring: Keyring,
        compose: Compose,
        *,
        address_hash: Callable[[str], str],
    ) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring
        self._compose = compose
        self._address_hash = address_hash

    # -- what a page stores --------------------------------------------------------------------

    def ask_to_subscribe(self, wish: Wish, peer: str) -> None:
        """Store a wish to subscribe.

        Raises:
            ConfigError: something in the wish cannot be, whoever wrote it.
        """
        checked = subscribe.checked(
            wish.email,
            interests=wish.interests,
            categories=wish.categories,
            zone=wish.zone,
            hour=wish.hour,
        )
        details = {
            "interests": checked.interests,
            "categories": list(checked.categories),
            "zone": checked.zone,
            "hour": checked.hour,
        }
        self._ask(Kind.SUBSCRIBE, checked.email, peer, details=details)

    def ask_to_log_in(self, email: str, peer: str) -> tuple[str, str]:
        """Store a wish to log in, and return what the browser keeps and the code that it shows.

        Raises:
            ConfigError: that is no mail address.
        """
        kept, code = secrets.token_urlsafe(24), f"{secrets.randbelow(10**6):06d}"
        address = subscribe.checked(email).email
        self._ask(Kind.LOGIN, address, peer, binding=_hash(kept), code=code)
        return kept, code

    def _ask(self, kind: Kind, email: str, peer: str, **fields: Any) -> None:
        with self._database.write() as conn:
            # Under attack the queue is full, and the oldest go first; it never grows without end.
            if store.accounts.n_unanswered(conn) >= MOST_WAITING:
                return
            store.accounts.add(
                conn,
                public_id=secrets.token_hex(10),
                kind=kind,
                email=email,
                address_key=mailbox(email),
                domain=email.rpartition("@")[2].lower(),
                network=network(peer),
                at=self._clock.now(),
                **({"details": {}} | fields),
            )

    # -- what answers it -------------------------------------------------------------------------

    def answer(self) -> int:
        """Queue the mails that are asked for and within the limits; return how many those are."""
        n_sent = 0
        with self._database.read() as conn:
            waiting = store.accounts.unanswered(conn, AT_ONCE)
        for ask in waiting:
            with self._database.write() as conn:
                n_sent += self._answer(conn, ask, self._clock.now())
        return n_sent

    def tidy(self) -> None:
        """Forget wishes that are long over, and addresses that nobody ever confirmed."""
        now = self._clock.now()
        with self._database.write() as conn:
            store.accounts.forget_before(conn, now - KEPT)
            store.subscribers.forget_pending(conn, now - CONFIRM_WITHIN)

    def _answer(self, conn: Connection, ask: Ask, now: datetime) -> bool:
        note = self._note_for(conn, ask, now)
        if note is None:
            store.accounts.forget(conn, ask)
            return False
        kind, subscriber = note
        self._send(conn, kind, subscriber, ask.public_id, now)
        store.accounts.answered(conn, ask, now)
        return True

    def _note_for(
        self, conn: Connection, ask: Ask, now: datetime
    ) -> tuple[NoteKind, Subscriber] | None:
        if self._is_too_often(conn, ask, now):
            return None
        if store.suppressions.reason(conn, self._address_hash(ask.email)) is not None:
            return None
        key = store.subscribers.email_key(ask.email)
        known = store.subscribers.by_email_key(conn, key)
        if ask.kind == Kind.LOGIN:
            is_known = known is not None and known.state is not SubscriberState.PENDING
            return (NoteKind.LOGIN, known) if known and is_known else None
        if known is not None and known.state is SubscriberState.ACTIVE:
            return NoteKind.ALREADY, known
        if known is None:
            known = store.subscribers.add(
                conn,
                replace(subscribe.checked(ask.email, **ask.details), state=SubscriberState.PENDING),
                email_key=key,
                consent="",
                at=now,
            )
        return NoteKind.CONFIRM, known

    def _is_too_often(self, conn: Connection, ask: Ask, now: datetime) -> bool:
        own = _LOGINS if ask.kind == Kind.LOGIN else _CONFIRMATIONS
        n_answered = store.accounts.n_answered
        if any(
            n_answered(conn, now - span, kind=ask.kind, address_key=ask.address_key) >= most
            for span, most in own
        ):
            return True
        for column, span, most in _LIMITS:
            same = {column: str(getattr(ask, column))} if column else {}
            if n_answered(conn, now - span, **same) >= most:
                return True
        return False

    def say_goodbye(self, public_id: str) -> None:
        """Tell who was unsubscribed that they were, with a way back; once a day at most."""
        now = self._clock.now()
        with self._database.write() as conn:
            subscriber = store.subscribers.by_public_id(conn, public_id)
            if subscriber is not None:
                self._send(conn, NoteKind.GOODBYE, subscriber, secrets.token_hex(10), now)

    def _send(
        self,
        conn: Connection,
        kind: NoteKind,
        subscriber: Subscriber,
        public_id: str,
        now: datetime,
    ) -> None:
        purpose = Purpose.LOGIN if kind is NoteKind.LOGIN else Purpose.CONFIRM
        claims = Claims(subscriber.public_id, now, public_id)
        token = "" if kind is NoteKind.ALREADY else self._keyring.sign(purpose, claims)
        message = self._compose(Note(kind, public_id, subscriber.email, token), now)
        store.messages.add_note(conn, subscriber, kind, message, now)

    # -- what the mail's link does ---------------------------------------------------------------

    def confirm(self, token: str, consent: str) -> Subscriber:
        """Let digests begin, or begin again; doing it twice is as doing it once.

        Args:
            consent: the words that the button stood under.

        Raises:
            TokenError: the link is not good, or its subscriber is no longer stored.
        """
        now = self._clock.now()
        claims = self._keyring.verify(token, Purpose.CONFIRM, now)
        with self._database.write() as conn:
            subscriber = store.subscribers.by_public_id(conn, claims.subscriber)
            if subscriber is None:
                raise TokenExpired("this address waited too long for its confirmation")
            if subscriber.state is SubscriberState.SUPPRESSED:
                raise TokenError("nothing is sent to this address any more")
            store.subscribers.confirm(conn, subscriber.id, consent, now)
        return replace(subscriber, state=SubscriberState.ACTIVE)

    def log_in(self, token: str, kept: str, code: str) -> str:
        """Begin a session and return its secret; a link begins one session and no second.

        Args:
            kept: what the browser that asked keeps; "" from any other browser.
            code: what the page showed that asked; needed where `kept` is not right.

        Raises:
            TokenError: the link was used, is not good, or neither browser nor code is right.
        """
        now = self._clock.now()
        claims = self._keyring.verify(token, Purpose.LOGIN, now)
        with self._database.write() as conn:
            ask = store.accounts.by_public_id(conn, claims.slate)
            subscriber = store.subscribers.by_public_id(conn, claims.subscriber)
            if ask is None or subscriber is None or ask.used_at is not None:
                raise TokenExpired("this link was used; ask for a new one")
            if ask.kind == Kind.LOGIN and not self._is_bound(ask, kept, code):
                store.accounts.count_try(conn, ask)
                if ask.tries + 1 >= MOST_TRIES:
                    store.accounts.use(conn, ask, now)
                granted = False
            else:
                granted = store.accounts.use(conn, ask, now)
            if granted:
                secret = secrets.token_urlsafe(32)
                store.accounts.begin_session(conn, _hash(secret), subscriber.id, now, now + SESSION)
        if not granted:
            raise TokenError("that is not the code which the page showed that asked for this link")
        return secret

    def _is_bound(self, ask: Ask, kept: str, code: str) -> bool:
        by_browser = bool(kept) and hmac.compare_digest(ask.binding, _hash(kept))
        by_code = bool(code) and hmac.compare_digest(ask.code.encode(), code.strip().encode())
        return by_browser or by_code

    def reader(self, session: str) -> Subscriber | None:
        """Return who is logged in with a session's secret."""
        if not session:
            return None
        with self._database.read() as conn:
            id = store.accounts.session(conn, _hash(session), self._clock.now())
            return store.subscribers.by_id(conn, id) if id is not None else None

    def log_out(self, subscriber: Subscriber) -> None:
        """End every session of a subscriber."""
        with self._database.write() as conn:
            store.accounts.end_sessions(conn, subscriber.id)


def mailbox(email: str) -> str:
    """Return what different spellings of one mailbox share: for limits, never for sending.

    Sub-addresses go everywhere, and dots where the largest provider ignores them.
    """
    local, _, domain = email.casefold().rpartition("@")
    local = local.partition("+")[0]
    if domain in {"gmail.com", "googlemail.com"}:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}"


def network(peer: str) -> str:
    """Return the /24 or /48 of an address; whoever shares it counts as one."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return "unknown"
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
