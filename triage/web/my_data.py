"""What somebody who is logged in was sent and what they liked of it, to see and to take along."""

from __future__ import annotations

from datetime import date
from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.link_tokens import Claims, Purpose
from triage.domain.records import LIKES
from triage.subscribers import library_import, subscriptions
from triage.subscribers.bibliography import entries
from triage.web.context import PageContext, for_reader, form_route, number
from triage.web.forms import Pairs
from triage.web.login_cookie import Login
from triage.web.vote import WORDS

MOST_DIGESTS = 60
PAGE = 50
FILES = {
    "likes.bib": ("bibtex", "application/x-bibtex"),
    "likes.ris": ("ris", "application/x-research-info-systems"),
    "likes.json": ("json", "application/vnd.citationstyles.csl+json"),
    "likes.csv": ("csv", "text/csv"),
}
"""Likes as files: the format, and the media type."""
EVERYTHING = "everything.json"


def routes(desk: PageContext) -> list[Route]:
    return [
        Route("/digests", for_reader(desk, _digests), methods=["GET"]),
        Route("/digests/{on}", for_reader(desk, _digest), methods=["GET"]),
        form_route("/likes", for_reader(desk, _likes), partial(_unliked, desk)),
        Route("/mine/{file}", for_reader(desk, _file), methods=["GET"]),
    ]


def _digests(desk: PageContext, visit: Login, _: Request) -> Response:
    with desk.db.read() as conn:
        listed = store.slates.of_subscriber(conn, visit.reader.id, MOST_DIGESTS)
    return desk.pages.show("digests", listed=listed)


def _digest(desk: PageContext, visit: Login, request: Request) -> Response:
    try:
        on = date.fromisoformat(request.path_params["on"])
    except ValueError:
        raise HTTPException(404) from None
    with desk.db.read() as conn:
        slate = store.slates.by_day(conn, visit.reader.id, on)
        votes = {vote.paper_id: vote.kind for vote in store.events.votes(conn, visit.reader.id)}
    if slate is None:
        raise HTTPException(404)
    now = desk.clock.now()
    papers = [
        (
            shown,
            desk.keyring.sign(
                Purpose.PAPER,
                Claims(visit.reader.public_id, now, slate.public_id, shown.position),
            ),
            WORDS[votes[shown.paper.id]].link if shown.paper.id in votes else "",
        )
        for shown in slate.impressions
    ]
    return desk.pages.show("digest", slate=slate, papers=papers)


def _likes(desk: PageContext, visit: Login, request: Request, *, done: str = "") -> Response:
    at = number(request.query_params.get("page", "1"))
    with desk.db.read() as conn:
        votes = [vote for vote in store.events.votes(conn, visit.reader.id) if vote.kind in LIKES]
        n_pages = max(-(-len(votes) // PAGE), 1)
        if not 1 <= at <= n_pages:
            raise HTTPException(404)
        chosen = votes[(at - 1) * PAGE : at * PAGE]
        papers = store.papers.load(conn, [vote.paper_id for vote in chosen])
    return desk.pages.show(
        "likes",
        votes=[vote for vote in chosen if vote.paper_id in papers],
        papers=papers,
        n=len(votes),
        page=at,
        n_pages=n_pages,
        seal=visit.seal,
        done=done,
    )


def _unliked(desk: PageContext, request: Request, pairs: Pairs) -> Response:
    fields = dict(pairs)
    visit = desk.door.admit(request, fields)
    paper_id = number(fields.get("paper", ""))
    if not paper_id:
        raise HTTPException(404)
    done = subscriptions.take_back(desk.db, visit.reader, paper_id)
    return _likes(desk, visit, request, done="Taken back: it counts no more." if done else "")


def _file(desk: PageContext, visit: Login, request: Request) -> Response:
    name = request.path_params["file"]
    if name == EVERYTHING:
        text, media_type = desk.enrolment.everything_of(visit.reader), "application/json"
    elif name in FILES:
        form, media_type = FILES[name]
        text = entries.written(library_import.likes(desk.db, visit.reader), form)
    else:
        raise HTTPException(404)
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.encode("utf-8", "replace"), media_type=media_type, headers=disposition)
