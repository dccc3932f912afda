"""The page of an author: their papers, and a button to follow them."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.author_names import author_key, author_keys
from triage.domain.plain_text import clean
from triage.domain.records import Paper
from triage.errors import ConfigError
from triage.store.search import Filters
from triage.subscribers import subscriptions
from triage.subscribers.bibliography.citation import split_name
from triage.subscribers.preferences import LONGEST_NAME, MOST_NAMES
from triage.web.cards import cards_for
from triage.web.context import PageContext, count_pages, form_route, page_number, with_own_form
from triage.web.forms import Fields
from triage.web.login_cookie import Login

PAGE: Final = 20
MOST: Final = 500


def routes(page: PageContext) -> list[Route]:
    def show(request: Request) -> Response:
        return _show(page, request)

    return [form_route("/authors", show, with_own_form(page, _follow))]


def _show(page: PageContext, request: Request) -> Response:
    name = _clean(request.query_params.get("name", ""))
    key = author_key(name)
    login = page.login_cookie.read(request)
    is_followed = login is not None and key in author_keys(login.subscriber.followed_authors)
    papers = _papers_by(page, name)
    if not papers and not is_followed:
        # Else a link could make this page show any text as a name.
        raise HTTPException(404)
    spellings = [each for paper in papers for each in paper.authors if author_key(each) == key]
    n = page_number(request)
    n_pages = count_pages(len(papers), PAGE, n)
    return page.show(
        request,
        "author",
        author=[*spellings, name][0],
        last_name=split_name(name).family,
        is_followed=is_followed,
        n_papers=len(papers),
        cards=cards_for(page, login, papers[(n - 1) * PAGE : n * PAGE]),
        page=n,
        n_pages=n_pages,
        path=_path(name),
    )


def _papers_by(page: PageContext, name: str) -> list[Paper]:
    """Return the papers with exactly this author, newest first, of the newest MOST that may be."""
    key = author_key(name)
    if not key:
        return []
    with page.db.read() as conn:
        # The search takes any name that ends with these words.
        ids = store.search.newest(conn, Filters(author=name), MOST)
        papers = store.papers.load(conn, ids)
    return [papers[id] for id in ids if key in author_keys(papers[id].authors)]


def _follow(page: PageContext, login: Login, _: Request, fields: Fields) -> Response:
    name = _clean(fields.get("name", ""))
    key = author_key(name)
    if not key:
        raise HTTPException(404)
    others = [each for each in login.subscriber.followed_authors if author_key(each) != key]
    if fields.get("do") == "follow":
        back, names = _path(name), [*others, name]
        notice = f"You follow {name} now."
    else:
        # Without papers they have no page any more.
        back, names = _path(name) if _papers_by(page, name) else "/preferences", others
        notice = f"You no longer follow {name}."
    try:
        subscriptions.change(page.db, login.subscriber.public_id, followed_authors=names)
    except ConfigError:
        notice = f"You follow {MOST_NAMES} authors, and more are not possible. Remove one first."
    return page.redirect(back, notice)


def _path(name: str) -> str:
    return f"/authors?{urlencode({'name': name})}"


def _clean(name: str) -> str:
    return clean(name)[:LONGEST_NAME]
