"""The operator's page: how the installation is doing, on request.

It belongs on a port that only this machine reaches: whoever can open it may see it. It counts and
names nobody, and there is nothing on it to press.
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
from triage.web.middleware import Guard

FRESH_FOR = timedelta(minutes=1)

log = logging.getLogger("triage.web")


def create_operator_page(db: Database, clock: Clock, site: Site) -> ASGIApp:
    """Return an application of one page: `triage report`, as things stand now.

    It answers under the names of this machine only, so that no other site can reach it through a
    browser. A page is made at most once a minute, however often it is asked for.
    """
    style = report_style()
    kept = TimedCache[bytes](clock, FRESH_FOR)

    def make() -> bytes:
        return render_report(history(db, clock.now()), site.name, "/style.css").encode()

    def show(_: Request) -> Response:
        return HTMLResponse(kept.get("report", make))

    def sheet(_: Request) -> Response:
        return Response(style, media_type="text/css")

    def broken(_: Request, error: Exception) -> Response:
        log.error("the database: %s", error)
        return PlainTextResponse("The database does not answer; the log says why.\n", 503)

    app = Starlette(
        routes=[
            Route("/", show, methods=["GET"]),
            Route("/style.css", sheet, methods=["GET"]),
        ],
        exception_handlers={DatabaseError: broken},
    )
    app.router.redirect_slashes = False
    return Guard(app, "http://127.0.0.1")
