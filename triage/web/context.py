"""Templates to responses, and what the modules of the pages share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parseaddr
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from triage.digest.templates import environment
from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.domain.paper_ids import upstream_url
from triage.domain.protocols import Clock
from triage.domain.records import Impression, Subscriber
from triage.errors import NotFound, TokenError, TokenExpired
from triage.papers.search import Search
from triage.resources import templates_dir
from triage.store import Database
from triage.subscribers import votes
from triage.subscribers.sessions import Sessions
from triage.subscribers.signup import Signup, network
from triage.web.forms import Pairs
from triage.web.login_cookie import Login, LoginCookie

TOO_OLD = ("error_expired", "error_used")
"""The pages for links whose time is over."""

Preview = Callable[[Subscriber, Sequence[int]], tuple[Impression, ...] | None]


class Site(Protocol):
    """What pages say about the installation."""

    @property
    def name(self) -> str: ...

    @property
    def base_url(self) -> str: ...

    @property
    def contact(self) -> str: ...


class Pages:
    """Renders `templates/web/<name>.html`; text from papers is always escaped."""

    def __init__(self, site: Site) -> None:
        self.style = (templates_dir() / "web" / "style.css").read_text(encoding="utf-8")
        self._environment = environment("web")
        self._environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
        self.base_url = site.base_url
        self.root = urlsplit(site.base_url).path.rstrip("/")
        self._environment.globals.update(
            site=site, root=self.root, contact=parseaddr(site.contact)[1]
        )
        self._environment.globals["upstream"] = lambda paper: upstream_url(
            paper.source, paper.source_id, paper.title
        )

    def show(self, name: str, status: int = 200, **values: object) -> HTMLResponse:
        return HTMLResponse(self.text(name, **values), status)

    def text(self, name: str, **values: object) -> str:
        return self._environment.get_template(f"{name}.html").render(values)


class Allowance:
    """How often each network may ask for what costs us something: so often in a minute."""

    def __init__(self, a_minute: int) -> None:
        self._a_minute = a_minute
        self._guard = threading.Lock()
        self._minute: datetime | None = None
        self._taken: Counter[str] = Counter()

    def take(self, peer: str, now: datetime) -> bool:
        """Count one; return False if that was one too many."""
        minute = now.replace(second=0, microsecond=0)
        with self._guard:
            if minute != self._minute:
                # Kept for a minute at most, so that it never grows without end.
                self._minute, self._taken = minute, Counter()
            self._taken[network(peer)] += 1
            return self._taken[network(peer)] <= self._a_minute


@dataclass(frozen=True, slots=True)
class PageContext:
    """Everything that an endpoint may use.

    `preview` returns what a subscriber who is not stored would get, with the ids of papers that
    they like; None while there is nothing.
    """

    db: Database
    keyring: Keyring
    clock: Clock
    pages: Pages
    enrolment: Signup
    sessions: Sessions
    door: LoginCookie
    preview: Preview
    previews_left: Allowance
    search: Search

    def peer(self, request: Request) -> str:
        """Return the address that a request comes from."""
        return request.client.host if request.client else ""

    def claims(self, request: Request, purpose: Purpose, too_old: str = "error_expired") -> Claims:
        """Read the token in the address.

        Args:
            too_old: the page that says that its time is over.

        Raises:
            HTTPException: 410 for a token whose time is over, 404 for any other that is not good.
        """
        try:
            return self.keyring.verify(request.path_params["token"], purpose, self.clock.now())
        except TokenExpired:
            raise HTTPException(410, too_old) from None
        except TokenError:
            raise HTTPException(404) from None

    def impression(self, claims: Claims) -> Impression:
        """Return the shown paper that a link is about.

        Raises:
            HTTPException: 404 when its digest is no longer stored.
        """
        try:
            return votes.shown(self.db, claims)
        except NotFound:
            raise HTTPException(404) from None


def form_route(
    path: str,
    show: Callable[[Request], Response] | None,
    act: Callable[[Request, Pairs], Response],
) -> Route:
    """Return a page with a form: GET shows it, POST acts on its fields; None shows nothing."""

    async def page(request: Request) -> Response:
        if show is not None and request.method != "POST":
            return await run_in_threadpool(show, request)
        return await run_in_threadpool(act, request, await form_fields(request))

    return Route(path, page, methods=["GET", "POST"] if show else ["POST"])


def for_reader(
    desk: PageContext, page: Callable[[PageContext, Login, Request], Response]
) -> Callable[[Request], Response]:
    """Return a page that asks everybody to log in who has not."""

    def show(request: Request) -> Response:
        visit = desk.door.visit(request)
        return page(desk, visit, request) if visit else desk.pages.show("preferences_locked")

    return show


def number(text: str) -> int:
    """Return a number as written in addresses, 0 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


async def form_fields(request: Request) -> Pairs:
    """Return the text fields of a form in either encoding; none when it cannot be read.

    A body without a content type is taken as urlencoded: senders of one-click requests forget it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        try:
            async with request.form() as form:
                return [(name, v) for name, v in form.multi_items() if isinstance(v, str)]
        except HTTPException:
            return []
    if kind in {"", "application/x-www-form-urlencoded"}:
        return parse_qsl((await request.body()).decode("utf-8", "replace"))
    return []
