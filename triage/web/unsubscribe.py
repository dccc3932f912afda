"""Leaving: a page with one button for people, and RFC 8058's one click for mail programs."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.domain.link_tokens import Purpose
from triage.errors import NotFound
from triage.web.context import PageContext, form_route
from triage.web.forms import Pairs

ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""The field of RFC 8058 section 3.1; the page's own button posts it too."""


def routes(desk: PageContext) -> list[Route]:
    def leave(request: Request, fields: Pairs = ()) -> Response:
        claims = desk.claims(request, Purpose.UNSUBSCRIBE)
        if ONE_CLICK not in fields:
            return desk.pages.show("unsubscribe")
        try:
            undo = desk.enrolment.leave(claims.subscriber)
        except NotFound:
            raise HTTPException(404) from None
        return desk.pages.show("unsubscribed", undo=undo)

    return [form_route("/u/{token}", leave, leave)]
