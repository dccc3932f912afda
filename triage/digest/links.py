"""Build all links of a digest from ids and tokens.

Of the text of a paper, two things get into links: the title, into the subjects of mails that vote,
and addresses of code and models at a few hosts that everybody knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from email.utils import parseaddr
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.domain.paper_ids import upstream_url
from triage.domain.paper_links import LinkKind, find_links
from triage.domain.plain_text import clean, shorten
from triage.domain.records import (
    DigestLinks,
    EventKind,
    Impression,
    Paper,
    PaperLinks,
    Slate,
)
from triage.domain.vote_texts import VOTE_WORDS

# Of a title in the subject of a vote: characters, and bytes when encoded.
_TITLE_CHARS = 48
_TITLE_BYTES = 150
# Only links to these hosts are in a mail: a forged page there would not seem to be ours.
_RESOURCE_HOSTS = frozenset(
    "arxiv.org www.biorxiv.org www.medrxiv.org github.com gitlab.com codeberg.org bitbucket.org"
    " huggingface.co".split()
)
_RESOURCE_WORDS = {LinkKind.PDF: "PDF", LinkKind.CODE: "Code", LinkKind.MODEL: "Model"}
_SLATE = re.compile(r"<d\.([0-9a-f]{20})(?:\.\d+)?@[^<>\s]+>")


def digest_links(
    slate: Slate,
    keyring: Keyring,
    base_url: str,
    contact: str,
    issued_on: date,
    bounces: str = "",
    votes: str = "links",
    keys: Mapping[int, Sequence[tuple[str, str]]] = MappingProxyType({}),
) -> DigestLinks:
    """Return the links of a digest; the same arguments give the same links.

    Args:
        base_url: the address of the web pages, with or without a slash at the end.
        contact: the address for requests to unsubscribe, with or without a display name.
        issued_on: the UTC date on which the digest is made; the lifetime of its vote links begins
            then. It can differ from the date of the slate.
        bounces: the mailbox that `triage bounces intake` reads; a mail to the subscriber's own
            address in it unsubscribes them automatically. Empty if there is none.
        votes: `links` to the web pages; `mailto`, by mail and without any link to a web page; or
            `both`.
        keys: what sources said of the papers by their ids, see `find_links`.
    """
    base = base_url.rstrip("/")
    issued_at = datetime.combine(issued_on, time(), UTC)
    claims = Claims(slate.subscriber.public_id, issued_at, slate.public_id)
    unsubscribe = keyring.sign(Purpose.UNSUBSCRIBE, claims)
    has_web = votes != "mailto"
    leave_by_mail = _mailto(slate, keyring, contact, bounces, unsubscribe)
    papers = [
        _paper_links(shown, claims, keyring, base, keys.get(shown.paper.id, ()))
        for shown in slate.impressions
    ]
    if votes != "links":
        for n, shown in enumerate(slate.impressions):
            mails = _vote_mails(shown, slate.public_id, keyring, contact, bounces)
            papers[n] = _with_mails(papers[n], mails, has_web=has_web)
    return DigestLinks(
        papers=tuple(papers),
        # For the encoded plus, see `_vote_mails`.
        unsubscribe=f"{base}/u/{unsubscribe}" if has_web else leave_by_mail.replace("+", "%2B"),
        unsubscribe_mailto=leave_by_mail,
        preferences=f"{base}/preferences" if has_web else "",
        home=f"{base}/" if has_web else "",
        vote_page=f"{base}/d/{keyring.sign(Purpose.DIGEST, claims)}" if has_web else "",
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


def _paper_links(
    shown: Impression,
    slate: Claims,
    keyring: Keyring,
    base: str,
    keys: Sequence[tuple[str, str]],
) -> PaperLinks:
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
        resources=_resources(shown.paper, tuple(keys)),
    )


# The digests of other subscribers have the same papers.
@lru_cache(maxsize=4_096)
def _resources(paper: Paper, keys: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the first PDF, the first code and the first model, each as (word, https address)."""
    found: dict[LinkKind, str] = {}
    for link in find_links(paper, keys):
        parts = urlsplit(link.address)
        if parts.scheme == "https" and parts.netloc.lower() in _RESOURCE_HOSTS:
            found.setdefault(link.kind, link.address)
    return tuple((word, found[kind]) for kind, word in _RESOURCE_WORDS.items() if kind in found)


def _with_mails(links: PaperLinks, mails: dict[EventKind, str], *, has_web: bool) -> PaperLinks:
    if has_web:
        return replace(links, mails=tuple((VOTE_WORDS[kind], url) for kind, url in mails.items()))
    return replace(
        links,
        page=links.upstream,
        up=mails[EventKind.VOTE_UP],
        down=mails[EventKind.VOTE_DOWN],
        save=mails[EventKind.SAVE],
        less=mails[EventKind.LESS_LIKE_THIS],
    )


def _vote_mails(
    shown: Impression, slate: str, keyring: Keyring, contact: str, bounces: str
) -> dict[EventKind, str]:
    """Return the links that write a mail for each vote (RFC 6068).

    The plus of the address is encoded, because GNOME makes a space of a plain one. The subject is
    for the subscriber: some mail programs lose it, or leave it encoded.
    """
    title = shorten(clean(shown.paper.title), _TITLE_CHARS)
    while len(quote(title, safe="")) > _TITLE_BYTES:
        title = shorten(title, len(title) * 3 // 4)
    mails = {}
    for kind, word in VOTE_WORDS.items():
        token = keyring.sign_vote_address(slate, shown.position, kind)
        subject = f"{word}: {title}" if title else word
        address = _sub_address(bounces, token) if bounces else parseaddr(contact)[1]
        if not bounces:
            subject += f" [{token}]"
        mails[kind] = f"mailto:{quote(address, safe='@')}?subject={quote(subject, safe='')}"
    return mails
