"""The papers of a day or a week: for strangers the same for all, for subscribers in their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from triage import store
from triage.store.listing_days import DayPaper
from triage.web.cache import TimedCache
from triage.web.cards import cards_for
from triage.web.context import (
    DayRanking,
    PageContext,
    count_pages,
    date_in_path,
    page_number,
    parse_date,
)
from triage.web.login_cookie import Login

PAGE: Final = 50
TRENDING: Final = 5
WEEK: Final = timedelta(days=7)
NEW_FOR: Final = timedelta(hours=24)
MOST_CATEGORIES: Final = 12
SORTS: Final = {"rank": "for you", "upvotes": "most upvotes", "newest": "newest"}
# These pages are requested most, are the slowest, and are the same for everybody.
CACHE_FOR: Final = timedelta(seconds=5)
CACHE_SIZE: Final = 64
DAYS_KEPT: Final = 8
# Votes on a page must not change its order under the reader's eyes.
RANKING_FOR: Final = timedelta(minutes=10)
RANKINGS_KEPT: Final = 32


@dataclass(frozen=True, slots=True)
class DayRequest:
    """What the address of a page of days asks for; `sort` is one of SORTS or ""."""

    on: date
    is_week: bool
    category: str
    sort: str
    page: int

    @property
    def first(self) -> date:
        """The first day that is shown."""
        return self.on - WEEK + timedelta(days=1) if self.is_week else self.on

    def path(self, root: str, **other: str | int | date) -> str:
        """Return the address of this page, or with other values; the first page by default."""
        asked = {"category": self.category, "sort": self.sort, "page": 1} | other
        query = urlencode({k: v for k, v in asked.items() if k != "on" and v not in {"", 1}})
        kind = "weeks" if self.is_week else "days"
        return f"{root}/{kind}/{other.get('on', self.on)}{query and '?'}{query}"


class _DayPages:
    """Renders the pages of days, and keeps what takes long to make."""

    def __init__(self, page: PageContext) -> None:
        self._page = page
        self._rendered = TimedCache[bytes](page.clock, CACHE_FOR, CACHE_SIZE)
        self._papers = TimedCache[list[DayPaper]](page.clock, CACHE_FOR, DAYS_KEPT)
        self._rankings = TimedCache[DayRanking | None](page.clock, RANKING_FOR, RANKINGS_KEPT)

    def show(self, request: Request, on: date | None, *, is_week: bool = False) -> Response:
        """Return the page of a day, of the week that ends with it, or without papers."""
        login = self._page.login_cookie.read(request)
        if on is None:
            return self._page.show(request, "home", day=None)
        query = request.query_params
        wanted = DayRequest(
            on,
            is_week,
            query.get("category", "")[:40],
            query.get("sort", "") if query.get("sort") in SORTS else "",
            page_number(request),
        )
        is_home = request.url.path == "/" and wanted.page == 1
        if login or request.cookies:
            return self._page.show(request, "home", **self._values(wanted, login, is_home))
        return HTMLResponse(
            self._rendered.get(
                (wanted, is_home),
                lambda: bytes(
                    self._page.show(request, "home", **self._values(wanted, None, is_home)).body
                ),
            )
        )

    def _values(self, wanted: DayRequest, login: Login | None, is_home: bool) -> dict[str, Any]:
        """Return what the template needs."""
        papers = self._load(wanted.first, wanted.on)
        counts = Counter(name for each in papers for name in each.paper.categories)
        chosen = [each for each in papers if wanted.category in {"", *each.paper.categories}]
        ranking = self._rank(login, wanted) if login else None
        sort = wanted.sort or ("rank" if ranking else "upvotes")
        ordered = _sort(chosen, sort, ranking)
        n_pages = count_pages(len(ordered), PAGE, wanted.page)
        listed = ordered[(wanted.page - 1) * PAGE : wanted.page * PAGE]
        with self._page.db.read() as conn:
            around = store.listing_days.around(conn, wanted.on)
            trending = (
                []
                if login or wanted.page > 1
                else store.listing_days.trending(conn, wanted.on - WEEK, wanted.on, TRENDING)
            )
        new_since = self._page.clock.now() - NEW_FOR
        shown = [each.paper for each in listed]
        return {
            "day": wanted.on,
            "wanted": wanted,
            "cards": cards_for(
                self._page,
                login,
                shown,
                new={each.paper.id for each in listed if each.first_seen_at >= new_since},
                why=ranking.explain([paper.id for paper in shown]) if ranking else None,
            ),
            "categories": counts.most_common(MOST_CATEGORIES),
            "n_all": len(papers),
            "n_papers": len(ordered),
            "n_pages": n_pages,
            "sort": sort,
            "sorts": [name for name in SORTS if ranking or name != "rank"],
            "sort_names": SORTS,
            "around": around,
            "trending": trending,
            "is_home": is_home,
            # The page is kept for all strangers, so it must not have the address of one request.
            "login_back": wanted.path("", page=wanted.page),
        }

    def _load(self, first: date, last: date) -> list[DayPaper]:
        def load() -> list[DayPaper]:
            with self._page.db.read() as conn:
                return store.listing_days.papers_between(conn, first, last)

        return self._papers.get((first, last), load)

    def _rank(self, login: Login, wanted: DayRequest) -> DayRanking | None:
        subscriber, first, last = login.subscriber, wanted.first, wanted.on
        return self._rankings.get(
            (subscriber, first, last),
            lambda: self._page.ranking.rank_days(subscriber, first, last),
        )


def _sort(papers: Sequence[DayPaper], sort: str, ranking: DayRanking | None) -> list[DayPaper]:
    """Return papers in an order of SORTS; papers without a rank come last."""
    if sort == "newest":
        return sorted(papers, key=lambda each: (each.first_seen_at, each.paper.id), reverse=True)
    by_upvotes = sorted(papers, key=lambda each: (-(each.paper.upvotes or 0), each.paper.id))
    if sort == "upvotes" or ranking is None:
        return by_upvotes
    ranks = ranking.ranks
    return sorted(by_upvotes, key=lambda each: ranks.get(each.paper.id, len(ranks) + 1))


def routes(page: PageContext) -> list[Route]:
    pages = _DayPages(page)

    def home(request: Request) -> Response:
        with page.db.read() as conn:
            on = store.listing_days.newest(conn)
        return pages.show(request, on)

    def day(request: Request) -> Response:
        return pages.show(request, date_in_path(request))

    def week(request: Request) -> Response:
        return pages.show(request, date_in_path(request), is_week=True)

    def pick(request: Request) -> Response:
        """Go to the day of the date picker."""
        on = parse_date(request.query_params.get("on", ""))
        return page.redirect(f"/days/{on}" if on else "/")

    return [
        Route("/", home, methods=["GET"]),
        Route("/days", pick, methods=["GET"]),
        Route("/days/{on}", day, methods=["GET"]),
        Route("/weeks/{on}", week, methods=["GET"]),
    ]
