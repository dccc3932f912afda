"""The page to unsubscribe: one button for people, and one-click requests from mail programs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.domain.link_tokens import Purpose
from triage.errors import NotFound
from triage.web.context import ERASED, PageContext, form_route
from triage.web.forms import NO_FIELDS, Fields


def routes(page: PageContext) -> list[Route]:
    def leave(request: Request, fields: Fields = NO_FIELDS) -> Response:
        # RFC 8058, section 3.1. The button of our page sends the same field.
        if "One-Click" not in fields.getlist("List-Unsubscribe"):
            page.claims(request, Purpose.UNSUBSCRIBE)
            return page.show(request, "unsubscribe")
        token, now = request.path_params["token"], page.clock.now()
        claims = page.keyring.verify(token, Purpose.UNSUBSCRIBE, now)
        try:
            undo = page.signup.leave(claims.subscriber)
        except NotFound:
            # Who was erased gets no mail either. Mail programs take any other status for a failure.
            return page.show(request, ERASED)
        return page.show(request, "unsubscribed", undo=undo)

    return [form_route("/u/{token}", leave, leave)]
