"""The page of one paper, which is the same from a link in a digest, and its citation as a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.link_tokens import Purpose
from triage.domain.paper_ids import parse_arxiv, parse_doi
from triage.domain.paper_links import LinkKind, find_links, own_page
from triage.domain.records import EventKind, Impression, Paper
from triage.domain.vote_texts import VOTE_TEXTS
from triage.errors import NotFound
from triage.papers.search import Hit
from triage.store.papers import StoredTraits
from triage.subscribers import collections, subscriptions, votes
from triage.subscribers.bibliography import entries
from triage.subscribers.bibliography.citation import Published, citation_keys, published
from triage.web.account.saved import FILES
from triage.web.cache import TimedCache
from triage.web.cards import cards_for
from triage.web.context import (
    PageContext,
    download,
    form_route,
    load_paper,
    number,
    own_path,
    peer_address,
    with_login,
)
from triage.web.forms import Fields
from triage.web.login_cookie import Login
from triage.web.vote import request_evidence, vote_tokens

SIMILAR: Final = 6
# Papers arrive at night, and finding similar ones is the slowest part of this page.
CACHE_FOR: Final = timedelta(minutes=5)
CACHE_SIZE: Final = 500
TAKE_BACK: Final = "none"
UNSAVE: Final = "unsave"
CITATIONS: Final = {"bib": "BibTeX", "ris": "RIS"}
"""The names of the formats of a citation, by the endings of their files."""
_TEXTS: Final = frozenset({LinkKind.PDF, LinkKind.HTML, LinkKind.DOI})


def routes(page: PageContext) -> list[Route]:
    cache = TimedCache[list[Hit]](page.clock, CACHE_FOR, CACHE_SIZE)

    def show_from_digest(request: Request) -> Response:
        claims = page.claims(request, Purpose.PAPER)
        shown = votes.find_impression(page.db, claims)
        if page.login_cookie.read(request):
            return page.redirect(f"/papers/{shown.paper.id}")
        # For all others, the paper's own address has no reasons and no votes, and they must not
        # come with the token in another address.
        return show_paper(request, shown.paper.id, shown, vote_tokens(page, claims))

    def show(request: Request) -> Response:
        return show_paper(request, _id_in_path(request))

    def show_paper(
        request: Request,
        id: int,
        shown: Impression | None = None,
        tokens: Sequence[tuple[EventKind, str]] = (),
    ) -> Response:
        stored, paper = load_paper(page, id)
        login = page.login_cookie.read(request)
        if login and shown is None:
            shown = page.db.fetch(store.slates.newest_shown, login.subscriber.id, paper.id)
        similar = [] if stored.is_withdrawn else cache.get(paper.id, lambda: _similar(page, paper))
        card, *others = cards_for(page, login, [paper, *(hit.paper for hit in similar)])
        links = find_links(paper, stored.keys)
        own = own_page(paper)
        return page.show(
            request,
            "work",
            card=card,
            paper=paper,
            is_withdrawn=stored.is_withdrawn,
            published=_in_words(published(paper)),
            own_page=own,
            texts=[link for link in links if link.kind in _TEXTS and link.address != own],
            others=[link for link in links if link.kind not in _TEXTS and link.address != own],
            shown=shown,
            votes=[(VOTE_TEXTS[kind], token) for kind, token in tokens],
            similar=others,
            citations=[
                (
                    name,
                    ending,
                    _cite(page, stored, replace(paper, abstract=""), ending).strip("\r\n"),
                )
                for ending, name in CITATIONS.items()
            ],
        )

    def cite(request: Request) -> Response:
        if request.path_params["ending"] not in CITATIONS:
            raise HTTPException(404)
        ending = request.path_params["ending"]
        stored, paper = load_paper(page, _id_in_path(request))
        text = _cite(page, stored, paper, ending)
        name = f"{citation_keys([paper])[0]}.{ending}"
        return download(text, name, FILES[ending][1])

    def submit_vote(request: Request, fields: Fields) -> Response:
        login = page.login_cookie.check_form(request, fields)
        stored, _ = load_paper(page, _id_in_path(request))
        choice, id = fields.get("vote", ""), stored.paper_id
        back = own_path(fields.get("back", "")) or f"/papers/{id}"
        notice = ""
        if choice == UNSAVE and collections.is_in_named(page.db, login.subscriber, id):
            # One press must not undo what was put in order.
            return page.redirect(
                f"/papers/{id}/save?{urlencode({'next': back})}",
                "This paper is in these collections. Take away the ticks that you want no more.",
            )
        if choice == UNSAVE:
            collections.unsave(page.db, login.subscriber, id)
            notice = "It is not saved any more."
        elif choice == TAKE_BACK:
            subscriptions.take_back(page.db, login.subscriber, id)
            notice = "Your vote was removed."
        elif choice in set(EventKind):
            kind = EventKind(choice)
            evidence = request_evidence(request) | {"method": "paper page"}
            votes.vote(page.db, login.subscriber, id, kind, page.clock, evidence)
            notice = f"{VOTE_TEXTS[kind].done} {VOTE_TEXTS[kind].effect}"
        return page.redirect(back, notice, place=f"paper-{id}")

    def show_why(page: PageContext, login: Login, request: Request) -> Response:
        stored, paper = load_paper(page, _id_in_path(request))
        page.preview_limit.count(peer_address(request), page.clock.now())
        found = page.ranking.find_outcome(login.subscriber, stored.paper_id)
        return page.show(request, "why", paper=paper, found=found)

    return [
        Route("/papers/{paper}/why", with_login(page, show_why), methods=["GET"]),
        Route("/papers/{paper}/cite.{ending}", cite, methods=["GET"]),
        Route("/p/{token}", show_from_digest, methods=["GET"]),
        form_route("/papers/{paper}", show, submit_vote),
    ]


def _id_in_path(request: Request) -> int:
    return number(request.path_params["paper"])


def _similar(page: PageContext, paper: Paper) -> list[Hit]:
    try:
        return page.search.similar([paper.id], limit=SIMILAR)
    except NotFound:  # deleted since it was loaded
        return []


def _in_words(on: Published) -> str:
    return date(on.year, on.month, 1).strftime("%B %Y") if on.month else str(on.year)


def _cite(page: PageContext, stored: StoredTraits, paper: Paper, ending: str) -> str:
    dois = [parse_doi(value) for scheme, value in stored.keys if scheme == "doi"]
    # arXiv's own DOIs say no more than its ids.
    doi = next((doi for doi in dois if doi and parse_arxiv(doi) is None), "")
    return entries.write([entries.Liked(paper, page.clock.now(), doi)], FILES[ending][0])
