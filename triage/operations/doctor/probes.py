"""Requests of the doctor to other machines: short, and without any effect there."""

from __future__ import annotations

import shutil
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import BaseHandler, HTTPRedirectHandler, build_opener

from triage.delivery.smtp import SmtpMailer, SmtpServer
from triage.errors import MailDeferred
from triage.operations.clock_trust import is_synchronized

if TYPE_CHECKING:
    from email.message import Message

    from triage.settings import MailSettings

TIMEOUT_S = 5.0
_CERTIFICATES = "check the host name; if it is right, install the system package ca-certificates"


class ProbeFailed(Exception):
    """A request failed. `is_temporary` tells whether it may succeed later without a fix."""

    def __init__(self, what: str, fix: str, *, is_temporary: bool = False) -> None:
        super().__init__(what)
        self.fix = fix
        self.is_temporary = is_temporary


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a web server: `date` is its time, `age_s` the age of a cached answer."""

    status: int
    date: datetime | None = None
    age_s: float = 0.0


def ask_web(url: str, user_agent: str, data: bytes | None = None, *handlers: BaseHandler) -> Reply:
    """Send one request (POST if there are `data`) and read only the headers of the answer.

    Raises:
        ProbeFailed: no web server answered.
    """
    opener = build_opener(*handlers)
    opener.addheaders = [("User-Agent", user_agent)]
    try:
        with opener.open(url, data, timeout=TIMEOUT_S) as answer:
            return _reply(answer.status, answer.headers)
    except HTTPError as error:
        with error:
            return _reply(error.code, error.headers)
    except URLError as error:
        cause = error.reason if isinstance(error.reason, Exception) else error
        raise _unreachable(cause) from error
    except (OSError, HTTPException) as error:
        raise _unreachable(error) from error


def _reply(status: int, headers: Message) -> Reply:
    date = None
    with suppress(ValueError):
        date = parsedate_to_datetime(headers.get("Date", ""))
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
    age = str(headers.get("Age", "0")).strip()
    return Reply(status, date, float(age[:9]) if age.isascii() and age.isdigit() else 0.0)


def _unreachable(error: Exception) -> ProbeFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ProbeFailed(f"has no valid certificate: {error.verify_message}", _CERTIFICATES)
    if isinstance(error, socket.gaierror):
        return ProbeFailed("has a name that does not resolve", "check the name and the DNS")
    if isinstance(error, ConnectionRefusedError):
        return ProbeFailed(
            "refuses the connection", "check host and port, and whether the server runs"
        )
    if isinstance(error, TimeoutError):
        return ProbeFailed(
            f"did not answer in {TIMEOUT_S:.0f} s",
            "check host and port, and whether a firewall blocks them",
        )
    text = (str(error) or type(error).__name__)[:160]
    return ProbeFailed(f"cannot be reached: {text}", "check the address and the network")


def greet_mail(server: MailSettings, password: str | None) -> str:
    """Connect, start TLS and log in without sending mail; return the steps that were done.

    Raises:
        ProbeFailed: the server cannot be used now.
        MailerBroken: no mail can be sent with these settings.
    """
    if server.username and password is None:
        raise ProbeFailed(
            "needs a password and there is none",
            "set TRIAGE_MAIL_PASSWORD, or TRIAGE_MAIL_PASSWORD_FILE to a file that holds it",
        )
    login = server.security, server.username, password or ""
    try:
        there = SmtpServer(
            server.host, server.port, *login, helo_name=server.helo_name, command_s=TIMEOUT_S
        )
        return SmtpMailer(there).greet()
    except MailDeferred as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, smtplib.SMTPException):
            raise _unreachable(cause) from cause
        raise ProbeFailed(
            str(error),
            "ask the operator of the mail server whether this machine may send through it",
            is_temporary=not isinstance(cause, smtplib.SMTPServerDisconnected),
        ) from cause


def look_up(name: str, kind: str) -> tuple[str, ...]:
    """Return the DNS records of a name, or of an address for PTR; empty if there are none.

    Raises:
        ProbeFailed: the DNS gave no answer.
    """
    import dns.exception
    import dns.resolver
    import dns.reversename

    query = dns.reversename.from_address(name) if kind == "PTR" else name
    try:
        answer = dns.resolver.resolve(query, kind, lifetime=TIMEOUT_S, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return ()
    except dns.exception.DNSException as error:
        raise ProbeFailed(
            f"the DNS gives no answer about {name}: {type(error).__name__}",
            "try again later; check whether the DNS resolver of this machine works",
            is_temporary=True,
        ) from error
    if kind == "TXT":
        return tuple(b"".join(record.strings).decode("utf-8", "replace") for record in answer)
    texts = (record.to_text() for record in answer)
    return tuple(text if kind == "MX" else text.rstrip(".") for text in texts)


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow no redirect, like mail programs (RFC 8058)."""


def post_web(url: str, user_agent: str) -> Reply:
    """Send the POST request of a one-click unsubscribe; errors are those of `ask_web`."""
    return ask_web(url, user_agent, b"List-Unsubscribe=One-Click", _NoRedirect())


@dataclass(frozen=True, slots=True)
class Probes:
    """The functions that ask other machines and this one; tests replace them."""

    ask: Callable[[str, str], Reply] = ask_web
    greet: Callable[[MailSettings, str | None], str] = greet_mail
    lookup: Callable[[str, str], tuple[str, ...]] = look_up
    post: Callable[[str, str], Reply] = post_web
    free_bytes: Callable[[Path], int] = field(default=lambda path: shutil.disk_usage(path).free)
    is_synchronized: Callable[[], bool] = is_synchronized
