"""The vote page: a link in a mail opens it, and only the button on it stores the vote."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.domain.link_tokens import LIFETIMES, Claims, Purpose
from triage.domain.records import LIKES, EventKind
from triage.subscribers import votes
from triage.web import form_timestamp
from triage.web.context import PageContext, form_route
from triage.web.forms import NO_FIELDS, Fields

WINDOW = timedelta(seconds=60)
Link = tuple[int | None, EventKind]


@dataclass(frozen=True, slots=True)
class VoteTexts:
    """The texts for one kind of vote."""

    link: str
    question: str
    button: str
    done: str
    effect: str


VOTE_TEXTS: dict[EventKind, VoteTexts] = {
    EventKind.VOTE_UP: VoteTexts(
        "Like",
        "Do you like this paper?",
        "Like",
        "You like this paper.",
        "Papers close to this one move up, from your next digest on.",
    ),
    EventKind.SAVE: VoteTexts(
        "Save",
        "Save this paper?",
        "Save",
        "Saved.",
        "It counts as one of your best likes, from your next digest on.",
    ),
    EventKind.VOTE_DOWN: VoteTexts(
        "Not for me",
        "Is this paper not for you?",
        "Not for me",
        "This paper is not for you.",
        "Papers close to this one move down, from your next digest on.",
    ),
    EventKind.LESS_LIKE_THIS: VoteTexts(
        "Less like this",
        "Do you want less like this?",
        "Less like this",
        "You will see fewer papers like this.",
        "The whole direction moves down, from your next digest on.",
    ),
}


class OpenedLinks:
    """Counts for each digest which of its links were opened in the last minute, in memory only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slates: OrderedDict[str, dict[Link, datetime]] = OrderedDict()

    def count(self, slate: str, link: Link, now: datetime) -> tuple[int, int]:
        """Add a link, which is a position and an action.

        Returns:
            How many different links of the digest were opened in the last minute, and for how many
            papers a link that likes and a link that dislikes were opened.
        """
        with self._lock:
            links = self._slates.setdefault(slate, {})
            self._slates.move_to_end(slate)
            links[link] = now
            self._slates[slate] = new = {k: at for k, at in links.items() if now - at < WINDOW}
            while all(now - at >= WINDOW for at in next(iter(self._slates.values())).values()):
                self._slates.popitem(last=False)
        liked = {position for position, kind in new if kind in LIKES}
        return len(new), len(liked & {position for position, kind in new if kind not in LIKES})


def vote_tokens(page: PageContext, claims: Claims) -> list[tuple[EventKind, str]]:
    """Return a token for each kind of vote on the paper of `claims`, none after the voting period.

    They keep the issue date of the link that was opened, so that a page never extends their life.
    """
    if page.clock.now() >= claims.issued_at + LIFETIMES[Purpose.VOTE]:
        return []
    return [
        (kind, page.keyring.sign(Purpose.VOTE, replace(claims, action=kind))) for kind in VOTE_TEXTS
    ]


def routes(page: PageContext) -> list[Route]:
    opened = OpenedLinks()

    def vote(request: Request, fields: Fields = NO_FIELDS) -> Response:
        claims = page.claims(request, Purpose.VOTE)
        kind = claims.action
        if kind is None:
            raise HTTPException(404)
        is_vote = fields.get("vote") == kind
        if not is_vote:
            impression = votes.find_impression(page.db, claims)
        link = claims.position, kind
        n_opened, n_contradicted = opened.count(claims.slate, link, page.clock.now())
        if not is_vote:
            return page.show(
                request,
                "vote",
                impression=impression,
                texts=VOTE_TEXTS[kind],
                kind=kind,
                stamp=form_timestamp.create(page),
            )
        on_page = form_timestamp.age(page, fields.get("stamp", ""))
        evidence = request_evidence(request) | {
            "on_page_s": None if on_page is None else round(on_page.total_seconds(), 1),
            "links_opened": n_opened,
            "papers_contradicted": n_contradicted,
        }
        recorded = votes.record_vote(page.db, claims, page.clock, evidence)
        others = [
            (kind, VOTE_TEXTS[kind], token)
            for kind, token in vote_tokens(page, claims)
            if kind is not recorded.kind
        ]
        return page.show(
            request,
            "voted",
            impression=recorded.impression,
            texts=VOTE_TEXTS[recorded.kind],
            others=others,
            stamp=form_timestamp.create(page),
        )

    return [form_route("/v/{token}", vote, vote)]


def request_evidence(request: Request) -> dict[str, object]:
    """Return what a request shows about its sender: rough facts that identify nobody."""
    agent = request.headers.get("user-agent", "")
    return {
        "method": "page",
        "agent": "browser" if agent.startswith("Mozilla/") else "other" if agent else "none",
        "user_gesture": request.headers.get("sec-fetch-user") == "?1",
        "same_origin": request.headers.get("sec-fetch-site") == "same-origin",
    }
