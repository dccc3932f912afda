"""What a card shows about a paper: the same card on all pages, with the reader's own votes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from triage import store
from triage.digest.day_ranking import PaperReason
from triage.domain.records import EventKind, Impression, Paper, Policy
from triage.web.context import PageContext
from triage.web.login_cookie import Login


@dataclass(frozen=True, slots=True)
class Card:
    """A paper on a page.

    Attributes:
        vote: the reader's last vote on it.
        is_seen: it was in a digest of the reader.
        is_new: it was stored recently.
        chance: how likely the reader likes it, in words or "".
        reasons: sentences, the strongest first.
    """

    paper: Paper
    vote: EventKind | None = None
    is_saved: bool = False
    is_seen: bool = False
    is_new: bool = False
    chance: str = ""
    reasons: tuple[str, ...] = ()


def cards_for(
    page: PageContext,
    login: Login | None,
    papers: Sequence[Paper],
    *,
    new: Collection[int] = (),
    why: Mapping[int, PaperReason] | None = None,
) -> list[Card]:
    """Return the cards of some papers in their order.

    Args:
        login: without it, cards have no votes.
        new: ids of papers that were stored recently.
        why: why papers have their rank, by id. Reasons that no card above has begin with come
            first, so that not all cards say the same.
    """
    votes: Mapping[int, EventKind] = {}
    seen: Collection[int] = ()
    saved: Collection[int] = ()
    if login and papers:
        with page.db.read() as conn:
            voted = store.events.votes(conn, login.subscriber.id)
            seen = store.slates.shown_papers(conn, login.subscriber.id)
            ids = [paper.id for paper in papers]
            saved = store.collections.saved_among(conn, login.subscriber.id, ids)
        votes = {vote.paper_id: vote.kind for vote in voted}
    cards = []
    told: set[str] = set()
    for paper in papers:
        vote, reason = votes.get(paper.id), (why or {}).get(paper.id)
        reasons = sorted(reason.reasons, key=told.__contains__) if reason else []
        told.update(reasons[:1])
        cards.append(
            Card(
                paper,
                vote,
                is_saved=paper.id in saved,
                is_seen=paper.id in seen,
                is_new=paper.id in new,
                chance=reason.chance if reason else "",
                reasons=tuple(reasons),
            )
        )
    return cards


def reasons_of(shown: Impression) -> tuple[str, ...]:
    """Return the reasons of a paper of a digest; that of an exploration paper is that it is one."""
    if shown.policy is Policy.EXPLORATION:
        return ("exploration: outside your usual topics",)
    return tuple(reason.text for reason in shown.reasons)
