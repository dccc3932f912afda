"""The feed of one subscriber: the papers of the digests of two weeks, for feed readers.

Atom is RFC 4287, JSON is https://www.jsonfeed.org/version/1.1/ (November 2026). The routes have no
POST and read no cookie, because the token in the address is enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.domain.chances import describe_chance
from triage.domain.link_tokens import Purpose
from triage.domain.records import Impression, Slate
from triage.subscribers import digest_feed
from triage.web.context import PageContext, Site, paper_url

# XML 1.0, section 2.2: a document must not contain these characters, not even escaped.
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def routes(page: PageContext) -> list[Route]:
    site = page.pages.site

    def show(request: Request) -> Response:
        claims = page.claims(request, Purpose.FEED)
        slates = digest_feed.digests(page.db, claims, page.clock.now().date())
        if slates is None:
            raise HTTPException(404)
        links = digest_feed.links(page.keyring, claims, site.base_url)
        entries = _entries(site, slates)
        if request.url.path.endswith(".json"):
            feed = {
                "version": "https://jsonfeed.org/version/1.1",
                "title": site.name,
                "home_page_url": site.base_url,
                "feed_url": links.json,
                "items": entries,
            }
            text = json.dumps(feed, ensure_ascii=True, indent=1) + "\n"
            return Response(text, media_type="application/feed+json")
        # An empty feed counts as changed now.
        now = page.clock.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        updated = max((entry["date_published"] for entry in entries), default=now)
        text = page.pages.render("feed.atom", links=links, entries=entries, updated=updated)
        text = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
        return Response(text, media_type="application/atom+xml")

    return [Route("/f/{token}." + kind, show, methods=["GET"]) for kind in ("atom", "json")]


def _entries(site: Site, slates: Sequence[Slate]) -> list[dict[str, Any]]:
    """Return the papers of some digests as items of a JSON Feed."""
    host = re.sub(r"[^a-z0-9.-]", "", (urlsplit(site.base_url).hostname or "localhost").lower())
    return [
        {
            # RFC 4151
            "id": f"tag:{host},{slate.on.year}:{slate.public_id}/{shown.position}",
            "url": paper_url(shown.paper),
            "title": shown.paper.title,
            "content_text": _text(shown),
            "date_published": f"{slate.on.isoformat()}T00:00:00Z",
            "authors": [{"name": name} for name in shown.paper.authors],
            "tags": list(shown.paper.categories),
        }
        for slate in slates
        for shown in slate.impressions
    ]


def _text(shown: Impression) -> str:
    text = shown.paper.tldr or shown.paper.abstract
    reasons = "; ".join(reason.text for reason in shown.reasons)
    likelihood = describe_chance(shown)
    told = f"{likelihood.capitalize()}. " if likelihood else ""
    return f"{told}Why: {reasons}\n\n{text}" if shown.reasons else text
