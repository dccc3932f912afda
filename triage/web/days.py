"""The papers by day, as anybody may see them: a list, the days around it, what is read most."""

from __future__ import annotations

from datetime import date, timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.web.pages import Desk

PAGE = 50
TRENDING = 5
TRENDING_DAYS = timedelta(days=7)
NEW_FOR = timedelta(hours=24)


def routes(desk: Desk) -> list[Route]:
    def home(request: Request) -> Response:
        with desk.db.read() as conn:
            on = store.days.newest(conn)
        return desk.pages.show("home", day=None) if on is None else _shown(desk, request, on)

    def day(request: Request) -> Response:
        try:
            on = date.fromisoformat(request.path_params["on"])
        except ValueError:
            raise HTTPException(404) from None
        return _shown(desk, request, on)

    return [Route("/", home, methods=["GET"]), Route("/days/{on}", day, methods=["GET"])]


def _shown(desk: Desk, request: Request, on: date) -> Response:
    number = request.query_params.get("page", "1")
    at = int(number) if number.isascii() and number.isdigit() and len(number) < 5 else 0
    new_since = desk.clock.now() - NEW_FOR
    with desk.db.read() as conn:
        n_papers = store.days.count(conn, on)
        n_pages = max(-(-n_papers // PAGE), 1)
        if not 1 <= at <= n_pages:
            raise HTTPException(404)
        listed = store.days.page(conn, on, new_since, (at - 1) * PAGE, PAGE)
        around = store.days.around(conn, on)
        trending = store.days.trending(conn, on - TRENDING_DAYS, on, new_since, TRENDING)
    return desk.pages.show(
        "home",
        day=on,
        listed=listed,
        n_papers=n_papers,
        page=at,
        n_pages=n_pages,
        around=around,
        trending=trending,
        is_home=request.url.path == "/" and at == 1,
    )
