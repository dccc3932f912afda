"""The page to unsubscribe: one button for people, and one-click requests from mail programs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.domain.link_tokens import Purpose
from triage.web.context import PageContext, form_route
from triage.web.forms import NO_FIELDS, Fields


def routes(page: PageContext) -> list[Route]:
    def leave(request: Request, fields: Fields = NO_FIELDS) -> Response:
        claims = page.claims(request, Purpose.UNSUBSCRIBE)
        # RFC 8058, section 3.1. The button of our page sends the same field.
        if "One-Click" not in fields.getlist("List-Unsubscribe"):
            return page.show(request, "unsubscribe")
        return page.show(request, "unsubscribed", undo=page.signup.leave(claims.subscriber))

    return [form_route("/u/{token}", leave, leave)]
