"""Leaving: a page with one button for people, and RFC 8058's one click for mail programs."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.errors import NotFound
from triage.tokens import Purpose
from triage.web.pages import Desk, form_fields

ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""The field of RFC 8058 section 3.1; the page's own button posts it too."""


def routes(desk: Desk) -> list[Route]:
    def show(request: Request) -> Response:
        desk.claims(request, Purpose.UNSUBSCRIBE)
        return desk.pages.show("unsubscribe")

    def act(request: Request) -> Response:
        claims = desk.claims(request, Purpose.UNSUBSCRIBE)
        try:
            undo = desk.enrolment.leave(claims.subscriber)
        except NotFound:
            raise HTTPException(404) from None
        return desk.pages.show("unsubscribed", undo=undo)

    async def leave(request: Request) -> Response:
        if request.method == "POST" and ONE_CLICK in await form_fields(request):
            return await run_in_threadpool(act, request)
        return await run_in_threadpool(show, request)

    return [Route("/u/{token}", leave, methods=["GET", "POST"])]
