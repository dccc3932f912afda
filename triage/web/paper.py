"""The page of one paper: as a digest showed it, and as anybody may see it."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
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
from triage.web.context import PageContext, form_route, number
from triage.web.forms import Pairs
from triage.web.login_cookie import Login
from triage.web.vote import WORDS, evidence, vote_tokens

SIMILAR: Final = 6
# New ones come at night; to look for them is most of the work for this page.
SIMILAR_FOR: Final = timedelta(minutes=5)
MOST_SIMILAR: Final = 500
TAKE_BACK: Final = "none"
_PLACES: Final = ("arxiv", "biorxiv", "medrxiv", "doi")
_SEARCHES: Final = ("https://arxiv.org/search/", "https://huggingface.co/papers?")


def routes(desk: PageContext) -> list[Route]:
    kept = TimedCache[list[Hit]](desk.clock, SIMILAR_FOR, MOST_SIMILAR)

    def show(request: Request) -> Response:
        claims = desk.claims(request, Purpose.PAPER)
        impression = desk.impression(claims)
        paper = impression.paper
        return desk.pages.show(
            "paper",
            impression=impression,
            paper=paper,
            upstream=upstream_url(paper.source, paper.source_id, paper.title),
            votes=[(WORDS[kind], token) for kind, token in vote_tokens(desk, claims)],
        )

    return [
        Route("/p/{token}", show, methods=["GET"]),
        form_route("/papers/{paper}", partial(_shown, desk, kept), partial(_voted, desk, kept)),
    ]


def _shown(
    desk: PageContext,
    kept: TimedCache[list[Hit]],
    request: Request,
    *,
    done: str = "",
    effect: str = "",
) -> Response:
    standing, paper = _paper(desk, request)
    visit = desk.door.visit(request)
    return desk.pages.show(
        "work",
        paper=paper,
        is_withdrawn=standing.is_withdrawn,
        address=upstream_url(paper.source, paper.source_id, paper.title),
        places=places(paper, standing.keys),
        similar=[] if standing.is_withdrawn else kept.get(paper.id, lambda: _similar(desk, paper)),
        bibtex=entries.written([_as_liked(paper, standing.keys, desk.clock.now())], "bibtex"),
        visit=visit,
        vote=_vote(desk, visit, paper),
        words=WORDS,
        take_back=TAKE_BACK,
        done=done,
        effect=effect,
    )


def _paper(desk: PageContext, request: Request) -> tuple[StoredTraits, Paper]:
    """Return the paper of the address, and where it stands.

    Raises:
        HTTPException: 404, there is none.
    """
    with desk.db.read() as conn:
        standing = store.papers.standing(conn, number(request.path_params["paper"]))
        if standing is None:
            raise HTTPException(404)
        return standing, store.papers.load(conn, [standing.paper_id])[standing.paper_id]


def _similar(desk: PageContext, paper: Paper) -> list[Hit]:
    try:
        return desk.search.similar([paper.id], limit=SIMILAR)
    except NotFound:  # it was deleted a moment ago
        return []


def _vote(desk: PageContext, visit: Login | None, paper: Paper) -> EventKind | None:
    if visit is None:
        return None
    with desk.db.read() as conn:
        vote = store.events.last_vote(conn, visit.reader.id, paper.id)
    return vote.kind if vote else None


def places(paper: Paper, keys: tuple[Key, ...]) -> list[tuple[str, str]]:
    """Return where a paper can be read: (what that place is called, address), each once.

    Args:
        keys: all ids under which it is known; addresses are built from those that can be checked.
    """
    found: dict[str, str] = {}
    own = upstream_url(paper.source, paper.source_id, paper.title)
    if not own.startswith(_SEARCHES):
        found[own] = source_name(paper.source)
    for scheme in _PLACES:
        for value in (value for each, value in keys if each == scheme):
            address = upstream_url(scheme, value, paper.title)
            arxiv = parse_arxiv(value) if scheme == "arxiv" else None
            if address.startswith(_SEARCHES):
                continue
            found.setdefault(address, source_name(scheme))
            if arxiv:
                found[f"https://arxiv.org/pdf/{arxiv[0]}"] = "PDF"
                if paper.upvotes is not None:
                    found[f"https://huggingface.co/papers/{arxiv[0]}"] = "Hugging Face"
    return [(name, address) for address, name in found.items()]


def _as_liked(paper: Paper, keys: tuple[Key, ...], now: datetime) -> Liked:
    dois = (parse_doi(value) for scheme, value in keys if scheme == "doi")
    return Liked(paper, now, next((doi for doi in dois if doi), ""))


# -- votes of who is logged in ---------------------------------------------------------------------


def _voted(
    desk: PageContext, kept: TimedCache[list[Hit]], request: Request, pairs: Pairs
) -> Response:
    fields = dict(pairs)
    visit = desk.door.admit(request, fields)
    standing, _ = _paper(desk, request)
    said = fields.get("vote", "")
    if said == TAKE_BACK:
        subscriptions.take_back(desk.db, visit.reader, standing.paper_id)
        return _shown(desk, kept, request, done="Taken back: it counts no more.")
    if said not in set(EventKind):
        return _shown(desk, kept, request)
    kind = EventKind(said)
    told = evidence(request) | {"method": "paper page"}
    try:
        votes.vote(desk.db, visit.reader, standing.paper_id, kind, desk.clock, told)
    except NotFound:
        raise HTTPException(404) from None
    return _shown(desk, kept, request, done=WORDS[kind].done, effect=WORDS[kind].effect)
