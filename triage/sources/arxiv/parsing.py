"""Parsers of arXiv's RSS feed and of its API's Atom answers.

https://info.arxiv.org/help/rss_specifications.html and api/user-manual.html, November 2026. Unknown
elements are ignored; an unusable record is rejected alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from triage.domain.paper_ids import arxiv_month, parse_arxiv, parse_doi
from triage.domain.source_records import FetchedPaper, Rejected
from triage.errors import RejectedRecord, SourceError
from triage.sources.text.cleaning import (
    first_doi,
    normalise,
    parse_day,
    parse_each,
    parse_mail_date,
)
from triage.sources.text.xml import join_texts, parse_root, text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MOST_ITEMS: Final = 5_000
_ATOM: Final = "{http://www.w3.org/2005/Atom}"
_ARXIV: Final = "{http://arxiv.org/schemas/atom}"
_DC: Final = "{http://purl.org/dc/elements/1.1/}"
_SKIP_DAY: Final = "skipDays/day"
_LEAD: Final = re.compile(
    r"\s*arXiv:(?P<id>\S+)\s+Announce Type:\s*(?P<kind>[\w-]+)\s*(?:Abstract:\s*)?"
)
_AFFILIATION: Final = re.compile(r"\s*\([^()]*\)")
_BETWEEN_NAMES: Final = re.compile(r",(?!\s*(?:[JS]r\b|I+\b))")


class Kind(StrEnum):
    """The kind of an announcement; of several for one paper, the first in this order counts."""

    NEW = "new"
    CROSS = "cross"
    REPLACE = "replace"
    REPLACE_CROSS = "replace-cross"

    @property
    def is_replacement(self) -> bool:
        return self in {Kind.REPLACE, Kind.REPLACE_CROSS}


@dataclass(frozen=True, slots=True)
class Announcement:
    """One item of the feed: the ids of the paper, and its text as received."""

    source_id: str
    version: int
    kind: Kind
    on: date
    title: str
    abstract: str
    authors: str
    categories: tuple[str, ...]
    doi: str | None

    @property
    def key(self) -> str:
        """The id with a suffix for the version (replacements) or the kind of announcement."""
        if self.kind.is_replacement:
            return f"{self.source_id}v{self.version}"
        return f"{self.source_id}{'n' if self.kind is Kind.NEW else 'c'}"

    @property
    def where(self) -> str:
        return f"feed of {self.on}, {self.source_id}"

    def paper(self) -> FetchedPaper:
        """Return the paper from the feed alone.

        Raises:
            RejectedRecord: it has no title or no abstract.
        """
        return normalise(
            FetchedPaper(
                source="arxiv",
                source_id=self.source_id,
                version=self.version,
                title=self.title,
                abstract=self.abstract,
                authors=tuple(_BETWEEN_NAMES.split(_AFFILIATION.sub("", self.authors[:100_000]))),
                categories=self.categories,
                listed_on=self.on,
                doi=self.doi,
                update_only=self.kind.is_replacement,
            )
        )


@dataclass(frozen=True, slots=True)
class Feed:
    """One day's feed: its announcements, each paper once, and its unusable items."""

    on: date
    announcements: tuple[Announcement, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    n_items: int = 0
    skip_days: frozenset[str] = frozenset()

    def skips(self, on: date) -> bool:
        """Tell whether the feed says that no papers come on `on`."""
        return f"{on:%A}".lower() in self.skip_days


def parse_feed(body: bytes) -> Feed:
    """Parse an RSS feed.

    Raises:
        SourceError: it is no feed, reports an error, or has no date.
    """
    channel = parse_root(body, "arXiv's feed").find("channel")
    if channel is None:
        raise SourceError("arXiv's feed is no RSS 2.0. Check `rss_url` in the config.")
    title = " ".join(text(channel, "title").split())
    if title.lower().startswith("feed error"):
        message = " ".join(text(channel, "description").split())[:200]
        raise SourceError(
            f"arXiv does not know this feed: {title[:100]}. {message} Check the categories."
        )
    items = channel.findall("item")[:MOST_ITEMS]
    on = parse_mail_date(text(channel, "pubDate")) or next(
        (day for item in items if (day := parse_mail_date(text(item, "pubDate")))), None
    )
    if on is None:
        raise SourceError("arXiv's feed has no date, so its day is unknown.")
    announced, rejected = parse_each(
        items, lambda item: _announcement(item, on), join_texts, f"feed of {on}, item"
    )
    best: dict[str, Announcement] = {}
    order = list(Kind)
    for each in announced:
        known = best.setdefault(each.source_id, each)
        if order.index(each.kind) < order.index(known.kind):
            best[each.source_id] = each
    skip_days = frozenset((day.text or "").strip().lower() for day in channel.iterfind(_SKIP_DAY))
    return Feed(on, tuple(best.values()), tuple(rejected), len(items), skip_days)


def _announcement(item: Element, on: date) -> Announcement:
    description = text(item, "description")
    lead = _LEAD.match(description)
    places = (text(item, "guid").rpartition("arXiv.org:")[2], lead["id"] if lead else "")
    found = list(filter(None, map(parse_arxiv, (*places, text(item, "link")))))
    if not found:
        raise RejectedRecord("it has no arXiv id")
    version = next((version for _, version in found if version), 1)
    kind = text(item, f"{_ARXIV}announce_type").strip() or (lead["kind"] if lead else "")
    if kind not in list(Kind):
        raise RejectedRecord(f"it is announced as {kind[:40]!r}, which is unknown")
    return Announcement(
        source_id=found[0][0],
        version=version,
        kind=Kind(kind),
        on=on,
        title=text(item, "title"),
        abstract=description[lead.end() :] if lead else description,
        authors=", ".join(creator.text or "" for creator in item.findall(f"{_DC}creator")),
        categories=tuple(category.text or "" for category in item.findall("category")),
        doi=parse_doi(text(item, f"{_ARXIV}DOI")),
    )


def parse_entries(body: bytes) -> dict[str, FetchedPaper | None]:
    """Parse an answer of the API into papers by id; None for an unusable one.

    Entries without an id are ignored. A paper without a version is rare. The listing day is that of
    the first version, so the caller replaces it for a paper of a list.

    Raises:
        SourceError: it is no Atom feed, or reports an error.
    """
    feed = parse_root(body, "the answer of arXiv's API")
    if feed.tag != f"{_ATOM}feed":
        raise SourceError("arXiv's API answered with no Atom feed. Check `api_url` in the config.")
    papers: dict[str, FetchedPaper | None] = {}
    for element in feed.findall(f"{_ATOM}entry")[:MOST_ITEMS]:
        place = text(element, f"{_ATOM}id").strip()
        if "/api/errors" in place:
            message = " ".join(text(element, f"{_ATOM}summary").split())[:200]
            raise SourceError(f"arXiv's API refused the query: {message}")
        parsed = parse_arxiv(place)
        if parsed is not None:
            papers[parsed[0]] = _entry(*parsed, element)
    return papers


def _entry(id: str, version: int | None, entry: Element) -> FetchedPaper | None:
    primary = entry.find(f"{_ARXIV}primary_category")
    categories = [] if primary is None else [primary]
    categories += entry.findall(f"{_ATOM}category")
    authors = entry.findall(f"{_ATOM}author")
    try:
        return normalise(
            FetchedPaper(
                source="arxiv",
                source_id=id,
                version=version,
                title=text(entry, f"{_ATOM}title"),
                abstract=text(entry, f"{_ATOM}summary"),
                authors=tuple(text(author, f"{_ATOM}name") for author in authors),
                categories=tuple(category.get("term", "") for category in categories),
                listed_on=parse_day(text(entry, f"{_ATOM}published")) or arxiv_month(id),
                comment=text(entry, f"{_ARXIV}comment"),
                doi=first_doi(text(entry, f"{_ARXIV}doi")),
            )
        )
    except RejectedRecord:
        return None
