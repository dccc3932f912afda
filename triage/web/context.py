"""Renders the templates, and has what all page modules share."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parseaddr
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from triage import store
from triage.digest.day_ranking import PaperReason
from triage.digest.preview import Preview
from triage.digest.templates import environment
from triage.domain.chances import describe_chance
from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.domain.paper_ids import upstream_url
from triage.domain.paper_outcome import Outcome, PaperOutcome
from triage.domain.protocols import Clock
from triage.domain.records import Paper, Subscriber
from triage.domain.vote_texts import VOTE_TEXTS
from triage.errors import TokenExpired, TooManyRequests
from triage.papers.search import Search
from triage.store import Database
from triage.store.papers import StoredTraits
from triage.subscribers.network_limit import NetworkLimit
from triage.subscribers.sessions import Sessions
from triage.subscribers.signup import Signup
from triage.web.flash import COOKIE, Notice, read_notice, write_notice
from triage.web.forms import Fields
from triage.web.login_cookie import Login, LoginCookie
from triage.web.static_files import load_static_files

ERASED = "error_erased"
"""The page for genuine links of subscribers who are no longer stored."""
GONE = ("error_expired", "error_used", ERASED)
"""The pages for links that have ended."""
_BEFORE_ALL = datetime(2000, 1, 1, tzinfo=UTC)
KEPT = {200, 422, 429}
"""The status of the answers to a form that browsers keep for Back."""
MOST_PATH = 1000
"""The longest path that is kept to return to, in characters."""
_ONE_WAY = re.compile(r"/(?:[pvduclf]/|login|logout|subscrib)")

FindOutcome = Callable[[Subscriber, int], PaperOutcome]
MakePreview = Callable[[Subscriber, Sequence[int]], Preview]


class DayRanking(Protocol):
    """The ranking of some days' papers for one subscriber: the rank of each paper by its id."""

    @property
    def ranks(self) -> Mapping[int, int]: ...

    def explain(self, ids: Sequence[int]) -> Mapping[int, PaperReason]: ...


RankDays = Callable[[Subscriber, date, date], DayRanking | None]


class Site(Protocol):
    """What the pages show about the installation."""

    @property
    def name(self) -> str: ...

    @property
    def base_url(self) -> str: ...

    @property
    def contact(self) -> str: ...


