"""An entry of a feed of any format, and the paper that is made from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from triage.domain.author_names import split_names
from triage.domain.paper_ids import find_ids, is_feed_page
from triage.domain.source_records import FetchedPaper
from triage.errors import RejectedRecord
from triage.sources.text.cleaning import (
    ABSTRACT_CHARS,
    RAW_CHARS,
    clean,
    normalise,
    parse_mail_date,
)
from triage.sources.text.dates import DateRange, parse_dates
from triage.sources.text.html import html_to_text

# No feed is older (RSS 0.90); an earlier date comes from a clock that was not set.
_FIRST_FEEDS: Final = date(1999, 3, 1)
_READ_CHARS: Final = 4 * ABSTRACT_CHARS
_MARKUP_CHARS: Final = 4_000
_SHORT_SUMMARY: Final = 200
_LONGEST_ID: Final = 180
_LONGEST_URL: Final = 2_000
_MOST_NAMES: Final = 1_000
_DATE_CHARS: Final = 100
_PREFIXES: Final = ("www.", "feeds.", "feed.", "rss.")
# RFC 3986, 3.3 and 3.4, without brackets and quotation marks.
_KEPT: Final = "%/:=&?~+!$,;@*-._"
_ADDRESS: Final = re.compile(r"[(<]?[^\s()<>]{1,100}@[^\s()<>]{1,100}[)>]?")
_AFFILIATION: Final = re.compile(r"<sup>[^<>]{0,40}</sup>", re.IGNORECASE)


class NoAbstractError(RejectedRecord):
    """An entry has a title and no text, as issue information and editorials have none."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text as received."""

    value: str = ""
    is_html: bool = False

    def plain(self, limit: int) -> str:
        """Return it without markup; of HTML, only the first `limit` characters are read."""
        return html_to_text(self.value[:limit]) if self.is_html else self.value


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One entry.

    Attributes:
        dates: every date as received, the publication first.
        ids: the paper's ids, as `find_ids` gives them, in the order of their trust.
        first_key: the key before guid and link were found to tell nothing; else empty.
    """

    guid: str
    link: str
    title: Text
    summary: Text = Text()
    content: Text = Text()
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    ids: tuple[tuple[str, str], ...] = ()
    first_key: str = ""

    @property
    def key(self) -> str:
        """A hash of the guid, the link or the title; empty if there is none of them."""
        own = self.guid or self.link or self.title.value
        return self.first_key or (hash_text(own) if own else "")

    @property
    def text(self) -> str:
        """Summary and content as received."""
        return f"{self.summary.value}\0{self.content.value}"

    @property
    def fingerprint(self) -> str:
        """A hash of title and text."""
        return hash_text(f"{self.title.value}\0{self.text}")

    @property
    def shown(self) -> str:
        """The text that is kept of a rejected entry."""
        return json.dumps([self.guid, self.link, self.title.value, self.summary.value])

    def paper(self, source: str, url: str, on: date) -> FetchedPaper:
        """Return the paper.

        Args:
            source: the feed's own id scheme, for a paper without another id.
            url: the feed's address.
            on: the day on which the entry was first seen.

        Raises:
            NoAbstractError: it has a title, but no text.
            RejectedRecord: it has no title.
        """
        summary = self.summary.plain(_READ_CHARS).strip()
        content = self.content.plain(_READ_CHARS).strip()
        is_short = len(summary) < min(_SHORT_SUMMARY, len(content))
        scheme, id, doi = self._identity(source, url)
        paper = FetchedPaper(
            source=scheme,
            source_id=id,
            title=self.title.plain(_MARKUP_CHARS),
            abstract=content if is_short else summary,
            raw_title=self.title.value,
            raw_abstract=(self.content if is_short else self.summary).value,
            authors=tuple(_people(self.authors)),
            categories=self.categories[:_MOST_NAMES],
            listed_on=_day(self.dates, on),
            doi=doi,
        )
        try:
            return normalise(paper)
        except RejectedRecord as error:
            if clean(paper.title, _MARKUP_CHARS) and not clean(paper.abstract, _MARKUP_CHARS):
                raise NoAbstractError(str(error)) from error
            raise

    def _identity(self, source: str, url: str) -> tuple[str, str | None, str | None]:
        """Return the scheme and id of the paper, and its DOI if that is not the id."""
        dois = [id for scheme, id in self.ids if scheme == "doi"]
        for scheme, id in self.ids:
            if scheme == "arxiv":
                return scheme, id, dois[0] if dois else None
        if dois:
            return "doi", dois[0], None
        own = self.guid or self.link
        return source, (own_site_url(own, url) or _foreign_id(own)) if own else None, None


def own_site_url(address: str, feed_url: str) -> str | None:
    """Return the https address of a page on the feed's own site; None for anything else.

    The site is the feed's host, with or without `www`, since the operator has configured it. A
    feed's addresses on other hosts never become links.
    """
    if len(address) > _LONGEST_URL or not address.startswith(("http://", "https://")):
        return None
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    is_plain = parts.username is None and parts.password is None and port is None
    if not is_plain or _site(host) != _site(urlsplit(feed_url).hostname or ""):
        return None
    query = f"?{parts.query}" if parts.query else ""
    page = f"https://{host}{quote(parts.path or '/', safe=_KEPT)}{quote(query, safe=_KEPT)}"
    return page if len(page) <= _LONGEST_ID and is_feed_page(page) else None


def absolute_url(address: str, feed_url: str) -> str:
    """Return an entry's link as an absolute address, or unchanged if it cannot be one."""
    try:
        return urljoin(feed_url, address.strip()) if address.strip() else ""
    except ValueError:
        return address


def ids_in(fields: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the ids of papers in fields that are made for ids, each once."""
    return tuple(dict.fromkeys(id for field in fields for id in find_ids(field[:_LONGEST_URL])))


def _site(host: str) -> str:
    return next((host.removeprefix(p) for p in _PREFIXES if host.startswith(p)), host)


def _foreign_id(text: str) -> str:
    """Return an id that cannot be read as an address."""
    return f"guid:{text if clean(text, _LONGEST_ID) == text else hash_text(text)}"


def _people(names: tuple[str, ...]) -> list[str]:
    """Return the names without mail addresses; a single field may contain several names."""
    plain = [
        _ADDRESS.sub("", html_to_text(_AFFILIATION.sub("", name[:RAW_CHARS])))
        for name in names[:_MOST_NAMES]
    ]
    several = split_names(plain[0]) if len(plain) == 1 else plain
    return [name[:_MARKUP_CHARS].strip(" ()<>,") for name in several]


def _day(dates: Iterable[str], on: date) -> date:
    """Return the day of the first date that can be true, in the entry's own time zone.

    Of a month or year it is `on` if that lies in it, else its first day. It is `on` if no date is
    readable, or all are after `on` or before there were feeds.
    """
    for text in dates:
        days = read_date(text)
        if days is not None and _FIRST_FEEDS <= days.first <= on:
            return on if days.first < on <= days.last else days.first
    return on


def read_date(text: str) -> DateRange | None:
    """Return the days that a date may mean, None if it has no form of a date."""
    text = text.strip()[:_DATE_CHARS]
    # Nearly all dates have one of these forms, and are read at once.
    try:
        day: date | None = datetime.fromisoformat(text).date()
    except ValueError:
        day = parse_mail_date(text)
    return parse_dates(text) if day is None else DateRange(day, day)


def hash_text(text: str) -> str:
    """Return 64 bits of a hash of `text`, as hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
