"""A vote: the link of a mail shows the paper and one button, and only the button votes."""

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
from triage.errors import NotFound
from triage.subscribers import votes
from triage.web import form_timestamp
from triage.web.context import PageContext, form_route
from triage.web.forms import Pairs

WINDOW = timedelta(seconds=60)
Link = tuple[int | None, EventKind]


@dataclass(frozen=True, slots=True)
class Words:
    """How one kind of vote speaks: on a link, as a question, on its button, when it is done."""

    link: str
    question: str
    button: str
    done: str
    effect: str


WORDS: dict[EventKind, Words] = {
    EventKind.VOTE_UP: Words(
        "More like this",
        "More papers like this one?",
        "Yes, more like this",
        "More like this. Noted.",
        "Papers close to this one move up, from your next digest on.",
    ),
    EventKind.SAVE: Words(
        "Save",
        "Save this paper?",
        "Save it",
        "Saved.",
        "It counts as one of your best likes, from your next digest on.",
    ),
    EventKind.VOTE_DOWN: Words(
        "Not for me",
        "Is this paper not for you?",
        "Not for me",
        "Not for you. Noted.",
        "Papers close to this one move down, from your next digest on.",
    ),
    EventKind.LESS_LIKE_THIS: Words(
        "Less like this",
        "Fewer papers of this kind?",
        "Show fewer of these",
        "Fewer of these. Noted.",
        "The whole direction moves down, from your next digest on.",
    ),
}


class LinksOpened:
    """Counts for each digest what was opened by whoever has it, and forgets it after a minute.

    It is kept in memory alone, for nobody's record.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._slates: OrderedDict[str, dict[Link, datetime]] = OrderedDict()

    def note(self, slate: str, link: Link, now: datetime) -> tuple[int, int]:
        """Note that a link, of a position and an action, was opened.

        Returns:
            How many links of the digest were opened in the last minute, each counted once; and of
            how many papers both one that likes and one that dislikes.
        """
        with self._guard:
            links = self._slates.setdefault(slate, {})
            self._slates.move_to_end(slate)
            links[link] = now
            self._slates[slate] = new = {k: at for k, at in links.items() if now - at < WINDOW}
            while all(now - at >= WINDOW for at in next(iter(self._slates.values())).values()):
                self._slates.popitem(last=False)
        liked = {position for position, kind in new if kind in LIKES}
        return len(new), len(liked & {position for position, kind in new if kind not in LIKES})


def vote_tokens(desk: PageContext, claims: Claims) -> list[tuple[EventKind, str]]:
    """Return a token for each kind of vote on the paper of `claims`, none once voting is over.

    They keep the day of issue of the link that led here, so that a page never lengthens their life.
    """
    lifetime = LIFETIMES[Purpose.VOTE]
    if lifetime is not None and desk.clock.now() >= claims.issued_at + lifetime:
        return []
    return [(kind, desk.keyring.sign(Purpose.VOTE, replace(claims, action=kind))) for kind in WORDS]


def routes(desk: PageContext) -> list[Route]:
    opened = LinksOpened()

    def note(claims: Claims) -> tuple[int, int]:
        return opened.note(claims.slate, (claims.position, _kind(claims)), desk.clock.now())

    def vote(request: Request, pairs: Pairs = ()) -> Response:
        claims = desk.claims(request, Purpose.VOTE)
        fields, kind = dict(pairs), _kind(claims)
        if fields.get("vote") != kind:
            impression = desk.impression(claims)
            note(claims)
            return desk.pages.show(
                "vote",
                impression=impression,
                words=WORDS[kind],
                kind=kind,
                stamp=form_timestamp.new(desk),
            )
        return act(request, claims, fields.get("stamp", ""))

    def act(request: Request, claims: Claims, stamp: str) -> Response:
        n_opened, n_contradicted = note(claims)
        on_page = form_timestamp.age(desk, stamp)
        told = evidence(request) | {
            "on_page_s": None if on_page is None else round(on_page.total_seconds(), 1),
            "links_opened": n_opened,
            "papers_contradicted": n_contradicted,
        }
        try:
            recorded = votes.record_vote(desk.db, claims, desk.clock, told)
        except NotFound:
            raise HTTPException(404) from None
        others = [
            (kind, WORDS[kind], token)
            for kind, token in vote_tokens(desk, claims)
            if kind is not recorded.kind
        ]
        return desk.pages.show(
            "voted",
            impression=recorded.impression,
            words=WORDS[recorded.kind],
            others=others,
            stamp=form_timestamp.new(desk),
        )

    return [form_route("/v/{token}", vote, vote)]


def _kind(claims: Claims) -> EventKind:
    if claims.action is None:
        raise HTTPException(404)
    return claims.action


def evidence(request: Request) -> dict[str, object]:
    """Return what the request itself says of who voted: coarse, and nothing that names a person."""
    agent = request.headers.get("user-agent", "")
    return {
        "method": "page",
        "agent": "browser" if agent.startswith("Mozilla/") else "other" if agent else "none",
        "user_gesture": request.headers.get("sec-fetch-user") == "?1",
        "same_origin": request.headers.get("sec-fetch-site") == "same-origin",
    }
