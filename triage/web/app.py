"""Puts the pages together: routes, and the pages that say what went wrong."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from triage.domain.link_tokens import Keyring
from triage.domain.protocols import Clock
from triage.errors import DatabaseError
from triage.papers.search import Search
from triage.store import Database
from triage.subscribers.sessions import Sessions
from triage.subscribers.signup import Signup
from triage.web import (
    browse,
    feed,
    library_upload,
    my_data,
    paper,
    preferences,
    signup,
    unsubscribe,
    vote,
)
from triage.web import (
    search as searching,
)
from triage.web.context import TOO_OLD, Allowance, PageContext, Pages, Preview, Site
from triage.web.login_cookie import LoginCookie
from triage.web.middleware import Guard
from triage.web.signup import PREVIEWS_A_MINUTE

log = logging.getLogger("triage.web")


class _Guarded(Starlette):
    """Starlette puts its own middleware inside its error page; the guard belongs outside of it."""

    base_url = ""

    def build_middleware_stack(self) -> ASGIApp:
        return Guard(super().build_middleware_stack(), self.base_url)


def create_app(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    site: Site,
    enrolment: Signup,
    preview: Preview = lambda *_: None,
    search: Search | None = None,
) -> Starlette:
    """Return the web application. Run it without the server's access log, which would hold tokens;
    the logger `triage.web` has one line a request without them.

    Args:
        preview: as `Desk` has it.
        search: knows what papers mean; without it words alone are looked at.
    """
    pages = Pages(site)
    sessions = Sessions(db, clock, keyring)
    desk = PageContext(
        db,
        keyring,
        clock,
        pages,
        enrolment,
        sessions,
        LoginCookie(sessions, keyring, site.base_url),
        preview,
        Allowance(PREVIEWS_A_MINUTE),
        search or Search(db),
    )

    # Asynchronous, for it waits for nothing: a thread would cost more than the answer.
    async def style(_: Request) -> Response:
        return Response(pages.style, media_type="text/css")

    def healthz(_: Request) -> Response:
        with db.read():
            return PlainTextResponse("ok\n")

    def wrong(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
        gone = error.detail if error.detail in TOO_OLD else TOO_OLD[0]
        names = {403: "error_form", 405: "error_method", 410: gone}
        page = pages.show(names.get(error.status_code, "error_link"), error.status_code)
        page.headers.update(error.headers or {})
        return page

    def broken(_: Request, error: Exception) -> Response:
        if isinstance(error, DatabaseError):
            log.error("the database: %s", error)
        return pages.show("error_broken", 503 if isinstance(error, DatabaseError) else 500)

    app = _Guarded(
        routes=[
            *browse.routes(desk),
            *paper.routes(desk),
            *searching.routes(desk),
            *library_upload.routes(desk),
            *vote.routes(desk),
            *unsubscribe.routes(desk),
            *signup.routes(desk),
            *preferences.routes(desk),
            *my_data.routes(desk),
            *feed.routes(desk, site),
            Route("/style.css", style, methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
        ],
        exception_handlers={HTTPException: wrong, DatabaseError: broken, Exception: broken},
    )
    app.base_url = site.base_url
    # A redirect would repeat the token in a header.
    app.router.redirect_slashes = False
    return app
