"""Builds the web application: all routes, and the error pages."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from threading import Event

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from triage.domain.link_tokens import Keyring
from triage.domain.protocols import Clock
from triage.domain.source_records import SCHEMES
from triage.errors import DatabaseError, NotFound, TokenError, TooManyRequests
from triage.papers.search import Search
from triage.store import Database
from triage.subscribers.network_limit import NetworkLimit
from triage.subscribers.sessions import Sessions
from triage.subscribers.signup import Signup
from triage.web import author, browse, paper, search, static_files, vote
from triage.web.account import (
    feed,
    library_upload,
    my_data,
    preferences,
    saved,
    signup,
    unsubscribe,
)
from triage.web.context import GONE, PageContext, Pages, RankingAnswers, Site, say_wait
from triage.web.login_cookie import LoginCookie
from triage.web.middleware import BodyRefused, SafetyMiddleware

log = logging.getLogger("triage.web")


def create_app(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    site: Site,
    enrolment: Signup,
    ranking: RankingAnswers | None = None,
    paper_search: Search | None = None,
    named_schemes: Collection[str] = SCHEMES,
) -> Starlette:
    """Return the web application.

    Run it without the access log of the server, because that log would contain tokens. The logger
    `triage.web` writes one line for each request, without tokens.

    Args:
        ranking: by default no preview and no outcome of a paper is known.
        paper_search: searches by words and by vectors; the default searches by words only.
        named_schemes: of the papers that can be fetched from an archive if somebody names them.
    """
    pages = Pages(site)
    sessions = Sessions(db, clock, keyring)
    page = PageContext(
        db,
        keyring,
        clock,
        pages,
        enrolment,
        sessions,
        LoginCookie(sessions, keyring, site.base_url),
        ranking or RankingAnswers(),
        NetworkLimit(signup.PREVIEWS, trusted=enrolment.network_limit.trusted),
        paper_search or Search(db),
        named_schemes,
    )

    def healthz(_: Request) -> Response:
        with db.read():
            return PlainTextResponse("ok\n")

    def show_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
        gone = error.detail if error.detail in GONE else GONE[0]
        names = {403: "error_form", 404: "error_missing", 405: "error_method", 410: gone}
        name = names.get(error.status_code, "error_link")
        typed = getattr(request.state, "refused_form", {})
        response = page.show(request, name, error.status_code, typed=typed)
        response.headers.update(error.headers or {})
        return response

    def show_bad_link(request: Request, _: Exception) -> Response:
        return page.show(request, "error_link", 404)

    def show_refused_body(request: Request, error: Exception) -> Response:
        assert isinstance(error, BodyRefused)  # noqa: S101 - registered for nothing else
        return page.show(request, "error_body", error.status, why=str(error))

    async def forget(_: Request, __: Exception) -> Response:
        """Answer nobody: whoever left while a form came in must not change anything by half."""
        return Response(status_code=400)

    def show_too_many(request: Request, error: Exception) -> Response:
        assert isinstance(error, TooManyRequests)  # noqa: S101 - registered for nothing else
        return say_wait(page.show(request, "error_too_many", 429, why=str(error)), error)

    def show_failure(_: Request, error: Exception) -> Response:
        if isinstance(error, DatabaseError):
            log.error("database error: %s", error)
        return pages.show("error_broken", 503 if isinstance(error, DatabaseError) else 500)

    @asynccontextmanager
    async def keep_search_ready(_: Starlette) -> AsyncIterator[None]:
        stopped = Event()
        page.search.keep_ready(stopped)
        yield
        stopped.set()

    app = Starlette(
        lifespan=keep_search_ready,
        routes=[
            *browse.routes(page),
            *paper.routes(page),
            *author.routes(page),
            *search.routes(page),
            *library_upload.routes(page),
            *vote.routes(page),
            *unsubscribe.routes(page),
            *signup.routes(page),
            *preferences.routes(page),
            *my_data.routes(page),
            *saved.routes(page),
            *feed.routes(page),
            *static_files.routes(pages.files),
            Route("/healthz", healthz, methods=["GET"]),
        ],
        exception_handlers={
            HTTPException: show_http_error,
            BodyRefused: show_refused_body,
            ClientDisconnect: forget,
            NotFound: show_bad_link,
            TokenError: show_bad_link,
            TooManyRequests: show_too_many,
            DatabaseError: show_failure,
            Exception: show_failure,
        },
    )
    # Outside of the page that Starlette shows after an error.
    app.middleware_stack = SafetyMiddleware(app.build_middleware_stack(), site.base_url)
    # A redirect would repeat the token in a header.
    app.router.redirect_slashes = False
    return app
