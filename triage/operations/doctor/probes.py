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
        ProbeFailed: the server would not accept mail with these settings.
    """
    try:
        with _connect(server) as smtp:
            return _greet(smtp, server, password)
    except ssl.SSLCertVerificationError as error:
        raise _unreachable(error) from error
    except ssl.SSLError as error:
        raise ProbeFailed(
            f"fails at TLS: {error.reason or error}",
            'check `security`: "smtps" is for port 465, "starttls" for 587 and 25',
        ) from error
    except smtplib.SMTPServerDisconnected as error:
        raise ProbeFailed(
            "closes the connection during the greeting",
            'check `security` and `port`: a server on port 465 expects "smtps"',
        ) from error
    except smtplib.SMTPResponseException as error:
        raise ProbeFailed(
            f"answers {_format(error)}",
            "ask the operator of the mail server whether this machine may send through it",
            is_temporary=400 <= error.smtp_code < 500,
        ) from error
    except (OSError, smtplib.SMTPException) as error:
        raise _unreachable(error) from error


def _connect(server: MailSettings) -> smtplib.SMTP:
    if server.security == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
    return smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)


def _greet(smtp: smtplib.SMTP, server: MailSettings, password: str | None) -> str:
    smtp.ehlo_or_helo_if_needed()
    steps = ["greeted"]
    if server.security == "starttls":
        if not smtp.has_extn("starttls"):
            raise ProbeFailed(
                "does not offer STARTTLS",
                'set `security = "smtps"` and port 465, or "none" for a server on this machine',
            )
        smtp.starttls(context=ssl.create_default_context())
        smtp.ehlo()
    if isinstance(smtp.sock, ssl.SSLSocket):
        steps.append(str(smtp.sock.version()))
    if server.username:
        steps.append(_log_in(smtp, server.username, password))
    return ", ".join(steps)


def _log_in(smtp: smtplib.SMTP, username: str, password: str | None) -> str:
    if password is None:
        raise ProbeFailed(
            "needs a password and there is none",
            "set TRIAGE_MAIL_PASSWORD, or TRIAGE_MAIL_PASSWORD_FILE to a file that holds it",
        )
    if not smtp.has_extn("auth"):
        raise ProbeFailed(
            "does not offer a login on this connection",
            "check `security` and `port`, or remove `username` if no login is needed",
        )
    try:
        smtp.login(username, password)
    except smtplib.SMTPAuthenticationError as error:
        raise ProbeFailed(
            f"refuses user name and password: {_format(error)}",
            "correct `username` and TRIAGE_MAIL_PASSWORD; many providers want an app password",
            is_temporary=400 <= error.smtp_code < 500,
        ) from error
    except smtplib.SMTPNotSupportedError as error:
        raise ProbeFailed(
            "offers no login method that this program supports",
            "ask its operator for PLAIN, LOGIN or CRAM-MD5",
        ) from error
    return "logged in"


def _format(error: smtplib.SMTPResponseException) -> str:
    text = error.smtp_error
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return f"{error.smtp_code} {' '.join(text.split())[:160]}"


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
    """The functions that send requests; tests replace them."""

    ask: Callable[[str, str], Reply] = ask_web
    greet: Callable[[MailSettings, str | None], str] = greet_mail
    lookup: Callable[[str, str], tuple[str, ...]] = look_up
    post: Callable[[str, str], Reply] = post_web
    free_bytes: Callable[[Path], int] = field(default=lambda path: shutil.disk_usage(path).free)
    mounts: Callable[[], str] = field(default=lambda: Path("/proc/mounts").read_text("utf-8"))
