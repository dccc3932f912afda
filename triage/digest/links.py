"""Every link of a digest: built here from ids and tokens, never passed through from a paper."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from email.utils import parseaddr
from urllib.parse import quote

from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.domain.paper_ids import upstream_url
from triage.domain.records import DigestLinks, EventKind, Impression, Paper, PaperLinks, Slate

_SLATE = re.compile(r"<d\.([0-9a-f]{20})@[^<>\s]+>")


def digest_links(
    slate: Slate,
    keyring: Keyring,
    base_url: str,
    contact: str,
    issued_on: date,
    bounces: str = "",
) -> DigestLinks:
    """Return the links of a digest; the same arguments give the same links.

    Args:
        base_url: where the web pages are, with or without a slash at the end.
        contact: the address, with or without a display name, that may be asked to unsubscribe.
        issued_on: the day in UTC on which the digest is made, from which the life of its vote
            links counts; that is not always the date of the slate.
        bounces: the mailbox that `triage bounces intake` reads: who writes to their address there
            is unsubscribed by the program. Empty if there is none.
    """
    base = base_url.rstrip("/")
    issued_at = datetime.combine(issued_on, time(), UTC)
    claims = Claims(slate.subscriber.public_id, issued_at, slate.public_id)
    unsubscribe = keyring.sign(Purpose.UNSUBSCRIBE, claims)
    return DigestLinks(
        papers=tuple(_paper_links(shown, claims, keyring, base) for shown in slate.impressions),
        unsubscribe=f"{base}/u/{unsubscribe}",
        unsubscribe_mailto=_mailto(slate, keyring, contact, bounces, unsubscribe),
        preferences=f"{base}/preferences",
        home=f"{base}/",
        revised=tuple(map(_upstream, slate.revised)),
        recap=tuple(map(_upstream, slate.recap)),
    )


_NOTE_PAGES = {"confirm": "/c/", "goodbye": "/c/", "login": "/l/"}


def note_link(kind: str, token: str, base_url: str) -> str:
    """Return the one link of a mail that is no digest; without a token it names nobody."""
    return base_url.rstrip("/") + (_NOTE_PAGES[kind] + token if token else "/login")


def envelope_sender(message_id: str, keyring: Keyring, bounces: str) -> str:
    """Return the address to which a digest comes back if it cannot be delivered (VERP).

    Args:
        message_id: of a digest; what is no digest has no such address, and gives "".
        bounces: as for `digest_links`; empty gives "".
    """
    slate = _SLATE.fullmatch(message_id)
    if slate is None or not bounces:
        return ""
    return _sub_address(bounces, keyring.sign_address(Purpose.BOUNCE, slate[1]))


def _sub_address(mailbox: str, detail: str) -> str:
    """Return an address whose mail goes to `mailbox`, and which says more (RFC 5233)."""
    local, _, domain = parseaddr(mailbox)[1].rpartition("@")
    return f"{local}+{detail}@{domain}"


def _mailto(slate: Slate, keyring: Keyring, contact: str, bounces: str, token: str) -> str:
    if bounces:
        leave = keyring.sign_address(Purpose.UNSUBSCRIBE, slate.subscriber.public_id)
        return f"mailto:{quote(_sub_address(bounces, leave), safe='@+')}?subject=unsubscribe"
    return f"mailto:{quote(parseaddr(contact)[1], safe='@')}?subject=unsubscribe%20{token}"


def _upstream(paper: Paper) -> str:
    return upstream_url(paper.source, paper.source_id, paper.title)


def _paper_links(shown: Impression, slate: Claims, keyring: Keyring, base: str) -> PaperLinks:
    def claims(action: EventKind | None) -> Claims:
        return Claims(slate.subscriber, slate.issued_at, slate.slate, shown.position, action)

    def vote(action: EventKind) -> str:
        return f"{base}/v/{keyring.sign(Purpose.VOTE, claims(action))}"

    paper = shown.paper
    return PaperLinks(
        upstream=_upstream(paper),
        page=f"{base}/p/{keyring.sign(Purpose.PAPER, claims(None))}",
        up=vote(EventKind.VOTE_UP),
        down=vote(EventKind.VOTE_DOWN),
        save=vote(EventKind.SAVE),
        less=vote(EventKind.LESS_LIKE_THIS),
    )
