"""Sign-up and login from the pages, for people who are not logged in.

    form → request → answer → mail → page with one button → confirm
           (a row)   (limits)   ↑                         └→ log in
    link → leave ──────────────┘

A form only stores a row, for every address. The row is answered outside of the request, so neither
the page nor its response time shows who is subscribed. Before the button in the mail is pressed,
nothing else is sent.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, astuple, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog

from triage import store
from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.domain.protocols import Clock
from triage.domain.records import OutgoingMessage, Subscriber, SubscriberState
from triage.domain.source_records import NamedPaper
from triage.errors import ConfigError, MessageError, NotFound, TokenError, TokenExpired
from triage.store import Connection, Database
from triage.store.signups import StoredRequest
from triage.subscribers import data_export, forgotten_votes, subscriptions
from triage.subscribers.network_limit import TRUSTED, Limit, Network, NetworkLimit
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.sessions import fingerprint

log = structlog.get_logger()

CONFIRM_WITHIN = timedelta(days=7)
KEPT = timedelta(days=31)
MOST_WAITING = 5_000
AT_ONCE = 200

_HOUR, _DAY, _MONTH = timedelta(hours=1), timedelta(days=1), timedelta(days=30)
_OF_NETWORK = (Limit(15, _HOUR, "an hour"), Limit(30, _DAY, "a day"))
# https://www.spamhaus.org/resource-hub/bulk-email/: who mails strangers on request is asked to
# limit how often, by address, by who asks, by receiver, and in all, which is what most meet first
# under attack.
_LIMITS: tuple[tuple[str, timedelta, int], ...] = (
    ("", _HOUR, 200),
    *(("network", each.span, each.most) for each in _OF_NETWORK),
    ("domain", _HOUR, 50),
)
_CONFIRMATIONS = ((_DAY, 1), (_MONTH, 3))
FORM = ("interests", "categories", "zone", "hour")
"""What the form to subscribe asks for, by the names of `SubscriberPreferences`."""
_LIKES = "likes"
_NAMES = "names"
_LOGINS = ((_HOUR, 3), (_DAY, 10))


def new_network_limit(trusted: Sequence[Network] = ()) -> NetworkLimit:
    """Return the limit of requests for mail; `trusted` networks have none."""
    # The answers, for which the same limits hold, come a little later.
    limits = [each._replace(span=each.span + timedelta(minutes=1)) for each in _OF_NETWORK]
    return NetworkLimit(*limits, trusted=trusted)


class Kind(StrEnum):
    """What a person requests, or an action that can be undone."""

    SUBSCRIBE = "subscribe"
    LOGIN = "login"
    LEAVE = "leave"


_ASKED = (Kind.SUBSCRIBE, Kind.LOGIN)


class NoteKind(StrEnum):
    """The kinds of account mail."""

    CONFIRM = "confirm"
    ALREADY = "already"
    LOGIN = "login"
    GOODBYE = "goodbye"


@dataclass(frozen=True, slots=True)
class AccountMail:
    """A mail with one link; `token` is "" if there is no link. It has no text from strangers."""

    kind: NoteKind
    public_id: str
    recipient: str
    token: str


Compose = Callable[[AccountMail, datetime], OutgoingMessage]


@dataclass(frozen=True)
class Signup:
    """Stores requests, answers them by mail, and starts and stops digests.

    Attributes:
        compose: makes the mail that answers.
        address_hash: the name under which an address is suppressed.
        network_limit: says who asks too often. The same limits hold for the answers, silently:
            there may be several processes that take requests.
    """

    database: Database
    clock: Clock
    keyring: Keyring
    compose: Compose
    _: KW_ONLY
    address_hash: Callable[[str], str]
    network_limit: NetworkLimit = field(default_factory=new_network_limit)

    # -- what a page stores --------------------------------------------------------------------

    def ask_to_subscribe(
        self,
        email: str,
        preferences: SubscriberPreferences,
        peer: str,
        likes: Sequence[int] = (),
        names: Sequence[NamedPaper] = (),
    ) -> None:
        """Store a request to subscribe, with the choices of the form and the liked papers.

        Args:
            likes: ids of stored papers.
            names: papers to fetch once the address is confirmed.

        Raises:
            ConfigError: the address or a preference cannot be.
            TooManyRequests: the network of `peer` has to wait.
        """
        checked = subscriptions.new_subscriber(email, preferences)
        details = {name: getattr(checked, name) for name in FORM} | {_LIKES: list(likes)}
        details[_NAMES] = [astuple(each) for each in names]
        self._ask(Kind.SUBSCRIBE, checked.email, peer, details=details)

    def ask_to_log_in(self, email: str, peer: str) -> tuple[str, str]:
        """Store a request to log in; return the cookie for the browser and the code to show.

        Raises:
            ConfigError: that is no mail address.
            TooManyRequests: the network of `peer` has to wait.
        """
        kept = secrets.token_urlsafe(24)
        code = login_code(kept)
        address = subscriptions.normal_address(email)
        self._ask(Kind.LOGIN, address, peer, binding=fingerprint(kept), code=code)
        return kept, code

    def _ask(self, kind: Kind, email: str, peer: str, **fields: Any) -> None:
        self.network_limit.count(peer, self.clock.now())
        ask = self._new_ask(kind, email, self.network_limit.name(peer), **fields)
        with self.database.write() as conn:
            # Under attack there is more to answer than may be: it never grows without end.
            if store.signups.n_unanswered(conn) < MOST_WAITING:
                store.signups.add(conn, **ask)

    def _new_ask(self, kind: Kind, email: str, network: str, **fields: Any) -> dict[str, Any]:
        return {
            "public_id": secrets.token_hex(10),
            "kind": kind,
            "email": email,
            "address_key": mailbox(email),
            "domain": email.rpartition("@")[2].lower(),
            "network": network,
            "at": self.clock.now(),
            "details": {},
        } | fields

    # -- what answers it -------------------------------------------------------------------------

    def answer(self) -> int:
        """Queue the requested mails that are within the limits; return their number."""
        n_sent = 0
        waiting = self.database.fetch(store.signups.unanswered, AT_ONCE)
        for ask in waiting:
            try:
                n_sent += self.database.execute(self._answer, ask, self.clock.now())
            except (ConfigError, MessageError) as error:
                # One address that no mail can go to must not keep the others waiting.
                log.warning("not answered", ask=ask.public_id, why=str(error))
                self.database.execute(store.signups.forget, ask)
        return n_sent

    def tidy(self) -> str:
        """Delete old requests, addresses that were never confirmed, and forgotten votes."""
        now = self.clock.now()
        with self.database.write() as conn:
            # Nobody who is just being answered is forgotten.
            store.take_turn(conn, store.Turn.SIGNUPS)
            store.signups.forget_before(conn, now - KEPT)
            n = store.subscribers.forget_pending(conn, now - CONFIRM_WITHIN)
            store.forgotten_votes.delete_until(conn, now - forgotten_votes.KEPT)
        return f"{n} addresses were never confirmed and are forgotten"

    def _answer(self, conn: Connection, ask: StoredRequest, now: datetime) -> bool:
        # The limits count what was answered to all, so one is answered at a time.
        store.take_turn(conn, store.Turn.SIGNUPS)
        if not store.signups.answer(conn, ask, now):
            return False
        note = self._note_for(conn, ask, now)
        if note is None or not self._send(conn, *note, ask.public_id, now):
            store.signups.forget(conn, ask)
            return False
        return True

    def _note_for(
        self, conn: Connection, ask: StoredRequest, now: datetime
    ) -> tuple[NoteKind, Subscriber] | None:
        if self._is_too_often(conn, ask, now):
            return None
        if store.suppressions.reason(conn, self.address_hash(ask.email)) is not None:
            return None
        key = store.subscribers.email_key(ask.email)
        store.take_turn(conn, store.Turn.ADDRESS, key)
        known = store.subscribers.by_email_key(conn, key)
        if known is not None and known.state is SubscriberState.SUPPRESSED:
            return None
        if ask.kind == Kind.LOGIN:
            is_known = known is not None and known.state is not SubscriberState.PENDING
            return (NoteKind.LOGIN, known) if known and is_known else None
        if known is not None and known.state is SubscriberState.ACTIVE:
            return NoteKind.ALREADY, known
        if known is None:
            known = store.subscribers.add(
                conn,
                replace(_wished(ask), state=SubscriberState.PENDING),
                email_key=key,
                consent="",
                at=now,
            )
        return NoteKind.CONFIRM, known

    def _is_too_often(self, conn: Connection, ask: StoredRequest, now: datetime) -> bool:
        """Return whether there were too many answers; this one is counted already."""
        own = _LOGINS if ask.kind == Kind.LOGIN else _CONFIRMATIONS
        n_answered = store.signups.n_answered
        if any(
            n_answered(conn, now - span, [ask.kind], address_key=ask.address_key) > most
            for span, most in own
        ):
            return True
        for column, span, most in _LIMITS:
            if column == "network" and ask.network == TRUSTED:
                continue
            same = {column: str(getattr(ask, column))} if column else {}
            if n_answered(conn, now - span, _ASKED, **same) > most:
                return True
        return False

    # -- leaving ---------------------------------------------------------------------------------

    def leave(self, public_id: str) -> str:
        """Stop all digests at once, and mail a link back, at most once a day.

        Returns:
            A token that undoes it; "" where nothing was being sent, so that an old link of a mail
            that was passed on brings nobody back who has left.

        Raises:
            NotFound: the subscriber was erased, and gets nothing either.
        """
        return self.database.execute(self._leave, public_id, self.clock.now())

    def _leave(self, conn: Connection, public_id: str, now: datetime) -> str:
        subscriber = store.subscribers.lock_by_public_id(conn, public_id)
        if subscriber is None:
            raise NotFound("this subscriber is no longer stored and gets no mail")
        left = store.messages.stop(conn, subscriber.id, SubscriberState.UNSUBSCRIBED, now)
        if not left or subscriber.state is not SubscriberState.ACTIVE:
            return ""
        ask = self._new_ask(Kind.LEAVE, subscriber.email, "", answered_at=now)
        store.signups.add(conn, **ask)
        self._send(conn, NoteKind.GOODBYE, subscriber, ask["public_id"], now)
        return self._token(NoteKind.GOODBYE, subscriber, ask["public_id"], now)

    def come_back(self, subscriber: Subscriber) -> None:
        """Start the digests of a subscriber who is logged in again.

        Raises:
            ConfigError: the address is suppressed.
        """
        subscriptions.resume(self.database, subscriber.email, self.clock, self.address_hash)

    def export_data(self, subscriber: Subscriber) -> str:
        """Return all stored data of a subscriber who is logged in; see `data_export.export`."""
        return data_export.export(self.database, self.clock, subscriber, self.address_hash)

    def _send(
        self,
        conn: Connection,
        kind: NoteKind,
        subscriber: Subscriber,
        public_id: str,
        now: datetime,
    ) -> bool:
        """Queue an account mail; return False if there was one of its kind that day."""
        token = self._token(kind, subscriber, public_id, now)
        message = self.compose(AccountMail(kind, public_id, subscriber.email, token), now)
        # Each link to log in is for a browser of its own, so that there may be several a day.
        of_its_own = f"{kind}-{public_id[:14]}" if kind is NoteKind.LOGIN else kind
        return store.messages.add_note(conn, subscriber, of_its_own, message, now)

    def _token(self, kind: NoteKind, subscriber: Subscriber, public_id: str, now: datetime) -> str:
        if kind is NoteKind.ALREADY:
            return ""
        purpose = Purpose.LOGIN if kind is NoteKind.LOGIN else Purpose.CONFIRM
        return self.keyring.sign(purpose, Claims(subscriber.public_id, now, public_id))

    # -- what the mail's link does ---------------------------------------------------------------

    def confirm(self, token: str, consent: str) -> Subscriber:
        """Start the digests, or start them again; a second call changes nothing.

        A link that was used begins nothing anew once digests were stopped.

        Args:
            consent: the words that the button stood under.

        Raises:
            TokenError: the link is not good, was used, or its subscriber is no longer stored.
        """
        now = self.clock.now()
        claims = self.keyring.verify(token, Purpose.CONFIRM, now)
        with self.database.write() as conn:
            subscriber = store.subscribers.lock_by_public_id(conn, claims.subscriber)
            ask = store.signups.by_public_id(conn, claims.slate)
            if ask is None or subscriber is None:
                raise TokenExpired("this address waited too long for its confirmation")
            is_suppressed = store.suppressions.reason(conn, self.address_hash(subscriber.email))
            if is_suppressed or subscriber.state is SubscriberState.SUPPRESSED:
                raise TokenError("nothing is sent to this address any more")
            if not store.signups.use(conn, ask, now):
                if subscriber.state is not SubscriberState.ACTIVE:
                    raise TokenExpired("this link was used; digests were stopped since")
                return subscriber
            if subscriber.state is SubscriberState.PENDING and ask.details:
                # Somebody else may have asked before, and for something else.
                wish = _wished(ask)
                wanted = {name: getattr(wish, name) for name in FORM if name in ask.details}
                store.subscribers.change(conn, subscriber.id, **wanted)
                subscriptions.add_first_likes(conn, subscriber.id, ask.details.get(_LIKES, []), now)
                names = [NamedPaper(*each) for each in ask.details.get(_NAMES, [])]
                store.named_papers.add(conn, subscriber.id, names, subscriptions.FIRST_LIKE, now)
            store.subscribers.confirm(conn, subscriber.id, consent, now)
        return replace(subscriber, state=SubscriberState.ACTIVE)


def _wished(ask: StoredRequest) -> Subscriber:
    chosen = {name: ask.details[name] for name in FORM if name in ask.details}
    return subscriptions.new_subscriber(ask.email, SubscriberPreferences(**chosen))


def login_code(cookie: str) -> str:
    """Return the six digits for a login with another browser.

    They follow from the cookie of the browser that requested the login, so that this browser can
    show them again; the cookie does not follow from them.
    """
    number = int.from_bytes(hashlib.sha256(f"login code {cookie}".encode()).digest())
    return f"{number % 10**6:06d}"


def mailbox(email: str) -> str:
    """Return one form for all spellings of a mailbox, for limits and never for sending.

    Sub-addresses go everywhere, and dots where the largest provider ignores them.
    """
    local, _, domain = email.casefold().rpartition("@")
    local = local.partition("+")[0]
    if domain in {"gmail.com", "googlemail.com"}:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}"
