"""The digests and votes of a logged-in subscriber, as pages and as files."""

from __future__ import annotations

from dataclasses import replace

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.chances import describe_chance
from triage.domain.records import LIKES
from triage.subscribers import forgotten_votes, library_import, subscriptions
from triage.subscribers.bibliography import entries
from triage.web.account.saved import FILES
from triage.web.cards import cards_for, reasons_of
from triage.web.context import (
    PageContext,
    count_pages,
    date_in_path,
    download,
    form_route,
    number,
    page_number,
    with_login,
    with_login_for_file,
    with_own_form,
)
from triage.web.forms import Fields
from triage.web.login_cookie import Login

MOST_DIGESTS = 60
PAGE = 50
EVERYTHING = "everything.json"


def routes(page: PageContext) -> list[Route]:
    return [
        Route("/digests", with_login(page, _show_digests), methods=["GET"]),
        Route("/digests/{on}", with_login(page, _show_digest), methods=["GET"]),
        form_route("/likes", with_login(page, _show_votes), with_own_form(page, _take_back)),
        form_route("/likes/forget", with_login(page, _ask_to_forget), with_own_form(page, _forget)),
        Route("/mine/{file}", with_login_for_file(page, _download), methods=["GET"]),
    ]


def _show_digests(page: PageContext, login: Login, request: Request) -> Response:
    with page.db.read() as conn:
        listed = store.slates.of_subscriber(conn, login.subscriber.id, MOST_DIGESTS)
    return page.show(request, "digests", listed=listed)


def _show_digest(page: PageContext, login: Login, request: Request) -> Response:
    with page.db.read() as conn:
        slate = store.slates.by_day(conn, login.subscriber.id, date_in_path(request))
    if slate is None:
        raise HTTPException(404)
    cards = [
        replace(card, is_seen=False, chance=describe_chance(shown), reasons=reasons_of(shown))
        for shown, card in zip(
            slate.impressions,
            cards_for(page, login, [shown.paper for shown in slate.impressions]),
            strict=True,
        )
    ]
    return page.show(request, "digest", slate=slate, cards=cards)


def _show_votes(page: PageContext, login: Login, request: Request) -> Response:
    """Show the likes that are not saved, and apart from them the votes against papers."""
    n = page_number(request)
    with page.db.read() as conn:
        votes = store.events.votes(conn, login.subscriber.id)
        liked = [vote for vote in votes if vote.kind in LIKES]
        saved = store.collections.saved_among(
            conn, login.subscriber.id, [vote.paper_id for vote in liked]
        )
        kinds = (
            [vote for vote in liked if vote.paper_id not in saved],
            [vote for vote in votes if vote.kind not in LIKES],
        )
        n_pages = count_pages(max(map(len, kinds)), PAGE, n)
        chosen = [several[(n - 1) * PAGE : n * PAGE] for several in kinds]
        papers = store.papers.load(conn, [vote.paper_id for several in chosen for vote in several])
    likes, dislikes = (
        cards_for(
            page, login, [papers[vote.paper_id] for vote in several if vote.paper_id in papers]
        )
        for several in chosen
    )
    return page.show(
        request,
        "likes",
        likes=likes,
        dislikes=dislikes,
        voted_on={vote.paper_id: vote.at.date() for vote in votes},
        n_saved=len(saved),
        n_votes=len(votes),
        n_likes=len(kinds[0]),
        n_dislikes=len(kinds[1]),
        page=n,
        n_pages=n_pages,
    )


def _take_back(page: PageContext, login: Login, _: Request, fields: Fields) -> Response:
    paper_id = number(fields.get("paper", ""))
    if not paper_id:
        raise HTTPException(404)
    is_removed = subscriptions.take_back(page.db, login.subscriber, paper_id)
    n = number(fields.get("page", ""))
    back = f"/likes?page={n}" if n > 1 else "/likes"
    return page.redirect(back, "Your vote was removed." if is_removed else "")


def _ask_to_forget(page: PageContext, login: Login, request: Request) -> Response:
    with page.db.read() as conn:
        n_votes = len(store.events.votes(conn, login.subscriber.id))
    return page.show(request, "forget", n_votes=n_votes)


def _forget(page: PageContext, login: Login, request: Request, fields: Fields) -> Response:
    if fields.get("do") != "forget":
        return _ask_to_forget(page, login, request)
    n = forgotten_votes.forget(page.db, page.clock, login.subscriber)
    with page.db.read() as conn:
        until = forgotten_votes.can_restore_until(conn, page.clock, login.subscriber)
    notice = f"{n} {'vote is' if n == 1 else 'votes are'} forgotten, and all that they taught."
    if until:
        notice += f" You can bring them back until {until:%H:%M %Z}, at the end of this page."
    return page.redirect("/preferences", notice)


def _download(page: PageContext, login: Login, request: Request) -> Response:
    name = request.path_params["file"]
    if name == EVERYTHING:
        text, media_type = page.signup.export_data(login.subscriber), "application/json"
    elif name.partition(".")[0] == "likes" and name.partition(".")[2] in FILES:
        file_format, media_type = FILES[name.partition(".")[2]]
        text = entries.write(library_import.likes(page.db, login.subscriber), file_format)
    else:
        raise HTTPException(404)
    return download(text, name, media_type)
