"""The public pages that list the papers of one day."""

from __future__ import annotations

from datetime import date, timedelta

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from triage import store
from triage.web.cache import TimedCache
from triage.web.context import PageContext, count_pages, date_in_path, page_number

PAGE = 50
TRENDING = 5
TRENDING_DAYS = timedelta(days=7)
NEW_FOR = timedelta(hours=24)
# These pages are requested most, are the slowest, and are the same for everybody.
CACHE_FOR = timedelta(seconds=5)
CACHE_SIZE = 64


def routes(page: PageContext) -> list[Route]:
    cache = TimedCache[bytes](page.clock, CACHE_FOR, CACHE_SIZE)

    def home(request: Request) -> Response:
        n = page_number(request)
        return HTMLResponse(cache.get(("home", n), lambda: _render_newest_day(page, n)))

    def day(request: Request) -> Response:
        n, on = page_number(request), date_in_path(request)
        return HTMLResponse(cache.get((on, n), lambda: _render_day(page, on, n, is_home=False)))

    return [Route("/", home, methods=["GET"]), Route("/days/{on}", day, methods=["GET"])]


def _render_newest_day(page: PageContext, n: int) -> bytes:
    with page.db.read() as conn:
        on = store.listing_days.newest(conn)
    if on is None:
        return page.pages.render("home.html", day=None).encode()
    return _render_day(page, on, n, is_home=n == 1)


def _render_day(page: PageContext, on: date, n: int, *, is_home: bool) -> bytes:
    new_since = page.clock.now() - NEW_FOR
    with page.db.read() as conn:
        n_papers = store.listing_days.count(conn, on)
        n_pages = count_pages(n_papers, PAGE, n)
        listed = store.listing_days.page(conn, on, new_since, (n - 1) * PAGE, PAGE)
        around = store.listing_days.around(conn, on)
        trending = store.listing_days.trending(conn, on - TRENDING_DAYS, on, new_since, TRENDING)
    return page.pages.render(
        "home.html",
        day=on,
        listed=listed,
        n_papers=n_papers,
        page=n,
        n_pages=n_pages,
        around=around,
        trending=trending,
        is_home=is_home,
    ).encode()
