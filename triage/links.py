"""Every link of a digest: built here from ids and tokens, never passed through from a paper."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from email.utils import parseaddr
from urllib.parse import quote

from triage.identity import upstream_url
from triage.records import DigestLinks, EventKind, Impression, PaperLinks, Slate
from triage.tokens import Claims, Keyring, Purpose


def digest_links(
    slate: Slate, keyring: Keyring, base_url: str, contact: str, issued_on: date
) -> DigestLinks:
    """Return the links of a digest; the same arguments give the same links.

    Args:
        base_url: where the web pages are, with or without a slash at the end.
        contact: the address, with or without a display name, that may be asked to unsubscribe.
        issued_on: the day in UTC on which the digest is made, from which the life of its vote
            links counts; that is not always the date of the slate.
    """
    base = base_url.rstrip("/")
    issued_at = datetime.combine(issued_on, time(), UTC)
    claims = Claims(slate.subscriber.public_id, issued_at, slate.public_id)
    unsubscribe = keyring.sign(Purpose.UNSUBSCRIBE, claims)
    address = quote(parseaddr(contact)[1], safe="@")
    return DigestLinks(
        papers=tuple(_paper_links(shown, claims, keyring, base) for shown in slate.impressions),
        unsubscribe=f"{base}/u/{unsubscribe}",
        unsubscribe_mailto=f"mailto:{address}?subject=unsubscribe%20{unsubscribe}",
        preferences=f"{base}/preferences",
        home=f"{base}/",
    )


def _paper_links(shown: Impression, slate: Claims, keyring: Keyring, base: str) -> PaperLinks:
    def claims(action: EventKind | None) -> Claims:
        return Claims(slate.subscriber, slate.issued_at, slate.slate, shown.position, action)

    def vote(action: EventKind) -> str:
        return f"{base}/v/{keyring.sign(Purpose.VOTE, claims(action))}"

    paper = shown.paper
    return PaperLinks(
        upstream=upstream_url(paper.source, paper.source_id, paper.title),
        page=f"{base}/p/{keyring.sign(Purpose.PAPER, claims(None))}",
        up=vote(EventKind.VOTE_UP),
        down=vote(EventKind.VOTE_DOWN),
        save=vote(EventKind.SAVE),
        less=vote(EventKind.LESS_LIKE_THIS),
    )