class Pages:
    """Renders `templates/web/`; text from papers is always escaped."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.files = load_static_files()
        self.root = urlsplit(site.base_url).path.rstrip("/")
        # Looking for changes of the templates takes longer than many a page.
        self._environment = environment("web", auto_reload=False)
        self._environment.filters["likelihood"] = describe_chance
        self._environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
        self._environment.globals.update(
            site=site,
            root=self.root,
            files=self.files,
            contact=parseaddr(site.contact)[1],
            upstream=paper_url,
            vote_texts=VOTE_TEXTS,
            login=None,
            flash=None,
            here="",
            login_back="",
        )

    def show(self, name: str, status: int = 200, **values: object) -> HTMLResponse:
        """Return a page as strangers see it; `PageContext.show` knows who is logged in."""
        return HTMLResponse(self.render(f"{name}.html", **values), status)

    def render(self, name: str, **values: object) -> str:
        return self._environment.get_template(name).render(values)


@dataclass(frozen=True, slots=True)
class RankingAnswers:
    """What pages ask the ranker.

    `preview` takes a subscriber with any preferences, who may be stored, and the ids of papers that
    they like. It returns the papers that they would get. `find_outcome` returns what became of a
    paper for a subscriber. `rank_days` ranks the papers that were listed from one day to another,
    None without models. `refresh_interests` finds the interests of a stored subscriber again. By
    default nothing is known.
    """

    preview: MakePreview = lambda *_: Preview()
    find_outcome: FindOutcome = lambda *_: PaperOutcome(Outcome.UNKNOWN)
    rank_days: RankDays = lambda *_: None
    refresh_interests: Callable[[Subscriber], object] = lambda _: None


@dataclass(frozen=True, slots=True)
class PageContext:
    """Everything that an endpoint may use.

    `named_schemes` are those of papers that can be fetched if somebody names them.
    """

    db: Database
    keyring: Keyring
    clock: Clock
    pages: Pages
    signup: Signup
    sessions: Sessions
    login_cookie: LoginCookie
    ranking: RankingAnswers
    preview_limit: NetworkLimit
    search: Search
    named_schemes: Collection[str]

    def show(
        self, request: Request, name: str, status: int = 200, **values: object
    ) -> HTMLResponse:
        """Return a page. Its template knows the `login`, the `flash` notice and its path `here`,
        and `login_back`, where a login leads to.
        """
        notice = read_notice(request, self.keyring)
        response = self.pages.show(
            name,
            status,
            **{
                "login": self.login_cookie.read(request),
                "flash": notice,
                "here": here(request),
                "login_back": _way_back(request) if status < 400 else "",
            }
            | values,
        )
        if COOKIE in request.cookies:
            self.login_cookie.delete(response, COOKIE)
        if request.method == "POST" and status in KEPT and "token" not in request.path_params:
            # Else Back to a form with errors, or with a preview, shows an error of the browser.
            response.headers["Cache-Control"] = "private, no-cache"
        return response

    def redirect(self, path: str, notice: str = "", *, place: str = "") -> RedirectResponse:
        """Return the answer to a form that did its work: the browser gets `path` next (RFC 9110).

        Args:
            path: of this site, without its root.
            notice: what was done; the next page shows it.
            place: the id of the element on that page to go to, which shows the notice.
        """
        response = RedirectResponse(f"{self.pages.root}{path}{place and '#'}{place}", 303)
        if notice:
            write_notice(response, Notice(notice, place), self.keyring, self.login_cookie)
        return response

    def claims(self, request: Request, purpose: Purpose, too_old: str = "error_expired") -> Claims:
        """Return the claims of the token in the path, whose subscriber is stored.

        Args:
            too_old: the page to show for an expired token.

        Raises:
            HTTPException: 410, the token has expired, or it is genuine and its subscriber erased.
            TokenError: it is invalid.
        """
        token, is_too_old = request.path_params["token"], False
        try:
            claims = self.keyring.verify(token, purpose, self.clock.now())
        except TokenExpired:
            # That there is no subscriber any more says more than that the link is old.
            claims, is_too_old = self.keyring.verify(token, purpose, _BEFORE_ALL), True
        with self.db.read() as conn:
            if store.subscribers.contact(conn, public_id=claims.subscriber) is None:
                raise HTTPException(410, ERASED)
        if is_too_old:
            raise HTTPException(410, too_old)
        return claims


def form_route(
    path: str,
    show: Callable[[Request], Response] | None,
    submit: Callable[[Request, Fields], Response],
) -> Route:
    """Return the route of a form: GET calls `show`, POST calls `submit`. Without `show`, no GET."""

    async def endpoint(request: Request) -> Response:
        if show is not None and request.method != "POST":
            return await run_in_threadpool(show, request)
        return await run_in_threadpool(submit, request, await read_fields(request))

    return Route(path, endpoint, methods=["GET", "POST"] if show else ["POST"])


def with_login(
    page: PageContext, show: Callable[[PageContext, Login, Request], Response]
) -> Callable[[Request], Response]:
    """Return an endpoint for logged-in subscribers; all others get to it through the login."""

    def endpoint(request: Request) -> Response:
        login = page.login_cookie.read(request)
        if login is None:
            return page.redirect(f"/login?{urlencode({'next': here(request)})}")
        return show(page, login, request)

    return endpoint


def with_login_for_file(
    page: PageContext, show: Callable[[PageContext, Login, Request], Response]
) -> Callable[[Request], Response]:
    """Return an endpoint for a file of a logged-in subscriber; all others get status 401."""

    def endpoint(request: Request) -> Response:
        login = page.login_cookie.read(request)
        return show(page, login, request) if login else page.show(request, "error_login", 401)

    return endpoint


def with_own_form(
    page: PageContext, submit: Callable[[PageContext, Login, Request, Fields], Response]
) -> Callable[[Request, Fields], Response]:
    """Return an endpoint that accepts only forms from pages of the current session.

    It responds with status 403 to other forms.
    """

    def endpoint(request: Request, fields: Fields) -> Response:
        return submit(page, page.login_cookie.check_form(request, fields), request, fields)

    return endpoint


def here(request: Request) -> str:
    """Return the path and the query of a request, without the root of the site."""
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def _way_back(request: Request) -> str:
    """Return where a login leads back to; "" for links with tokens and for the login itself."""
    return "" if _ONE_WAY.match(request.url.path) else here(request)


def own_path(text: str) -> str:
    """Return a path of this site from an address or a form, "" if the text is none.

    Browsers read `//host` and `/\\host` as another site (WHATWG URL, special schemes).
    """
    is_own = text.startswith("/") and text[1:2] not in {"/", "\\"} and len(text) <= MOST_PATH
    return text if is_own and text.isprintable() else ""


def say_wait(response: Response, error: TooManyRequests) -> Response:
    """Add the header that tells programs how long to wait (RFC 9110, 10.2.3)."""
    response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def download(text: str, name: str, media_type: str) -> Response:
    """Return a text as a file with this name, in ASCII; lone surrogates become question marks."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.encode("utf-8", "replace"), media_type=media_type, headers=disposition)


def load_paper(page: PageContext, id: int) -> tuple[StoredTraits, Paper]:
    """Return the paper of a row and its stored traits; raise 404 for none."""
    with page.db.read() as conn:
        stored = store.papers.standing(conn, id)
        if stored is None:
            raise HTTPException(404)
        return stored, store.papers.load(conn, [stored.paper_id])[stored.paper_id]


def peer_address(request: Request) -> str:
    """Return the address of the client, "" if it is unknown."""
    return request.client.host if request.client else ""


def paper_url(paper: Paper) -> str:
    """Return the address of a paper at its source."""
    return upstream_url(paper.source, paper.source_id, paper.title)


def number(text: str) -> int:
    """Return a non-negative integer from an address or a form, 0 if the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def page_number(request: Request) -> int:
    """Return the number of the requested page of a list, counted from 1; 0 if it is no number."""
    return number(request.query_params.get("page", "1"))


def count_pages(n_rows: int, page_size: int, requested: int) -> int:
    """Return how many pages a list has, at least 1; raise 404 if it has no page `requested`."""
    n_pages = max(-(-n_rows // page_size), 1)
    if not 1 <= requested <= n_pages:
        raise HTTPException(404)
    return n_pages


def parse_date(text: str) -> date | None:
    """Return a date such as 2026-03-02, None if the text is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def date_in_path(request: Request) -> date:
    """Return the date `on` in the path; raise 404 if it is no date."""
    on = parse_date(request.path_params["on"])
    if on is None:
        raise HTTPException(404)
    return on


async def read_fields(request: Request) -> Fields:
    """Return the text fields of a form in either encoding; none if the form cannot be read.

    A body without a content type is read as urlencoded, because some senders of one-click requests
    leave it out.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        try:
            async with request.form() as form:
                return Fields([(name, v) for name, v in form.multi_items() if isinstance(v, str)])
        except HTTPException:
            return Fields()
    if kind in {"", "application/x-www-form-urlencoded"}:
        return Fields(parse_qsl((await request.body()).decode("utf-8", "replace")))
    return Fields()
