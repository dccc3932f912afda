"""Who is logged in, and which forms come from our own pages.

The session's secret is a cookie that no script reads and no other site's form carries; a form that
changes something besides holds a seal of it.
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
    """Return the host that a Host header names, without its port; "" where it names none."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").casefold()
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody who is logged in. `seal` belongs into every form that they are given."""

    reader: Subscriber
    seal: str


class LoginCookie:
    """Reads and sets cookies, and looks where a request comes from."""

    def __init__(self, sessions: Sessions, keyring: Keyring, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._sessions = sessions
        self._keyring = keyring
        self._is_secure = parts.scheme == "https"
        self._origin = f"{parts.scheme}://{parts.netloc}".casefold()
        # A browser takes a __Host- cookie over https only, and for no other host or path.
        prefix = "__Host-" if self._is_secure else ""
        self.session_cookie = f"{prefix}session"
        self.asking_cookie = f"{prefix}login"

    def visit(self, request: Request) -> Login | None:
        """Return who is logged in; None if nobody is."""
        secret = request.cookies.get(self.session_cookie, "")
        reader = self._sessions.reader(secret)
        return Login(reader, self._keyring.seal(f"session {secret}")) if reader else None

    def admit(self, request: Request, fields: Mapping[str, str]) -> Login:
        """Return who sent a form of ours.

        Raises:
            HTTPException: 403, nobody is logged in, or the form is not from a page of this session.
        """
        secret = request.cookies.get(self.session_cookie, "")
        is_sealed = self._keyring.is_seal(fields.get("seal", ""), f"session {secret}")
        visit = self.visit(request) if is_sealed and self.is_ours(request) else None
        if visit is None:
            raise HTTPException(403)
        return visit

    def is_ours(self, request: Request) -> bool:
        """Tell whether a form was sent from a page of ours, as far as the browser says.

        Pages without a referrer send "null" for their origin (Fetch, "append a request Origin
        header"), so that this alone says nothing.
        """
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return False
        origin = request.headers.get("origin", "null").casefold()
        if origin in {"null", self._origin}:
            return True
        named = request.headers.get("host", "")
        return is_loopback(host_of(named)) and origin == f"http://{named}".casefold()

    def keep(self, response: Response, name: str, value: str, span: timedelta) -> None:
        """Let the browser keep something for a while."""
        response.set_cookie(
            name,
            value,
            max_age=int(span.total_seconds()),
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )

    def drop(self, response: Response, name: str) -> None:
        """Let the browser forget it."""
        self.keep(response, name, "", timedelta(0))
