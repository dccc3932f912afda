"""The papers by day, as anybody may see them: a list, the days around it, what is read most."""

from __future__ import annotations

from datetime import date, timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from triage import store
from triage.web.cache import TimedCache
from triage.web.context import PageContext, number

PAGE = 50
TRENDING = 5
TRENDING_DAYS = timedelta(days=7)
NEW_FOR = timedelta(hours=24)
# These pages are opened most, cost most and are the same for everybody.
FRESH_FOR = timedelta(seconds=5)
MOST_KEPT = 64


def routes(desk: PageContext) -> list[Route]:
    kept = TimedCache[bytes](desk.clock, FRESH_FOR, MOST_KEPT)

    def home(request: Request) -> Response:
        at = number(request.query_params.get("page", "1"))
        return HTMLResponse(kept.get(("home", at), lambda: _newest(desk, at)))

    def day(request: Request) -> Response:
        at = number(request.query_params.get("page", "1"))
        try:
            on = date.fromisoformat(request.path_params["on"])
        except ValueError:
            raise HTTPException(404) from None
        return HTMLResponse(kept.get((on, at), lambda: _shown(desk, on, at, is_home=False)))

    return [Route("/", home, methods=["GET"]), Route("/days/{on}", day, methods=["GET"])]


def _newest(desk: PageContext, at: int) -> bytes:
    with desk.db.read() as conn:
        on = store.listing_days.newest(conn)
    if on is None:
        return desk.pages.text("home", day=None).encode()
    return _shown(desk, on, at, is_home=at == 1)


def _shown(desk: PageContext, on: date, at: int, *, is_home: bool) -> bytes:
    new_since = desk.clock.now() - NEW_FOR
    with desk.db.read() as conn:
        n_papers = store.listing_days.count(conn, on)
        n_pages = max(-(-n_papers // PAGE), 1)
        if not 1 <= at <= n_pages:
            raise HTTPException(404)
        listed = store.listing_days.page(conn, on, new_since, (at - 1) * PAGE, PAGE)
        around = store.listing_days.around(conn, on)
        trending = store.listing_days.trending(conn, on - TRENDING_DAYS, on, new_since, TRENDING)
    return desk.pages.text(
        "home",
        day=on,
        listed=listed,
        n_papers=n_papers,
        page=at,
        n_pages=n_pages,
        around=around,
        trending=trending,
        is_home=is_home,
    ).encode()
