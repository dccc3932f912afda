"""An entry of a feed of any format, and the paper that is made from it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from triage.domain.paper_ids import identify, is_feed_page, parse_doi
from triage.domain.source_records import FetchedPaper
from triage.sources.text.cleaning import (
    ABSTRACT_CHARS,
    RAW_CHARS,
    clean,
    normalise,
    parse_mail_date,
)
from triage.sources.text.html import html_to_text

# No feed is older (RSS 0.90); an earlier date comes from a clock that was not set.
_FIRST_FEEDS: Final = date(1999, 3, 1)
_READ_CHARS: Final = 4 * ABSTRACT_CHARS
_MARKUP_CHARS: Final = 4_000
_SHORT_SUMMARY: Final = 200
_LONGEST_ID: Final = 180
_LONGEST_URL: Final = 2_000
_MOST_NAMES: Final = 1_000
_PREFIXES: Final = ("www.", "feeds.", "feed.", "rss.")
# RFC 3986, 3.3 and 3.4, without brackets and quotation marks.
_KEPT: Final = "%/:=&?~+!$,;@*-._"
_DOI_IN_PATH: Final = re.compile(r"/doi/(?:(?:abs|full|pdf|epdf)/)?(10\.[0-9]{4,9}/[^?#]+)")
_ADDRESS: Final = re.compile(r"[(<]?[^\s()<>]{1,100}@[^\s()<>]{1,100}[)>]?")
_BETWEEN_NAMES: Final = re.compile(r",(?!\s*(?:[JS]r\b|I+\b))|;")


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
    """One entry. `ids` are further ids of the paper, in addition to `guid` and `link`."""

    guid: str
    link: str
    title: Text
    summary: Text = Text()
    content: Text = Text()
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    published: str = ""
    ids: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """A hash that identifies the entry within its feed; empty if it has no id or title."""
        own = self.guid or self.link or self.title.value
        return _hash(own) if own else ""

    @property
    def fingerprint(self) -> str:
        """A hash of the entry's text."""
        return _hash("\0".join((self.title.value, self.summary.value, self.content.value)))

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
            RejectedRecord: it has no title or no text.
        """
        summary = self.summary.plain(_READ_CHARS).strip()
        content = self.content.plain(_READ_CHARS).strip()
        is_short = len(summary) < min(_SHORT_SUMMARY, len(content))
        scheme, id, doi = self._identity(source, url)
        return normalise(
            FetchedPaper(
                source=scheme,
                source_id=id,
                title=self.title.plain(_MARKUP_CHARS),
                abstract=content if is_short else summary,
                raw_title=self.title.value,
                raw_abstract=(self.content if is_short else self.summary).value,
                authors=tuple(_people(self.authors)),
                categories=self.categories[:_MOST_NAMES],
                listed_on=_day(self.published, on),
                doi=doi,
            )
        )

    def _identity(self, source: str, url: str) -> tuple[str, str | None, str | None]:
        """Return the scheme and id of the paper, and its DOI if that is not the id."""
        named = [found for text in (*self.ids, self.guid, self.link) if (found := _named(text))]
        dois = [id for scheme, id in named if scheme == "doi"]
        for scheme, id in named:
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


def _named(text: str) -> tuple[str, str] | None:
    found = identify(text)
    if found is not None:
        return found[0], found[1]
    in_path = _DOI_IN_PATH.search(text[:_LONGEST_URL])
    doi = parse_doi(in_path[1]) if in_path else None
    return None if doi is None else ("doi", doi)


def _site(host: str) -> str:
    return next((host.removeprefix(p) for p in _PREFIXES if host.startswith(p)), host)


def _foreign_id(text: str) -> str:
    """Return an id that cannot be read as an address."""
    return f"guid:{text if clean(text, _LONGEST_ID) == text else _hash(text)}"


def _people(names: tuple[str, ...]) -> list[str]:
    """Return the names without mail addresses; a single field may contain several names."""
    several = list(names[:_MOST_NAMES])
    if len(several) == 1:
        parts = [part.strip() for part in _BETWEEN_NAMES.split(several[0][:RAW_CHARS])]
        # "Lovelace, Ada" is one person.
        if all(" " in part for part in parts if part):
            several = parts
    return [_ADDRESS.sub("", name[:_MARKUP_CHARS]).strip(" ()<>") for name in several]


def _day(published: str, on: date) -> date:
    """Return the publication date in the entry's own time zone; `on` if it is absent or impossible.

    It is an ISO 8601 date, compact (`20260302`) or not, or one of RFC 822.
    """
    text = published.strip()[:100]
    try:
        day: date | None = datetime.fromisoformat(text).date()
    except ValueError:
        day = parse_mail_date(text)
    return day if day is not None and _FIRST_FEEDS <= day <= on else on


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
