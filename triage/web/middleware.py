"""Middleware for every request: checks the host, sets headers, limits sizes, writes the log."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triage.domain.link_tokens import redact
from triage.web.login_cookie import host_of, is_loopback

HEAD_LIMIT = 16 * 1024
BODY_LIMIT = 64 * 1024
# A library of 500 entries with abstracts, as exported by reference managers, has 1.5 MB.
BODY_LIMITS = {"/import": 2 * 1024 * 1024}
BODY_WITHIN_S = 10

log = logging.getLogger("triage.web")


def security_headers(base_url: str) -> dict[str, str]:
    """Return the headers of every response: no scripts, no images, no frames, no caching."""
    headers = {
        "Content-Security-Policy": (
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
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
    """Wraps the whole application, including the error page of Starlette."""

    def __init__(self, app: ASGIApp, base_url: str) -> None:
        self.app = app
        self.headers = security_headers(base_url)
        self.host = (urlsplit(base_url).hostname or "").casefold()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                kept = headers.get("cache-control")
                headers.update(self.headers | ({} if kept is None else {"Cache-Control": kept}))
                log.info("%s %s %d", scope["method"], _loggable(scope["path"]), message["status"])
            await send(message)

        async def refuse(status: int, why: str) -> None:
            response = PlainTextResponse(f"{why}\n", status, {"Connection": "close"})
            await response(scope, receive, send_with_headers)

        limit = BODY_LIMITS.get(scope["path"], BODY_LIMIT)
        if not self._is_allowed_host(scope):
            await refuse(421, "This site has another name. Check the address.")
        elif _head_size(scope) > HEAD_LIMIT:
            await refuse(431, "The headers of this request are too long.")
        else:
            try:
                async with asyncio.timeout(BODY_WITHIN_S):
                    body = await _read_body(scope, receive, limit)
            except TimeoutError:
                await refuse(408, "This request took too long to arrive.")
                return
            if body is None:
                await refuse(413, f"This request is larger than the limit, {limit // 1024} kB.")
                return
            messages = [{"type": "http.request", "body": body, "more_body": False}]

            async def replay() -> Message:
                return messages.pop() if messages else await receive()

            await self.app(scope, replay, send_with_headers)

    def _is_allowed_host(self, scope: Scope) -> bool:
        """Return whether the Host header names this site or this machine.

        Unsubscribing and the health check work with any host, because some mail programs and
        monitoring tools send a wrong one.
        """
        if scope["path"].startswith("/u/") or scope["path"] == "/healthz":
            return True
        host = host_of(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
        return host == self.host or is_loopback(host)


def _head_size(scope: Scope) -> int:
    """Return the size of the address and the headers, in bytes."""
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return headers + len(scope["path"]) + len(scope["query_string"])


def _loggable(path: str) -> str:
    """Return a path without tokens, on one line and with at most 200 characters."""
    return "".join(c if c.isprintable() else "?" for c in redact(path))[:200]


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """Return the whole body, or None if it has more than `limit` bytes."""
    content_length = dict(scope["headers"]).get(b"content-length", b"0")
    if not content_length.isdigit() or int(content_length) > limit:
        return None
    body = bytearray()
    with suppress(ClientDisconnect):
        async for chunk in Request(scope, receive).stream():
            body += chunk
            if len(body) > limit:
                return None
    return bytes(body)
