"""Sends less: compressed answers, and none to clients that have the same answer already.

A client says with an `ETag` which answer it has (RFC 9110, sections 8.8.3 and 13.1.2).
"""

from __future__ import annotations

import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triage.domain.link_tokens import redact

_SMALLEST = 1_000
# Larger levels take several times longer and make pages hardly smaller.
_LEVEL = 4
_KEPT_KINDS = ("text/html", "application/atom+xml", "application/feed+json")


class ShorterAnswers:
    """Compresses answers, and lets clients keep those that are the same for everybody."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._compressed = GZipMiddleware(self._send_once, _SMALLEST, _LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._compressed if _may_compress(scope) else self._send_once
        await app(scope, receive, send)

    async def _send_once(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; answer 304 if the client has the same answer already."""
        if not _is_for_everybody(scope):
            await self.app(scope, receive, send)
            return
        begin: Message = {}

        async def send_or_not(message: Message) -> None:
            nonlocal begin
            if message["type"] == "http.response.start":
                begin = message
                return
            if begin:
                if not message.get("more_body"):
                    message = _without_known(scope, begin, message)
                await send(begin)
                begin = {}
            await send(message)

        await self.app(scope, receive, send_or_not)


def _may_compress(scope: Scope) -> bool:
    """Return whether the size of an answer tells nobody anything.

    The pages of somebody who is logged in have secrets, such as the seal of forms. If others can
    choose a part of such a page, they can find out the secrets from its compressed size (BREACH,
    2013). They can only choose what comes after the `?` of an address that they make somebody open.
    """
    if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
        return False
    return not scope["query_string"] or "cookie" not in Headers(scope=scope)


def _is_for_everybody(scope: Scope) -> bool:
    """Return whether an answer depends on its address alone, and the address is no secret.

    Feed readers keep the secret address of a feed anyway.
    """
    if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
        return False
    path = scope["path"]
    is_public = path.startswith("/f/") or redact(path) == path
    return is_public and "cookie" not in Headers(scope=scope)


def _without_known(scope: Scope, begin: Message, message: Message) -> Message:
    """Give an answer its ETag; if the client has it, make the status 304 and return no body."""
    headers = MutableHeaders(raw=begin["headers"])
    kind = headers.get("content-type", "").partition(";")[0]
    if begin["status"] != 200 or "set-cookie" in headers:
        return message
    if kind in _KEPT_KINDS:
        # The browser asks each time whether the page is still the same, so nobody sees an old one.
        headers.setdefault("Cache-Control", "no-cache")
        headers.add_vary_header("Cookie")
    elif "cache-control" not in headers:
        return message
    tag = f'"{hashlib.sha256(message["body"]).hexdigest()[:32]}"'
    # Weak, because a compressed answer has other bytes.
    headers["ETag"] = f"W/{tag}"
    known = Headers(scope=scope).get("if-none-match", "")
    if known.strip() != "*" and tag not in {
        each.strip().removeprefix("W/") for each in known.split(",")
    }:
        return message
    begin["status"] = 304
    for name in ("content-length", "content-type"):
        del headers[name]
    return dict(message) | {"body": b""}
