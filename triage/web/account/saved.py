"""The collections and saved searches of a logged-in subscriber, as pages and as files."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.link_tokens import Claims
from triage.domain.plain_text import fold
from triage.domain.records import Paper, Subscriber
from triage.errors import ConfigError
from triage.store.collections import DEFAULT_NAME, Collection
from triage.subscribers import collections, digest_feed
from triage.subscribers.bibliography import entries
from triage.subscribers.bibliography.entries import Liked
from triage.subscribers.digest_feed import FeedLinks
from triage.web.cards import cards_for
from triage.web.context import (
    PageContext,
    count_pages,
    download,
    form_route,
    load_paper,
    number,
    own_path,
    page_number,
    with_login,
    with_login_for_file,
    with_own_form,
)
from triage.web.forms import Fields
from triage.web.login_cookie import Login
from triage.web.search import SearchRequest, read_filters, read_search
from triage.web.vote import request_evidence

PAGE: Final = 50
EVERYTHING: Final = slice(None)
MOST_FOUND: Final = 100
"""The most papers of a saved search: on its page, in its files and in its feed."""

NEW_FOR: Final = timedelta(days=7)
# In forms, the default collection while it does not exist yet.
_DEFAULT: Final = 0
FILES: Final = {
    "bib": ("bibtex", "application/x-bibtex"),
    "ris": ("ris", "application/x-research-info-systems"),
    "json": ("json", "application/vnd.citationstyles.csl+json"),
    "csv": ("csv", "text/csv"),
}
"""The format and the media type of files, by their ending."""


def routes(page: PageContext) -> list[Route]:
    return [
        form_route("/saved", with_login(page, _show_default), with_own_form(page, _create)),
        form_route("/saved/{id}", with_login(page, _show_one), with_own_form(page, _change)),
        form_route(
            "/saved/{id}/delete", with_login(page, _ask_to_delete), with_own_form(page, _delete)
        ),
        Route("/saved/{id}/papers.{ending}", with_login_for_file(page, _download), methods=["GET"]),
        form_route("/papers/{paper}/save", with_login(page, _choose), with_own_form(page, _place)),
    ]


def find_papers(
    page: PageContext, collection: Collection, part: slice = EVERYTHING
) -> tuple[list[tuple[Paper, datetime]], int]:
    """Return a part of the papers of a collection or a saved search, and the number of all.

    They are newest first. Each has the time at which it was added, or first stored here if a search
    found it.
    """
    if collection.query:
        wanted = _as_search(collection)
        found = page.search.newest(wanted.words, read_filters(wanted)[1], MOST_FOUND)
        return found[part], len(found)
    with page.db.read() as conn:
        added = store.collections.papers_of(conn, collection.id)
        papers = store.papers.load(conn, [id for id, _ in added[part]])
    return [(papers[id], at) for id, at in added[part]], len(added)


def feed_links(page: PageContext, subscriber: Subscriber, collection: Collection) -> FeedLinks:
    """Return the secret addresses of the feed of a collection or a saved search."""
    claims = Claims(subscriber.public_id, collection.created_at, collection.public_id)
    return digest_feed.links(page.keyring, claims, page.pages.site.base_url)


# -- pages -----------------------------------------------------------------------------------------


def _show_default(page: PageContext, login: Login, request: Request) -> Response:
    default = page.db.fetch(store.collections.find_default, login.subscriber.id)
    return _show(page, login, request, default)


def _show_one(page: PageContext, login: Login, request: Request) -> Response:
    return _show(page, login, request, _find(page, login, request))


def _show(
    page: PageContext,
    login: Login,
    request: Request,
    collection: Collection | None,
    *,
    typed: Fields | None = None,
    wrong: str = "",
) -> Response:
    """Return the page of a collection; None is the default one while nothing was saved."""
    with page.db.read() as conn:
        listed = store.collections.of(conn, login.subscriber.id)
    n = page_number(request)
    part = slice((n - 1) * PAGE, n * PAGE)
    found, n_papers = find_papers(page, collection, part) if collection else ([], 0)
    n_pages = count_pages(n_papers, PAGE, n)
    new_since = page.clock.now() - NEW_FOR
    is_search = bool(collection and collection.query)
    return page.show(
        request,
        "saved",
        422 if wrong else 200,
        collection=collection,
        title=collection.name if collection else DEFAULT_NAME,
        listed=listed,
        searched=_as_search(collection) if collection and is_search else None,
        cards=cards_for(
            page,
            login,
            [paper for paper, _ in found],
            new={paper.id for paper, at in found if is_search and at >= new_since},
        ),
        n_papers=n_papers,
        is_all=not is_search or n_papers < MOST_FOUND,
        page=n,
        n_pages=n_pages,
        feed=feed_links(page, login.subscriber, collection) if collection else None,
        endings=FILES,
        typed=typed or {},
        wrong=wrong,
    )


def _create(page: PageContext, login: Login, request: Request, fields: Fields) -> Response:
    """Create a collection, or save a search if the form has one."""
    wanted = replace(read_search(QueryParams(fields.get("query", ""))), liked=())
    query = wanted.query()
    if query and read_filters(wanted)[0].wrong:
        raise HTTPException(404)
    name = fields.get("name", "")
    try:
        id = collections.create(page.db, page.clock, login.subscriber, name, query)
    except ConfigError as error:
        default = page.db.fetch(store.collections.find_default, login.subscriber.id)
        typed = Fields({"name": name, "query": query})
        return _show(page, login, request, default, typed=typed, wrong=str(error))
    return page.redirect(f"/saved/{id}", "Saved." if query else "Created.")


def _change(page: PageContext, login: Login, request: Request, fields: Fields) -> Response:
    """Rename a collection, or give its feed a new address."""
    collection = _find(page, login, request)
    if fields.get("do") == "renew":
        collections.renew_feed(page.db, login.subscriber, collection.id)
        return page.redirect(
            f"/saved/{collection.id}", "The old addresses of this feed do not work any more."
        )
    name = fields.get("name", "")
    try:
        collections.rename(page.db, login.subscriber, collection.id, name)
    except ConfigError as error:
        typed = Fields({"rename": name})
        return _show(page, login, request, collection, typed=typed, wrong=str(error))
    return page.redirect(f"/saved/{collection.id}", "Renamed.")


def _ask_to_delete(page: PageContext, login: Login, request: Request) -> Response:
    collection = _find(page, login, request, deletable=True)
    with page.db.read() as conn:
        n_alone = len(store.collections.find_only_in(conn, collection))
    return page.show(request, "delete_collection", collection=collection, n_alone=n_alone)


def _delete(page: PageContext, login: Login, request: Request, fields: Fields) -> Response:
    collection = _find(page, login, request, deletable=True)
    if fields.get("do") not in {"keep", "unsave"}:
        return _ask_to_delete(page, login, request)
    unsaves = fields.get("do") == "unsave"
    collections.delete(page.db, login.subscriber, collection.id, unsaves=unsaves)
    return page.redirect("/saved", f"Deleted: {collection.name}.")


def _find(
    page: PageContext, login: Login, request: Request, *, deletable: bool = False
) -> Collection:
    """Return the reader's collection whose id is in the path; raise 404 if they have none."""
    id = number(request.path_params["id"])
    found = page.db.fetch(store.collections.find, login.subscriber.id, id)
    if found is None or (deletable and found.is_default):
        raise HTTPException(404)
    return found


