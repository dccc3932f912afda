"""Finds out who is logged in, and whether a form comes from one of our own pages.

The secret of the session is in a cookie that scripts cannot read and that forms of other sites do
not send. A form that changes something also has a seal (an HMAC) of this secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from triage.domain.link_tokens import Keyring
from triage.domain.records import Subscriber
from triage.subscribers.sessions import Sessions


def host_of(netloc: str) -> str:
    """Return the host of a Host header, without its port; "" if it has none."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").casefold()
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is that of this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Login:
    """A logged-in subscriber. `seal` must be in every form that they get."""

    subscriber: Subscriber
    seal: str


class LoginCookie:
    """Reads and sets cookies, and checks where a form comes from."""

    def __init__(self, sessions: Sessions, keyring: Keyring, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._sessions = sessions
        self._keyring = keyring
        self._is_secure = parts.scheme == "https"
        self._origin = f"{parts.scheme}://{parts.netloc}".casefold()
        # A browser accepts a __Host- cookie only over https, and only for this host and path.
        prefix = "__Host-" if self._is_secure else ""
        self.session = f"{prefix}session"
        self.login_request = f"{prefix}login"

    def read(self, request: Request) -> Login | None:
        """Return who is logged in; None if nobody is. Each request asks the database once."""
        if not hasattr(request.state, "login"):
            secret = request.cookies.get(self.session, "")
            subscriber = self._sessions.find_subscriber(secret)
            seal = self._keyring.seal(f"session {secret}")
            request.state.login = Login(subscriber, seal) if subscriber else None
        login: Login | None = request.state.login
        return login

    def check_form(self, request: Request, fields: Mapping[str, str]) -> Login:
        """Return who sent a form of ours. What a refused form holds goes to the error page.

        Raises:
            HTTPException: 403, nobody is logged in, or the form is not from a page of this session.
        """
        secret = request.cookies.get(self.session, "")
        is_sealed = self._keyring.is_seal(fields.get("seal", ""), f"session {secret}")
        login = self.read(request) if is_sealed and self.is_same_origin(request) else None
        if login is None:
            request.state.refused_form = fields
            raise HTTPException(403)
        return login

    def is_same_origin(self, request: Request) -> bool:
        """Return whether a form may come from a page of ours, according to the browser's headers.

        Pages without a referrer send the origin "null" (Fetch, "append a request Origin header").
        So a result of True alone proves nothing.
        """
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return False
        origin = request.headers.get("origin", "null").casefold()
        if origin in {"null", self._origin}:
            return True
        host = request.headers.get("host", "")
        return is_loopback(host_of(host)) and origin == f"http://{host}".casefold()

    def set(self, response: Response, name: str, value: str, max_age: timedelta) -> None:
        """Set a cookie."""
        response.set_cookie(
            name,
            value,
            max_age=int(max_age.total_seconds()),
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )

    def delete(self, response: Response, name: str) -> None:
        """Delete a cookie."""
        self.set(response, name, "", timedelta(0))

    def forget_session(self, response: Response) -> None:
        """Delete the session's cookie, and the pages that the browser keeps for Back."""
        self.delete(response, self.session)
        response.headers["Clear-Site-Data"] = '"cache"'
