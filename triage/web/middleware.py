"""Middleware for every request: checks the host, sets headers, limits sizes, writes the log."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triage.domain.link_tokens import redact
from triage.web.login_cookie import host_of, is_loopback
from triage.web.shorter_answers import ShorterAnswers

HEAD_LIMIT = 16 * 1024
# How long the rest of a body is read that no page wants.
LINGER_S = 10

log = logging.getLogger("triage.web")


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """How large a body may be, in bytes, and how long it may take, in seconds."""

    size: int = 64 * 1024
    seconds: int = 10

    def __str__(self) -> str:
        kb = self.size // 1024
        return f"{kb} kB" if kb < 1024 else f"{kb // 1024} MB"


BODY_LIMIT = BodyLimit()
# A library of 5,000 entries with abstracts, as exported by reference managers, has 15 MB. It takes
# three minutes over a slow line.
BODY_LIMITS = {"/import": BodyLimit(20 * 1024 * 1024, 300)}


class BodyRefused(Exception):
    """A body is too large or too slow; `status` is that of the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def security_headers(base_url: str) -> dict[str, str]:
    """Return the headers of every response: only files of our own, no frames, no caching.

    Only `Cache-Control` may be another one.
    """
    headers = {
        "Content-Security-Policy": (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Robots-Tag": "noindex, nofollow",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if urlsplit(base_url).scheme == "https":
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


class SafetyMiddleware:
    """Wraps the whole application, including the error page of Starlette.

    An application that reads bodies must show a page for `BodyRefused`.
    """

    def __init__(self, app: ASGIApp, base_url: str) -> None:
        self.app = ShorterAnswers(app)
        self.headers = security_headers(base_url)
        self.host = (urlsplit(base_url).hostname or "").casefold()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(scope, receive, BODY_LIMITS.get(scope["path"], BODY_LIMIT))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                kept = headers.get("cache-control")
                headers.update(self.headers | ({} if kept is None else {"Cache-Control": kept}))
                _log_request(scope, message["status"])
            elif not message.get("more_body") and not body.is_over:
                # The client sees no answer if we hang up while it is sending (RFC 9112, 9.6).
                await send(dict(message) | {"more_body": True})
                await body.discard_rest()
                message = {"type": "http.response.body"}
            await send(message)

        async def refuse(status: int, why: str) -> None:
            response = PlainTextResponse(f"{why}\n", status, {"Connection": "close"})
            await response(scope, receive, send_with_headers)

        if not self._is_allowed_host(scope):
            await refuse(421, "This site has another name. Check the address.")
        elif _head_size(scope) > HEAD_LIMIT:
            await refuse(431, "The headers of this request are too long.")
        else:
            await self.app(scope, body.receive, send_with_headers)

    def _is_allowed_host(self, scope: Scope) -> bool:
        """Return whether the Host header names this site or this machine.

        Unsubscribing and the health check work with any host, because some mail programs and
        monitoring tools send a wrong one.
        """
        if scope["path"].startswith("/u/") or scope["path"] == "/healthz":
            return True
        host = host_of(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
        return host == self.host or is_loopback(host)


class _Body:
    """The body of a request, as it arrives, within its limit.

    Attributes:
        is_over: whether all of it arrived, or no more is awaited.
    """

    def __init__(self, scope: Scope, receive: Receive, limit: BodyLimit) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        self._declared = int(length) if length.isdigit() else 0
        self.is_over = not self._declared and b"transfer-encoding" not in headers
        self._receive = receive
        self._limit = limit
        self._ends_at = asyncio.get_running_loop().time() + limit.seconds
        self._n_read = 0

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            BodyRefused: the body is larger than its limit, or takes longer.
        """
        if self.is_over:
            return await self._receive()
        self._check_size()
        try:
            async with asyncio.timeout_at(self._ends_at):
                message = await self._receive()
        except TimeoutError:
            self.is_over = True
            raise BodyRefused(408, "This request took too long to arrive.") from None
        self._n_read += len(message.get("body", b""))
        self.is_over = not message.get("more_body", False)
        self._check_size()
        return message

    def _check_size(self) -> None:
        if max(self._n_read, self._declared) > self._limit.size:
            raise BodyRefused(413, f"This is larger than the limit, {self._limit}.")

    async def discard_rest(self) -> None:
        """Read and forget what is left, for some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self.is_over:
                    message = await self._receive()
                    self.is_over = not message.get("more_body", False)


def _head_size(scope: Scope) -> int:
    """Return the size of the address and the headers, in bytes."""
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return headers + len(scope["path"]) + len(scope["query_string"])


def _log_request(scope: Scope, status: int) -> None:
    """Write one line, with a `kind` for limits on the log; strangers must not make up kinds."""
    place = re.split("[/.]", scope["path"].strip("/"))[0][:20] if status < 400 else ""
    kind = f"{scope['method'][:10]} {place} {status}"
    log.info("%s %s %d", scope["method"], _loggable(scope["path"]), status, extra={"kind": kind})


def _loggable(path: str) -> str:
    """Return a path without tokens, on one line and with at most 200 characters."""
    return "".join(c if c.isprintable() else "?" for c in redact(path))[:200]
