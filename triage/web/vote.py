"""The votes page: a link in a mail opens it, and only a button on it stores a vote.

It has all papers of the digest, so that ten votes are ten presses. It shows what was pressed in the
same browser in the last hour, and no earlier votes, because a link can be forwarded.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.domain.chances import describe_chance
from triage.domain.link_tokens import LIFETIMES, Claims, Purpose
from triage.domain.records import LIKES, EventKind, Impression
from triage.domain.vote_texts import VOTE_TEXTS
from triage.subscribers import votes
from triage.web import form_timestamp
from triage.web.cards import Card, reasons_of
from triage.web.context import PageContext, form_route, own_path
from triage.web.forms import Fields
from triage.web.visit import Visit, read_visit, write_visit

UNDO = "none"
# People press a wrong button now and then, and some try all buttons of one paper.
MOST_CHANGES = 2
PAPERS_A_CHANGE = 6


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a digest that was opened, or its button that was pressed."""

    position: int
    kind: EventKind
    is_pressed: bool = False

    @property
    def window(self) -> timedelta:
        """How long it counts."""
        return votes.BURST if self.is_pressed else timedelta(seconds=60)


class RecentLinks:
    """Counts for each digest which of its links were opened and pressed lately, in memory only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slates: OrderedDict[str, dict[Link, datetime]] = OrderedDict()

    def count(self, slate: str, link: Link, now: datetime) -> dict[str, int]:
        """Add a link of a slate.

        Returns:
            Three parts of the evidence of a vote; see `scanner_detection.trust`.
        """
        with self._lock:
            links = self._slates.setdefault(slate, {})
            self._slates.move_to_end(slate)
            links[link] = now
            self._slates[slate] = new = {k: at for k, at in links.items() if now - at < k.window}
            while all(now - at >= k.window for k, at in next(iter(self._slates.values())).items()):
                self._slates.popitem(last=False)
        opened = [each for each in new if not each.is_pressed]
        signs = {(each.position, each.kind in LIKES) for each in opened}
        n_pressed = Counter(each.position for each in new if each.is_pressed)
        changed = sum(min(n - 1, MOST_CHANGES) for n in n_pressed.values())
        return {
            "links_opened": len(opened),
            "papers_contradicted": len(signs) - len({position for position, _ in signs}),
            "votes_changed": max(0, changed - len(n_pressed) // PAPERS_A_CHANGE),
        }


@dataclass(frozen=True, slots=True)
class Ballot:
    """A card with its buttons: the page of its paper, and a token for each kind of vote."""

    card: Card
    address: str
    tokens: list[tuple[EventKind, str]]


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
    recent = RecentLinks()

    def show_choice(request: Request) -> Response:
        claims = page.claims(request, Purpose.VOTE)
        if claims.action is None:
            raise HTTPException(404)
        recent.count(claims.slate, Link(claims.position, claims.action), page.clock.now())
        return _show(page, request, claims)

    def show_all(request: Request) -> Response:
        return _show(page, request, page.claims(request, Purpose.DIGEST))

    def submit(request: Request, fields: Fields) -> Response:
        claims = page.claims(request, Purpose.VOTE)
        now, choice = page.clock.now(), fields.get("vote")
        visit = read_visit(page, request, claims.slate)
        pressed = dict(visit.votes)
        if choice == UNDO:
            # Without a vote of this visit, there is nothing that may be undone.
            is_undone = pressed.pop(claims.position, None) is not None
            shown = (
                votes.undo_votes(page.db, claims, visit.began_at)
                if is_undone
                else votes.find_impression(page.db, claims)
            )
            notice = "Taken back. If you had voted on this paper before, that vote counts again."
        elif choice == claims.action and claims.action is not None:
            link = Link(claims.position, claims.action, is_pressed=True)
            on_page = form_timestamp.age(page, fields.get("stamp", ""))
            if on_page is not None and visit.votes:
                # The page is new after each press, and people know it already.
                on_page = max(on_page, now - visit.began_at)
            evidence = request_evidence(request) | {
                "on_page_s": None if on_page is None else round(on_page.total_seconds(), 1),
                **recent.count(claims.slate, link, now),
            }
            shown = votes.record_vote(page.db, claims, page.clock, evidence).impression
            pressed[claims.position] = claims.action
            texts = VOTE_TEXTS[claims.action]
            notice = f"{texts.done} {texts.effect}"
        else:
            return show_choice(request)
        back = own_path(fields.get("back", "")) or f"/v/{request.path_params['token']}"
        response = page.redirect(back, notice, place=f"paper-{shown.paper.id}")
        write_visit(page, request, response, claims.slate, Visit(visit.began_at, pressed))
        return response

    return [
        form_route("/v/{token}", show_choice, submit),
        Route("/d/{token}", show_all, methods=["GET"]),
    ]


def _show(page: PageContext, request: Request, claims: Claims) -> Response:
    """Return the page of a digest; the paper that the link names is first."""
    slate = votes.find_digest(page.db, claims)
    visit = read_visit(page, request, claims.slate)
    first = [shown for shown in slate.impressions if shown.position == claims.position]
    if claims.action and not first:
        raise HTTPException(404)
    return page.show(
        request,
        "vote",
        on=slate.on,
        first=[_ballot(page, claims, visit, shown) for shown in first],
        others=[
            _ballot(page, claims, visit, shown)
            for shown in slate.impressions
            if shown.position != claims.position
        ],
        chosen=claims.action,
        stamp=form_timestamp.create(page),
    )


def _ballot(page: PageContext, claims: Claims, visit: Visit, shown: Impression) -> Ballot:
    of_paper = replace(claims, position=shown.position, action=None)
    card = Card(
        shown.paper,
        visit.votes.get(shown.position),
        chance=describe_chance(shown),
        reasons=reasons_of(shown),
    )
    address = f"{page.pages.root}/p/{page.keyring.sign(Purpose.PAPER, of_paper)}"
    return Ballot(card, address, vote_tokens(page, of_paper))


def request_evidence(request: Request) -> dict[str, object]:
    """Return what a request shows about its sender: rough facts that identify nobody."""
    agent = request.headers.get("user-agent", "")
    return {
        "method": "page",
        "agent": "browser" if agent.startswith("Mozilla/") else "other" if agent else "none",
        "user_gesture": request.headers.get("sec-fetch-user") == "?1",
        "same_origin": request.headers.get("sec-fetch-site") == "same-origin",
    }
