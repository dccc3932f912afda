"""Who is logged in: a link by mail begins a session, in the browser that asked for the link."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta

from triage import store
from triage.domain.link_tokens import Keyring, Purpose
from triage.domain.protocols import Clock
from triage.domain.records import Subscriber
from triage.errors import TokenError, TokenExpired
from triage.store import Database
from triage.store.signups import StoredRequest

SESSION = timedelta(days=30)
MOST_TRIES = 5
_USED = "this link was used; ask for a new one"


class Sessions:
    """Begins sessions, and knows whose they are. Of their secrets only hashes are stored."""

    def __init__(self, database: Database, clock: Clock, keyring: Keyring) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring

    def begin(self, token: str, kept: str, code: str) -> str:
        """Begin a session and return its secret; a link begins one session and no second.

        Args:
            kept: what the browser that asked keeps; "" from any other browser.
            code: what the page showed that asked; needed where `kept` is not right.

        Raises:
            TokenExpired: the link was used, or its time is over.
            TokenError: it is not good, or neither browser nor code is right.
        """
        now = self._clock.now()
        claims = self._keyring.verify(token, Purpose.LOGIN, now)
        secret = secrets.token_urlsafe(32)
        with self._database.write() as conn:
            ask = store.signups.by_public_id(conn, claims.slate)
            subscriber = store.subscribers.by_public_id(conn, claims.subscriber)
            if ask is None or subscriber is None or ask.used_at is not None:
                raise TokenExpired(_USED)
            is_bound = _is_bound(ask, kept, code)
            if is_bound:
                if not store.signups.use(conn, ask, now):
                    raise TokenExpired(_USED)
                store.signups.begin_session(
                    conn, fingerprint(secret), subscriber.id, now, now + SESSION
                )
            else:
                # A wrong code is counted, so this transaction ends well.
                store.signups.count_try(conn, ask)
                if ask.tries + 1 >= MOST_TRIES:
                    store.signups.use(conn, ask, now)
        if not is_bound:
            raise TokenError("that is not the code which the page showed that asked for this link")
        return secret

    def is_asking(self, token: str, kept: str) -> bool:
        """Tell whether a link to log in is opened where it was asked for; nothing is changed.

        Raises:
            TokenExpired: the link was used, or its time is over.
            TokenError: it is not good.
        """
        claims = self._keyring.verify(token, Purpose.LOGIN, self._clock.now())
        with self._database.read() as conn:
            ask = store.signups.by_public_id(conn, claims.slate)
        if ask is None or ask.used_at is not None:
            raise TokenExpired(_USED)
        return _is_bound(ask, kept, "")

    def reader(self, secret: str) -> Subscriber | None:
        """Return who is logged in with a session's secret; None if nobody is."""
        if not secret:
            return None
        with self._database.read() as conn:
            id = store.signups.session(conn, fingerprint(secret), self._clock.now())
            return store.subscribers.by_id(conn, id) if id is not None else None

    def end_all(self, subscriber: Subscriber) -> None:
        """End every session of a subscriber, on whatever device."""
        with self._database.write() as conn:
            store.signups.end_sessions(conn, subscriber.id)


def fingerprint(secret: str) -> str:
    """Return what is stored of a secret that a browser keeps."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _is_bound(ask: StoredRequest, kept: str, code: str) -> bool:
    by_browser = bool(kept) and hmac.compare_digest(ask.binding, fingerprint(kept))
    typed = "".join(code.split()).encode("utf-8", "replace")
    by_code = bool(typed) and hmac.compare_digest(ask.code.encode(), typed)
    return by_browser or by_code
