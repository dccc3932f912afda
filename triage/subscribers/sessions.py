"""Starts and ends logins. A link from a mail logs in the browser that requested it."""

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
_USED = "this link was used; request a new one"


class Sessions:
    """Starts, finds and ends sessions. Only hashes of their secrets are stored."""

    def __init__(self, database: Database, clock: Clock, keyring: Keyring) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring

    def begin(self, token: str, cookie: str, code: str) -> str:
        """Begin a session and return its secret; a link works once.

        Args:
            cookie: the cookie of the browser that requested the link; "" from other browsers.
            code: the code on the page that requested the link; needed without the right cookie.

        Raises:
            TokenExpired: the link was used or is too old.
            TokenError: the link is not valid, or neither cookie nor code is right.
        """
        now = self._clock.now()
        claims = self._keyring.verify(token, Purpose.LOGIN, now)
        secret = secrets.token_urlsafe(32)
        with self._database.write() as conn:
            # Locked, so that wrong codes at the same moment are all counted.
            request = store.signups.lock(conn, claims.slate)
            subscriber = store.subscribers.by_public_id(conn, claims.subscriber)
            if request is None or subscriber is None or request.used_at is not None:
                raise TokenExpired(_USED)
            is_bound = _is_bound(request, cookie, code)
            if is_bound:
                if not store.signups.use(conn, request, now):
                    raise TokenExpired(_USED)
                store.signups.begin_session(
                    conn, fingerprint(secret), subscriber.id, now, now + SESSION
                )
            else:
                # The count must be committed, so the error is raised after the transaction.
                store.signups.count_try(conn, request)
                if request.tries + 1 >= MOST_TRIES:
                    store.signups.use(conn, request, now)
        if not is_bound:
            raise TokenError("this is not the code on the page where you requested this link")
        return secret

    def is_requesting_browser(self, token: str, cookie: str) -> bool:
        """Return whether a login link is open in the browser that requested it; changes nothing.

        Raises:
            TokenExpired: the link was used or is too old.
            TokenError: it is not valid.
        """
        claims = self._keyring.verify(token, Purpose.LOGIN, self._clock.now())
        request = self._database.fetch(store.signups.by_public_id, claims.slate)
        if request is None or request.used_at is not None:
            raise TokenExpired(_USED)
        return _is_bound(request, cookie, "")

    def find_subscriber(self, secret: str) -> Subscriber | None:
        """Return the subscriber of a session's secret, or None."""
        if not secret:
            return None
        with self._database.read() as conn:
            id = store.signups.session(conn, fingerprint(secret), self._clock.now())
            return store.subscribers.by_id(conn, id) if id is not None else None

    def end(self, secret: str) -> None:
        """End the session with this secret."""
        self._database.execute(store.signups.end_sessions, key_hash=fingerprint(secret))

    def end_all(self, subscriber: Subscriber) -> None:
        """End every session of a subscriber, on all devices."""
        self._database.execute(store.signups.end_sessions, subscriber_id=subscriber.id)


def fingerprint(secret: str) -> str:
    """Return the hash under which the secret of a browser is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _is_bound(request: StoredRequest, cookie: str, code: str) -> bool:
    by_browser = bool(cookie) and hmac.compare_digest(request.binding, fingerprint(cookie))
    typed = "".join(code.split()).encode("utf-8", "replace")
    by_code = bool(typed) and hmac.compare_digest(request.code.encode(), typed)
    return by_browser or by_code
