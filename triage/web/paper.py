"""The page of one paper: from a link in a digest, and for the public."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.link_tokens import Purpose
from triage.domain.paper_ids import parse_arxiv, parse_doi, source_name, upstream_url
from triage.domain.records import EventKind, Paper
from triage.errors import NotFound
from triage.papers.search import Hit
from triage.store.papers import Key, StoredTraits
from triage.subscribers import subscriptions, votes
from triage.subscribers.bibliography import entries
from triage.subscribers.bibliography.entries import Liked
from triage.web.cache import TimedCache
from triage.web.cards import cards_for
from triage.web.context import (
    PageContext,
    form_route,
    number,
    own_path,
    paper_url,
    peer_address,
    with_login,
)
from triage.web.forms import Fields
from triage.web.login_cookie import Login
from triage.web.vote import VOTE_TEXTS, request_evidence, vote_tokens

SIMILAR: Final = 6
# Papers arrive at night, and finding similar ones is the slowest part of this page.
CACHE_FOR: Final = timedelta(minutes=5)
CACHE_SIZE: Final = 500
TAKE_BACK: Final = "none"
UNSAVE: Final = "unsave"
_SCHEMES: Final = ("arxiv", "biorxiv", "medrxiv", "doi")
_SEARCHES: Final = ("https://arxiv.org/search/", "https://huggingface.co/papers?")


def routes(page: PageContext) -> list[Route]:
    cache = TimedCache[list[Hit]](page.clock, CACHE_FOR, CACHE_SIZE)

    def show_from_digest(request: Request) -> Response:
        claims = page.claims(request, Purpose.PAPER)
        impression = votes.find_impression(page.db, claims)
        return page.show(
            request,
            "paper",
            impression=impression,
            paper=impression.paper,
            votes=[(VOTE_TEXTS[kind], token) for kind, token in vote_tokens(page, claims)],
        )

    def show(request: Request) -> Response:
        stored, paper = _load_paper(page, request)
        [card] = cards_for(page, page.login_cookie.read(request), [paper])
        similar = [] if stored.is_withdrawn else cache.get(paper.id, lambda: _similar(page, paper))
        return page.show(
            request,
            "work",
            paper=paper,
            is_withdrawn=stored.is_withdrawn,
            places=places(paper, stored.keys),
            similar=similar,
            bibtex=entries.write([_as_liked(paper, stored.keys, page.clock.now())], "bibtex"),
            card=card,
        )

    def submit_vote(request: Request, fields: Fields) -> Response:
        login = page.login_cookie.check_form(request, fields)
        stored, _ = _load_paper(page, request)
        choice, id = fields.get("vote", ""), stored.paper_id
        notice = ""
        if choice in {TAKE_BACK, UNSAVE}:
            subscriptions.take_back(page.db, login.subscriber, id)
            notice = "Your vote was removed."
        elif choice in set(EventKind):
            kind = EventKind(choice)
            evidence = request_evidence(request) | {"method": "paper page"}
            votes.vote(page.db, login.subscriber, id, kind, page.clock, evidence)
            notice = f"{VOTE_TEXTS[kind].done} {VOTE_TEXTS[kind].effect}"
        back = own_path(fields.get("back", "")) or f"/papers/{id}"
        return page.redirect(back, notice, place=f"paper-{id}")

    def show_why(page: PageContext, login: Login, request: Request) -> Response:
        stored, paper = _load_paper(page, request)
        if not page.preview_limit.count(peer_address(request), page.clock.now()):
            return page.show(request, "why", 429, paper=paper, found=None)
        found = page.ranking.find_outcome(login.subscriber, stored.paper_id)
        return page.show(request, "why", paper=paper, found=found)

    return [
        Route("/papers/{paper}/why", with_login(page, show_why), methods=["GET"]),
        Route("/p/{token}", show_from_digest, methods=["GET"]),
        form_route("/papers/{paper}", show, submit_vote),
    ]


def _load_paper(page: PageContext, request: Request) -> tuple[StoredTraits, Paper]:
    """Return the paper whose id is in the path, with its stored traits; raise 404 for none."""
    with page.db.read() as conn:
        stored = store.papers.standing(conn, number(request.path_params["paper"]))
        if stored is None:
            raise HTTPException(404)
        return stored, store.papers.load(conn, [stored.paper_id])[stored.paper_id]


def _similar(page: PageContext, paper: Paper) -> list[Hit]:
    try:
        return page.search.similar([paper.id], limit=SIMILAR)
    except NotFound:  # deleted since it was loaded
        return []


def places(paper: Paper, keys: tuple[Key, ...]) -> list[tuple[str, str]]:
    """Return where a paper can be read, as pairs of a name and an address; each address once.

    Args:
        keys: all ids of the paper; only valid ids become addresses.
    """
    names: dict[str, str] = {}
    own = paper_url(paper)
    if not own.startswith(_SEARCHES):
        names[own] = source_name(paper.source)
    for scheme in _SCHEMES:
        for value in (value for each, value in keys if each == scheme):
            address = upstream_url(scheme, value, paper.title)
            if address.startswith(_SEARCHES):
                continue
            names.setdefault(address, source_name(scheme))
            if scheme == "arxiv" and (arxiv := parse_arxiv(value)):
                names[f"https://arxiv.org/pdf/{arxiv[0]}"] = "PDF"
                if paper.upvotes is not None:
                    names[f"https://huggingface.co/papers/{arxiv[0]}"] = "Hugging Face"
    return [(name, address) for address, name in names.items()]


def _as_liked(paper: Paper, keys: tuple[Key, ...], now: datetime) -> Liked:
    dois = (parse_doi(value) for scheme, value in keys if scheme == "doi")
    return Liked(paper, now, next((doi for doi in dois if doi), ""))
