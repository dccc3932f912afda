"""The digests and likes of a logged-in subscriber, as pages and as files."""

from __future__ import annotations

from dataclasses import replace

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.chances import describe_chance
from triage.domain.link_tokens import Claims, Purpose
from triage.domain.records import LIKES
from triage.subscribers import library_import, subscriptions
from triage.subscribers.bibliography import entries
from triage.web.cards import cards_for, reasons_of
from triage.web.context import (
    PageContext,
    count_pages,
    date_in_path,
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
FILES = {
    "likes.bib": ("bibtex", "application/x-bibtex"),
    "likes.ris": ("ris", "application/x-research-info-systems"),
    "likes.json": ("json", "application/vnd.citationstyles.csl+json"),
    "likes.csv": ("csv", "text/csv"),
}
"""Files of likes: the format, and the media type."""
EVERYTHING = "everything.json"


def routes(page: PageContext) -> list[Route]:
    return [
        Route("/digests", with_login(page, _show_digests), methods=["GET"]),
        Route("/digests/{on}", with_login(page, _show_digest), methods=["GET"]),
        form_route("/likes", with_login(page, _show_likes), with_own_form(page, _remove_like)),
        Route("/mine/{file}", with_login_for_file(page, _download), methods=["GET"]),
    ]


def _show_digests(page: PageContext, login: Login, request: Request) -> Response:
    with page.db.read() as conn:
        listed = store.slates.of_subscriber(conn, login.subscriber.id, MOST_DIGESTS)
    return page.show(request, "digests", listed=listed)


def _show_digest(page: PageContext, login: Login, request: Request) -> Response:
    subscriber, on = login.subscriber, date_in_path(request)
    with page.db.read() as conn:
        slate = store.slates.by_day(conn, subscriber.id, on)
    if slate is None:
        raise HTTPException(404)
    now = page.clock.now()
    links = {
        shown.paper.id: page.keyring.sign(
            Purpose.PAPER, Claims(subscriber.public_id, now, slate.public_id, shown.position)
        )
        for shown in slate.impressions
    }
    cards = [
        replace(card, is_seen=False, chance=describe_chance(shown), reasons=reasons_of(shown))
        for shown, card in zip(
            slate.impressions,
            cards_for(page, login, [shown.paper for shown in slate.impressions]),
            strict=True,
        )
    ]
    return page.show(request, "digest", slate=slate, cards=cards, links=links)


def _show_likes(page: PageContext, login: Login, request: Request) -> Response:
    n = page_number(request)
    with page.db.read() as conn:
        votes = [v for v in store.events.votes(conn, login.subscriber.id) if v.kind in LIKES]
        n_pages = count_pages(len(votes), PAGE, n)
        chosen = votes[(n - 1) * PAGE : n * PAGE]
        papers = store.papers.load(conn, [vote.paper_id for vote in chosen])
    return page.show(
        request,
        "likes",
        votes=[vote for vote in chosen if vote.paper_id in papers],
        papers=papers,
        n=len(votes),
        page=n,
        n_pages=n_pages,
        seal=login.seal,
    )


def _remove_like(page: PageContext, login: Login, _: Request, fields: Fields) -> Response:
    paper_id = number(fields.get("paper", ""))
    if not paper_id:
        raise HTTPException(404)
    is_removed = subscriptions.take_back(page.db, login.subscriber, paper_id)
    return page.redirect("/likes", "Your vote was removed." if is_removed else "")


def _download(page: PageContext, login: Login, request: Request) -> Response:
    name = request.path_params["file"]
    if name == EVERYTHING:
        text, media_type = page.signup.export_data(login.subscriber), "application/json"
    elif name in FILES:
        file_format, media_type = FILES[name]
        text = entries.write(library_import.likes(page.db, login.subscriber), file_format)
    else:
        raise HTTPException(404)
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.encode("utf-8", "replace"), media_type=media_type, headers=disposition)
