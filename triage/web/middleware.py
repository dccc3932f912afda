"""What holds for every request: a name that is ours, headers, limits, a log without tokens."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triage.domain.link_tokens import redact
from triage.web.login_cookie import host_of, is_loopback

HEAD_LIMIT = 16 * 1024
BODY_LIMIT = 64 * 1024
# A library of 500 entries with their abstracts, as reference managers write it, has 1.5 MB.
BODY_LIMITS = {"/import": 2 * 1024 * 1024}
BODY_WITHIN_S = 10

log = logging.getLogger("triage.web")


def security_headers(base_url: str) -> dict[str, str]:
    """Return the headers of every response: no scripts, no images, no frames, nothing kept."""
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


class Guard:
    """ASGI middleware around everything, the server's own error page included."""

    def __init__(self, app: ASGIApp, base_url: str) -> None:
        self.app = app
        self.headers = [
            (name.lower().encode(), value.encode())
            for name, value in security_headers(base_url).items()
        ]
        self.names = {name for name, _ in self.headers}
        self.host = (urlsplit(base_url).hostname or "").casefold()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [pair for pair in message["headers"] if pair[0].lower() not in self.names]
                message["headers"] = others + self.headers
                log.info("%s %s %d", scope["method"], _loggable(scope["path"]), message["status"])
            await send(message)

        if not self._is_for_us(scope):
            await _refuse(guarded_send, 421, "This site does not go by that name.")
            return
        if _head_size(scope) > HEAD_LIMIT:
            await _refuse(guarded_send, 431, "The headers of this request are too long.")
            return
        limit = BODY_LIMITS.get(scope["path"], BODY_LIMIT)
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                body = await _read(scope, receive, limit)
        except TimeoutError:
            await _refuse(guarded_send, 408, "This request took too long to come.")
            return
        if body is None:
            told = f"This request is larger than {limit // 1024} kB and was not read."
            await _refuse(guarded_send, 413, told)
            return
        whole = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, guarded_send)

    def _is_for_us(self, scope: Scope) -> bool:
        """Tell whether a request names this site, or the machine itself.

        Mail programs and watchdogs that get no name right still may unsubscribe and ask for health.
        """
        if scope["path"].startswith("/u/") or scope["path"] == "/healthz":
            return True
        host = host_of(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
        return host == self.host or is_loopback(host)


def _head_size(scope: Scope) -> int:
    """Return how many bytes the address and the headers of a request have."""
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return headers + len(scope["path"]) + len(scope["query_string"])


def _loggable(path: str) -> str:
    """Return a path without tokens, on one line and not too long."""
    return "".join(c if c.isprintable() else "?" for c in redact(path))[:200]


async def _read(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """Return the whole body, or None when it is over the limit in bytes."""
    stated = dict(scope["headers"]).get(b"content-length", b"0")
    if not stated.isdigit() or int(stated) > limit:
        return None
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":  # the client went away
            return b"".join(chunks)
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            return None
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _refuse(send: Send, status: int, why: str) -> None:
    text = f"{why}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