def _as_search(collection: Collection) -> SearchRequest:
    return read_search(QueryParams(collection.query))


def _download(page: PageContext, login: Login, request: Request) -> Response:
    collection, ending = _find(page, login, request), request.path_params["ending"]
    if ending not in FILES:
        raise HTTPException(404)
    found, _ = find_papers(page, collection)
    with page.db.read() as conn:
        dois = store.papers.dois(conn, [paper.id for paper, _ in found])
    file_format, media_type = FILES[ending]
    saved = [Liked(paper, at, dois.get(paper.id, "")) for paper, at in found]
    verb = "found" if collection.query else "saved"
    text = entries.write(saved, file_format, verb)
    name = re.sub(r"[^a-z0-9]+", "-", fold(collection.name)).strip("-") or "collection"
    return download(text, f"{name}.{ending}", media_type)


# -- where a paper is saved ------------------------------------------------------------------------


def _choose(page: PageContext, login: Login, request: Request) -> Response:
    _, paper = load_paper(page, number(request.path_params["paper"]))
    back = own_path(request.query_params.get("next", ""))
    return _show_choice(page, login, request, paper, back)


def _show_choice(
    page: PageContext,
    login: Login,
    request: Request,
    paper: Paper,
    back: str,
    *,
    typed: Fields | None = None,
    wrong: str = "",
) -> Response:
    """Return the page to choose collections, as it was filled in if that was `wrong`."""
    with page.db.read() as conn:
        own = store.collections.of(conn, login.subscriber.id)
        holding = store.collections.holding(conn, login.subscriber.id, paper.id)
    choices = {each.id: each.name for each, _ in own if not each.query}
    if DEFAULT_NAME not in choices.values():
        choices = {_DEFAULT: DEFAULT_NAME} | choices
    return page.show(
        request,
        "save_to",
        422 if wrong else 200,
        paper=paper,
        choices=choices,
        ticked=_ticked(typed) if typed else holding,
        is_saved=bool(holding),
        back=back,
        typed=typed.get("name", "") if typed else "",
        wrong=wrong,
    )


def _place(page: PageContext, login: Login, request: Request, fields: Fields) -> Response:
    """Save a paper into the ticked collections, and into a new one if the form has its name.

    A paper that is not saved yet goes into the default collection if the form has none of these.
    """
    paper, back = (
        load_paper(page, number(request.path_params["paper"]))[1],
        own_path(fields.get("back", "")),
    )
    subscriber, name = login.subscriber, fields.get("name", "")
    chosen = _ticked(fields)
    with page.db.read() as conn:
        own = {each.id for each, _ in store.collections.of(conn, subscriber.id) if not each.query}
    if not chosen <= own | {_DEFAULT}:
        raise HTTPException(404)
    try:
        new = collections.create(page.db, page.clock, subscriber, name) if name.strip() else None
    except ConfigError as error:
        return _show_choice(page, login, request, paper, back, typed=fields, wrong=str(error))
    with page.db.read() as conn:
        is_saved = bool(store.collections.holding(conn, subscriber.id, paper.id))
    if _DEFAULT in chosen or not (chosen or new or is_saved):
        chosen.add(collections.get_or_create_default(page.db, page.clock, subscriber))
    chosen = chosen - {_DEFAULT} | ({new} if new else set())
    evidence = request_evidence(request) | {"method": "paper page"}
    collections.place(page.db, page.clock, subscriber, paper.id, chosen, evidence)
    with page.db.read() as conn:
        listed = store.collections.of(conn, subscriber.id)
    names = ", ".join(each.name for each, _ in listed if each.id in chosen)
    notice = f"Saved in: {names}." if names else "This paper is not saved any more."
    return page.redirect(back or f"/papers/{paper.id}", notice, place=f"paper-{paper.id}")


def _ticked(fields: Fields) -> set[int]:
    return {number(each) for each in fields.getlist("collection")}
