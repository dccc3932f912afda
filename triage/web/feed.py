"""A subscriber's feed: what the digests of two weeks showed and why, for programs that read feeds.

Atom is RFC 4287, JSON is https://www.jsonfeed.org/version/1.1/ (November 2026). Only GET is
answered, and no cookie is looked at: the address says all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time
from html import escape
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.domain.link_tokens import Purpose
from triage.domain.paper_ids import upstream_url
from triage.domain.records import Impression, Slate
from triage.subscribers import digest_feed
from triage.subscribers.digest_feed import FeedLinks
from triage.web.context import PageContext, Site

# XML 1.0, section 2.2: these cannot stand in a document in any spelling.
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def routes(desk: PageContext, site: Site) -> list[Route]:
    def show(request: Request) -> Response:
        claims = desk.claims(request, Purpose.FEED)
        slates = digest_feed.digests(desk.db, claims, desk.clock.now().date())
        if slates is None:
            raise HTTPException(404)
        own = digest_feed.links(desk.keyring, claims, site.base_url)
        if request.url.path.endswith(".json"):
            return Response(json_feed(slates, site, own), media_type="application/feed+json")
        text = atom_feed(slates, site, own, desk.clock.now())
        return Response(text, media_type="application/atom+xml")

    return [
        Route("/f/{token}.atom", show, methods=["GET"]),
        Route("/f/{token}.json", show, methods=["GET"]),
    ]


def atom_feed(slates: Sequence[Slate], site: Site, own: FeedLinks, now: datetime) -> str:
    """Return the papers of some digests as an Atom feed.

    Args:
        now: when the feed changed last if it holds nothing.
    """
    updated = max((_shown_at(slate) for slate in slates), default=now)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<id>{_xml(own.atom)}</id>",
        f"<title>{_xml(site.name)}</title>",
        f"<updated>{_stamp(updated)}</updated>",
        f'<link rel="self" type="application/atom+xml" href="{_xml(own.atom)}"/>',
        f'<link rel="alternate" type="text/html" href="{_xml(site.base_url)}"/>',
        f"<author><name>{_xml(site.name)}</name></author>",
    ]
    for slate, shown in _papers(slates):
        paper = shown.paper
        lines += [
            "<entry>",
            f"<id>{_entry_id(site, slate, shown)}</id>",
            f"<title>{_xml(paper.title)}</title>",
            f'<link rel="alternate" type="text/html" href="{_xml(_url(shown))}"/>',
            f"<updated>{_stamp(_shown_at(slate))}</updated>",
            *(f"<author><name>{_xml(name)}</name></author>" for name in paper.authors),
            *(f'<category term="{_xml(each)}"/>' for each in paper.categories),
            f'<content type="text">{_xml(_text(shown))}</content>',
            "</entry>",
        ]
    return "\n".join([*lines, "</feed>", ""])


def json_feed(slates: Sequence[Slate], site: Site, own: FeedLinks) -> str:
    """Return the papers of some digests as a JSON Feed."""
    items: list[dict[str, Any]] = [
        {
            "id": _entry_id(site, slate, shown),
            "url": _url(shown),
            "title": shown.paper.title,
            "content_text": _text(shown),
            "date_published": _stamp(_shown_at(slate)),
            "authors": [{"name": name} for name in shown.paper.authors],
            "tags": list(shown.paper.categories),
        }
        for slate, shown in _papers(slates)
    ]
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": site.name,
        "home_page_url": site.base_url,
        "feed_url": own.json,
        "items": items,
    }
    return json.dumps(feed, ensure_ascii=True, indent=1) + "\n"


def _papers(slates: Sequence[Slate]) -> Iterator[tuple[Slate, Impression]]:
    for slate in slates:
        for shown in slate.impressions:
            yield slate, shown


def _text(shown: Impression) -> str:
    reasons = (
        [f"Why: {'; '.join(reason.text for reason in shown.reasons)}"] if shown.reasons else []
    )
    return "\n\n".join([*reasons, shown.paper.tldr or shown.paper.abstract])


def _url(shown: Impression) -> str:
    return upstream_url(shown.paper.source, shown.paper.source_id, shown.paper.title)


def _shown_at(slate: Slate) -> datetime:
    return datetime.combine(slate.on, time(), UTC)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _entry_id(site: Site, slate: Slate, shown: Impression) -> str:
    host = re.sub(r"[^a-z0-9.-]", "", (urlsplit(site.base_url).hostname or "localhost").lower())
    # RFC 4151
    return f"tag:{host},{slate.on.year}:{slate.public_id}/{shown.position}"


def _xml(text: str) -> str:
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text), quote=True)
