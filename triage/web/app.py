"""Puts the pages together: routes, and the pages that say what went wrong."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from triage.errors import DatabaseError
from triage.ports import Clock
from triage.store import Database
from triage.tokens import Keyring
from triage.web import days, papers, unsubscribe, votes
from triage.web.guard import Guard
from triage.web.pages import Desk, Pages, Site

log = logging.getLogger("triage.web")


class _Guarded(Starlette):
    """Starlette puts its own middleware inside its error page; the guard belongs outside of it."""

    base_url = ""

    def build_middleware_stack(self) -> ASGIApp:
        return Guard(super().build_middleware_stack(), self.base_url)


def create_app(db: Database, keyring: Keyring, clock: Clock, site: Site) -> Starlette:
    """Return the web application. Run it without the server's access log, which would hold tokens;
    the logger `triage.web` has one line a request without them.
    """
    pages = Pages(site)
    desk = Desk(db, keyring, clock, pages)

    def preferences(_: Request) -> Response:
        return pages.show("preferences")

    def style(_: Request) -> Response:
        return Response(pages.style, media_type="text/css")

    def healthz(_: Request) -> Response:
        with db.read():
            return PlainTextResponse("ok\n")

    def wrong(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
        name = {405: "error_method", 410: "error_expired"}.get(error.status_code, "error_link")
        page = pages.show(name, error.status_code)
        page.headers.update(error.headers or {})
        return page

    def broken(_: Request, error: Exception) -> Response:
        if isinstance(error, DatabaseError):
            log.error("the database: %s", error)
        return pages.show("error_broken", 503 if isinstance(error, DatabaseError) else 500)

    app = _Guarded(
        routes=[
            *days.routes(desk),
            *papers.routes(desk),
            *votes.routes(desk),
            *unsubscribe.routes(desk),
            Route("/preferences", preferences, methods=["GET"]),
            Route("/style.css", style, methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
        ],
        exception_handlers={HTTPException: wrong, DatabaseError: broken, Exception: broken},
    )
    app.base_url = site.base_url
    # A redirect would repeat the token in a header.
    app.router.redirect_slashes = False
    return app
