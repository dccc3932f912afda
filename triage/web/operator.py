"""The operator's page: the report on the installation, made on request.

It must be on a port that only this machine reaches, because there is no login. It shows counts and
no names, and has no buttons.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from triage.domain.protocols import Clock
from triage.errors import DatabaseError
from triage.operations.report import history, render_report, report_style
from triage.store import Database
from triage.web.cache import TimedCache
from triage.web.context import Site
from triage.web.middleware import SafetyMiddleware

CACHE_FOR = timedelta(minutes=1)

log = logging.getLogger("triage.web")


def create_operator_page(db: Database, clock: Clock, site: Site, max_age_days: int) -> ASGIApp:
    """Return an application with one page: the current `triage report`, made once a minute at most.

    It accepts only the host names of this machine, so that no other site can reach it through a
    browser.

    Args:
        max_age_days: see `history`.
    """
    css = report_style()
    cache = TimedCache[bytes](clock, CACHE_FOR)

    def make() -> bytes:
        read = history(db, clock.now(), max_age_days)
        return render_report(read, site.name, "/style.css").encode()

    def show(_: Request) -> Response:
        return HTMLResponse(cache.get("report", make), headers={"Cache-Control": "no-store"})

    def style(_: Request) -> Response:
        return Response(css, media_type="text/css")

    def show_failure(_: Request, error: Exception) -> Response:
        log.error("database error: %s", error)
        return PlainTextResponse("The database does not respond. See the log.\n", 503)

    app = Starlette(
        routes=[Route("/", show, methods=["GET"]), Route("/style.css", style, methods=["GET"])],
        exception_handlers={DatabaseError: show_failure},
    )
    app.router.redirect_slashes = False
    return SafetyMiddleware(app, "http://127.0.0.1")
