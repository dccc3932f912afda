"""Feeds of papers for feed readers: of digests, of collections and saved searches, of categories.

Atom is RFC 4287, JSON is https://www.jsonfeed.org/version/1.1/ (November 2026). The routes have no
POST and read no cookie: the feeds of a subscriber are at secret addresses, the others are public.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.arxiv_categories import ARCHIVES, CATEGORIES
from triage.domain.chances import describe_chance
from triage.domain.link_tokens import Claims, Purpose
from triage.domain.records import Impression, Paper, Slate
from triage.store.search import Filters
from triage.subscribers import digest_feed
from triage.subscribers.digest_feed import FeedLinks
from triage.web.account.saved import find_papers
from triage.web.cache import TimedCache
from triage.web.context import PageContext, Site, paper_url

PAPERS: Final = 50
"""The most papers in the feed of a collection, a saved search or a category."""

# Feeds of categories are the same for everybody.
CACHE_FOR: Final = timedelta(minutes=1)
CACHE_SIZE: Final = 64
_KINDS: Final = ("atom", "json")
# XML 1.0, section 2.2: a document must not contain these characters, not even escaped.
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed; `page` is the address of the page with the same papers."""

    title: str
    page: str
    links: FeedLinks
    items: Sequence[dict[str, Any]]


def routes(page: PageContext) -> list[Route]:
    cache = TimedCache[Feed](page.clock, CACHE_FOR, CACHE_SIZE)

    def show(request: Request) -> Response:
        claims = page.claims(request, Purpose.FEED)
        feed = _of_digests(page, claims) or _of_collection(page, claims)
        if feed is None:
            raise HTTPException(404)
        return _write(page, request, feed)

    def show_category(request: Request) -> Response:
        category = request.path_params["category"]
        return _write(page, request, cache.get(category, lambda: _of_category(page, category)))

    return [
        *(Route("/f/{token}." + kind, show, methods=["GET"]) for kind in _KINDS),
        *(
            Route("/categories/{category}." + kind, show_category, methods=["GET"])
            for kind in _KINDS
        ),
    ]


def _write(page: PageContext, request: Request, feed: Feed) -> Response:
    if request.url.path.endswith(".json"):
        document = {
            "version": "https://jsonfeed.org/version/1.1",
            "title": feed.title,
            "home_page_url": feed.page,
            "feed_url": feed.links.json,
            "items": feed.items,
        }
        text = json.dumps(document, ensure_ascii=True, indent=1) + "\n"
        return Response(text, media_type="application/feed+json")
    # An empty feed counts as changed now.
    now = _timestamp(page.clock.now())
    updated = max((item["date_published"] for item in feed.items), default=now)
    text = page.pages.render("feed.atom", feed=feed, updated=updated)
    text = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
    return Response(text, media_type="application/atom+xml")


def _timestamp(at: datetime) -> str:
    """Return a time as RFC 3339 has it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- of digests ------------------------------------------------------------------------------------


def _of_digests(page: PageContext, claims: Claims) -> Feed | None:
    """Return the papers of the digests of two weeks; None if this is no feed of digests."""
    slates = digest_feed.digests(page.db, claims, page.clock.now().date())
    if slates is None:
        return None
    site = page.pages.site
    links = digest_feed.links(page.keyring, claims, site.base_url)
    return Feed(site.name, site.base_url, links, _items_of_slates(site, slates))


def _items_of_slates(site: Site, slates: Sequence[Slate]) -> list[dict[str, Any]]:
    """Return the papers of some digests as items of a JSON Feed."""
    host = re.sub(r"[^a-z0-9.-]", "", (urlsplit(site.base_url).hostname or "localhost").lower())
    return [
        # RFC 4151
        {"id": f"tag:{host},{slate.on.year}:{slate.public_id}/{shown.position}"}
        | _item(shown.paper, _text(shown), f"{slate.on.isoformat()}T00:00:00Z")
        for slate in slates
        for shown in slate.impressions
    ]


def _item(paper: Paper, text: str, published: str) -> dict[str, Any]:
    """Return an item of a JSON Feed without its id."""
    return {
        "url": paper_url(paper),
        "title": paper.title,
        "content_text": text,
        "date_published": published,
        "authors": [{"name": name} for name in paper.authors],
        "tags": list(paper.categories),
    }


def _text(shown: Impression) -> str:
    text = shown.paper.tldr or shown.paper.abstract
    reasons = "; ".join(reason.text for reason in shown.reasons)
    likelihood = describe_chance(shown)
    told = f"{likelihood.capitalize()}. " if likelihood else ""
    return f"{told}Why: {reasons}\n\n{text}" if shown.reasons else text


# -- of collections and categories -----------------------------------------------------------------


def _of_collection(page: PageContext, claims: Claims) -> Feed | None:
    """Return the newest papers of a collection or a saved search; None if this is no such feed."""
    with page.db.read() as conn:
        found = store.collections.find_by_public_ids(conn, claims.subscriber, claims.slate)
    if found is None:
        return None
    site = page.pages.site
    return Feed(
        f"{found.name} · {site.name}",
        f"{site.base_url.rstrip('/')}/saved/{found.id}",
        digest_feed.links(page.keyring, claims, site.base_url),
        _items(site, find_papers(page, found, slice(PAPERS))[0]),
    )


def category_links(base_url: str, category: str) -> FeedLinks:
    """Return the public addresses of the feed of a category."""
    start = f"{base_url.rstrip('/')}/categories/{quote(category, safe='')}"
    return FeedLinks(f"{start}.atom", f"{start}.json")


def _of_category(page: PageContext, category: str) -> Feed:
    """Return the newest papers of a category or an archive; raise 404 for an unknown one."""
    site = page.pages.site
    papers = page.search.newest("", Filters(categories=(category,)), PAPERS)
    if category not in {*ARCHIVES, *CATEGORIES}:
        # Only sources know the categories of other places, in their own spelling.
        papers = [(paper, at) for paper, at in papers if category in paper.categories]
        if not papers:
            raise HTTPException(404)
    return Feed(
        f"{category} · {site.name}",
        f"{site.base_url.rstrip('/')}/search?category={quote(category)}",
        category_links(site.base_url, category),
        _items(site, papers),
    )


def _items(site: Site, papers: Iterable[tuple[Paper, datetime]]) -> list[dict[str, Any]]:
    """Return papers as items of a JSON Feed; the same paper has the same id in all of them."""
    return [
        {"id": f"{site.base_url.rstrip('/')}/papers/{paper.id}"}
        | _item(paper, paper.tldr or paper.abstract, _timestamp(at))
        for paper, at in papers
    ]
