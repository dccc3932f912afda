"""What somebody who is logged in was sent and what they liked of it, to see and to take along."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import libraries, library, store, subscribe
from triage.records import LIKES, EventKind, Paper
from triage.tokens import Claims, Purpose
from triage.web.door import Visit
from triage.web.pages import Desk, form_fields
from triage.web.votes import WORDS

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


@dataclass(frozen=True, slots=True)
class Voted:
    """A paper and the vote on it that counts."""

    paper: Paper
    kind: EventKind
    at: datetime


def routes(desk: Desk) -> list[Route]:
    def digests(request: Request) -> Response:
        visit = desk.door.visit(request)
        if visit is None:
            return desk.pages.show("preferences_locked")
        with desk.db.read() as conn:
            listed = store.slates.of_subscriber(conn, visit.reader.id, MOST_DIGESTS)
        return desk.pages.show("digests", listed=listed)

    def digest(request: Request) -> Response:
        visit = desk.door.visit(request)
        if visit is None:
            return desk.pages.show("preferences_locked")
        return _digest(desk, visit, request.path_params["on"])

    async def likes(request: Request) -> Response:
        if request.method != "POST":
            return await run_in_threadpool(_likes, desk, request)
        return await run_in_threadpool(_unliked, desk, request, dict(await form_fields(request)))

    def file(request: Request) -> Response:
        visit = desk.door.visit(request)
        if visit is None:
            return desk.pages.show("preferences_locked")
        return _file(desk, visit, request.path_params["file"])

    return [
        Route("/digests", digests, methods=["GET"]),
        Route("/digests/{on}", digest, methods=["GET"]),
        Route("/likes", likes, methods=["GET", "POST"]),
        Route("/mine/{file}", file, methods=["GET"]),
    ]


def _digest(desk: Desk, visit: Visit, day: str) -> Response:
    try:
        on = date.fromisoformat(day)
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


def _likes(desk: Desk, request: Request, *, done: str = "") -> Response:
    visit = desk.door.visit(request)
    if visit is None:
        return desk.pages.show("preferences_locked")
    number = request.query_params.get("page", "1")
    at = int(number) if number.isascii() and number.isdigit() and len(number) < 5 else 0
    with desk.db.read() as conn:
        votes = [vote for vote in store.events.votes(conn, visit.reader.id) if vote.kind in LIKES]
        n_pages = max(-(-len(votes) // PAGE), 1)
        if not 1 <= at <= n_pages:
            raise HTTPException(404)
        chosen = votes[(at - 1) * PAGE : at * PAGE]
        papers = store.papers.load(conn, [vote.paper_id for vote in chosen])
    listed = [
        Voted(papers[vote.paper_id], vote.kind, vote.at)
        for vote in chosen
        if vote.paper_id in papers
    ]
    return desk.pages.show(
        "likes", listed=listed, n=len(votes), page=at, n_pages=n_pages, seal=visit.seal, done=done
    )


def _unliked(desk: Desk, request: Request, fields: dict[str, str]) -> Response:
    visit = desk.door.admit(request, fields)
    number = fields.get("paper", "")
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        raise HTTPException(404)
    done = subscribe.take_back(desk.db, visit.reader, int(number))
    return _likes(desk, request, done="Taken back: it counts no more." if done else "")


def _file(desk: Desk, visit: Visit, name: str) -> Response:
    if name == EVERYTHING:
        text, media_type = desk.enrolment.everything_of(visit.reader), "application/json"
    elif name in FILES:
        form, media_type = FILES[name]
        text = library.written(libraries.likes(desk.db, visit.reader), form)
    else:
        raise HTTPException(404)
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.encode("utf-8", "replace"), media_type=media_type, headers=disposition)
