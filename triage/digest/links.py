"""Build all links of a digest from ids and tokens; no link comes from the text of a paper."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from email.utils import parseaddr
from urllib.parse import quote

from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.domain.paper_ids import upstream_url
from triage.domain.records import DigestLinks, EventKind, Impression, Paper, PaperLinks, Slate

_SLATE = re.compile(r"<d\.([0-9a-f]{20})(?:\.\d+)?@[^<>\s]+>")


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
        base_url: the address of the web pages, with or without a slash at the end.
        contact: the address for requests to unsubscribe, with or without a display name.
        issued_on: the UTC date on which the digest is made; the lifetime of its vote links begins
            then. It can differ from the date of the slate.
        bounces: the mailbox that `triage bounces intake` reads; a mail to the subscriber's own
            address in it unsubscribes them automatically. Empty if there is none.
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
        vote_page=f"{base}/d/{keyring.sign(Purpose.DIGEST, claims)}",
        revised=tuple(map(_upstream, slate.revised)),
        recap=tuple(map(_upstream, slate.recap)),
    )


_ACCOUNT_PAGES = {"confirm": "/c/", "goodbye": "/c/", "login": "/l/"}


def note_link(kind: str, token: str, base_url: str) -> str:
    """Return the only link of an account mail; without a token, it leads to the login page."""
    return base_url.rstrip("/") + (_ACCOUNT_PAGES[kind] + token if token else "/login")


def envelope_sender(message_id: str, keyring: Keyring, bounces: str) -> str:
    """Return the address to which a digest returns if it cannot be delivered (VERP).

    "" for a message that is not a digest, and if `bounces` (see `digest_links`) is empty.
    """
    slate = _SLATE.fullmatch(message_id)
    if slate is None or not bounces:
        return ""
    return _sub_address(bounces, keyring.sign_address(Purpose.BOUNCE, slate[1]))


def _sub_address(mailbox: str, detail: str) -> str:
    """Return an address that is delivered to `mailbox` and contains `detail` (RFC 5233)."""
    local, _, domain = parseaddr(mailbox)[1].rpartition("@")
    return f"{local}+{detail}@{domain}"


def _mailto(slate: Slate, keyring: Keyring, contact: str, bounces: str, token: str) -> str:
    if bounces:
        detail = keyring.sign_address(Purpose.UNSUBSCRIBE, slate.subscriber.public_id)
        return f"mailto:{quote(_sub_address(bounces, detail), safe='@+')}?subject=unsubscribe"
    return f"mailto:{quote(parseaddr(contact)[1], safe='@')}?subject=unsubscribe%20{token}"


def _upstream(paper: Paper) -> str:
    return upstream_url(paper.source, paper.source_id, paper.title)


def _paper_links(shown: Impression, slate: Claims, keyring: Keyring, base: str) -> PaperLinks:
    def sign(page: str, purpose: Purpose, action: EventKind | None = None) -> str:
        claims = Claims(slate.subscriber, slate.issued_at, slate.slate, shown.position, action)
        return f"{base}/{page}/{keyring.sign(purpose, claims)}"

    return PaperLinks(
        upstream=_upstream(shown.paper),
        page=sign("p", Purpose.PAPER),
        up=sign("v", Purpose.VOTE, EventKind.VOTE_UP),
        down=sign("v", Purpose.VOTE, EventKind.VOTE_DOWN),
        save=sign("v", Purpose.VOTE, EventKind.SAVE),
        less=sign("v", Purpose.VOTE, EventKind.LESS_LIKE_THIS),
    )
