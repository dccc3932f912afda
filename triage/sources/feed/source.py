"""Feeds: RSS 0.9x, 1.0 and 2.0, Atom, and JSON Feed 1.x. The only module with feedparser.

A feed has its newest entries, but no count and no schedule. So entries are new if their ids were
not in the feed at the last fetch.
https://www.rssboard.org/rss-specification, RFC 4287 and https://jsonfeed.org/version/1.1.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from hashlib import blake2b
from typing import Any, Final

from triage.domain.chunks import chunks
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, FetchedPaper, Rejected, SourceDay
from triage.errors import RejectedRecord, SourceError
from triage.sources.feed.entries import FeedEntry, Text, absolute_url
from triage.sources.http.client import PoliteClient
from triage.sources.text import xml
from triage.sources.text.cleaning import reject
from triage.sources.text.json import loads

MOST_ENTRIES: Final = 5_000
BATCH: Final = 200
_ENTRIES: Final = frozenset({"item", "entry"})
_JSON_FEED: Final = "https://jsonfeed.org/version/1"
_FORM: Final = 1
_MOST_REJECTED: Final = 0.2
_NOTE_CHARS: Final = 400
_MOST_NAMES: Final = 1_000


class FeedSource:
    """One feed.

    Args:
        client: shared by all requests to the feed's host; unless the operator allows a private
            address, its transport is `PinnedTransport`.
        name: as configured; the source's own name is `feed:<name>`.
        on: the day that counts as today.
    """

    def __init__(self, client: PoliteClient, name: str, url: str, on: date) -> None:
        self.name = f"feed:{name}"
        self.client = client
        self._url = url
        self._on = on

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield new and changed entries since `cursor`; the last batch has today's verdict.

        A changed entry only changes its stored paper. A feed that had entries and has none now is
        suspect, and its earlier entries stay in the cursor.

        Raises:
            SourceError: the feed cannot be read, or more than a fifth of it is unusable. The day's
                verdict is yielded first.
        """
        state = _State.load(cursor, self._url, self._on)
        try:
            answer = self.client.get(self._url, etag=state.etag, modified=state.modified)
            entries = None if answer.not_modified else _by_key(parse(answer.body, self._url))
        except SourceError as error:
            if not state.is_read:
                yield Batch(days=(self._day(Verdict.FAILED, None, 0, str(error)),))
            raise
        if entries is None:
            state.is_read = True
            yield Batch(cursor=state.cursor(), days=(self._complete(state),))
            return
        # Set again at the end only, so an interrupted fetch gets the feed again.
        state.etag = state.modified = ""
        if state.seen and not entries:
            note = "the feed had entries before, and has none now"
            suspect = self._day(Verdict.EMPTY_SUSPECT, None, state.got, note)
            yield Batch(cursor=state.cursor(), days=(suspect,))
            return
        last = Batch()
        news = [key for key, entry in entries.items() if state.is_news(key, entry)]
        for n, some in enumerate(chunks(news, BATCH)):
            if n:
                yield last
            last = self._batch({key: entries[key] for key in some}, state)
        state.seen = {key: state.seen[key] for key in entries}
        n_bad = sum(not version for _, version in state.seen.values())
        if n_bad > _MOST_REJECTED * len(entries):
            state.forget_unusable()
            failed = self._day(Verdict.FAILED, state.got + n_bad, state.got, "most is unusable")
            yield replace(last, cursor=state.cursor(), days=(failed,))
            raise SourceError(
                f"{n_bad} of the {len(entries)} entries of this feed could not be used. They are "
                "in quarantine, and the next fetch reads them again."
            )
        state.etag, state.modified, state.is_read = answer.etag, answer.modified, True
        yield replace(last, cursor=state.cursor(), days=(self._complete(state),))

    def _batch(self, entries: Mapping[str, FeedEntry], state: _State) -> Batch:
        """Return the papers of new and changed entries, and note them as seen."""
        papers: list[FetchedPaper] = []
        rejected: list[Rejected] = []
        for key, entry in entries.items():
            _, version = state.seen.get(key, ("", 0))
            try:
                paper = entry.paper(self.name, self._url, self._on)
            except RejectedRecord as error:
                rejected.append(reject(str(error), entry.shown, f"feed of {self._on}, {key}"))
                state.n_bad += not version
            else:
                if paper.source == self.name:
                    # The feed has no versions; ours are for papers that no other source has.
                    paper = replace(paper, version=version + 1)
                papers.append(replace(paper, update_only=version > 0))
                if not version:
                    state.got += 1
                    state.n_bad -= bool(state.n_bad and key in state.seen)
                version += 1
            state.seen[key] = (entry.fingerprint, version)
        return Batch(tuple(papers), tuple(rejected), state.cursor())

    def _complete(self, state: _State) -> SourceDay:
        note = f"{state.n_bad} kept aside: could not be used" if state.n_bad else ""
        return self._day(Verdict.COMPLETE, state.got + state.n_bad, state.got, note)

    def _day(self, verdict: Verdict, expected: int | None, got: int, note: str) -> SourceDay:
        return SourceDay(self.name, self._on, verdict, expected, got, note[:_NOTE_CHARS])


@dataclass
class _State:
    """The cursor's content.

    Attributes:
        url: a hash of the feed's address; a cursor of another feed is not used.
        on: the day of `is_read` and of the counts of usable (`got`) and unusable entries (`n_bad`).
        seen: from the key of each entry in the last feed to its fingerprint and the number of
            versions used; 0 if it was unusable.
    """

    url: str
    on: date
    etag: str = ""
    modified: str = ""
    is_read: bool = False
    got: int = 0
    n_bad: int = 0
    seen: dict[str, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def load(cls, cursor: str | None, url: str, on: date) -> _State:
        """Read a cursor; an unreadable one starts from the beginning, which loses nothing."""
        url = blake2b(url.encode("utf-8", "replace"), digest_size=8).hexdigest()
        try:
            content = json.loads(cursor or "")
            if (content.pop("form"), content["url"]) != (_FORM, url):
                return cls(url, on)
            seen = {str(key): (str(f), int(n)) for key, (f, n) in content.pop("seen").items()}
            state = cls(**content | {"on": date.fromisoformat(content["on"]), "seen": seen})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return cls(url, on)
        if state.on != on:
            state.on, state.is_read, state.got, state.n_bad = on, False, 0, 0
        return state

    def cursor(self) -> str:
        content = {"form": _FORM} | asdict(self) | {"on": self.on.isoformat()}
        return json.dumps(content, separators=(",", ":"))

    def is_news(self, key: str, entry: FeedEntry) -> bool:
        return key not in self.seen or self.seen[key][0] != entry.fingerprint

    def forget_unusable(self) -> None:
        """Let the next fetch read them again: the feed or triage may be corrected by then."""
        self.seen = {key: seen for key, seen in self.seen.items() if seen[1]}
        self.n_bad = 0


def parse(body: bytes, url: str) -> list[FeedEntry]:
    """Parse a feed of any format; `url` is its address.

    Raises:
        SourceError: it is no feed, or unsafe to read.
    """
    is_json = body[:100].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    return _json_entries(body, url) if is_json else _xml_entries(body, url)


def _by_key(entries: list[FeedEntry]) -> dict[str, FeedEntry]:
    """Return each entry once, in the feed's order; one without an id has its position as key."""
    found: dict[str, FeedEntry] = {}
    for place, entry in enumerate(entries):
        found.setdefault(entry.key or str(place), entry)
    return found


# -- RSS and Atom ----------------------------------------------------------------------------------


def _xml_entries(body: bytes, url: str) -> list[FeedEntry]:
    xml.check_limits(body, "The feed", _ENTRIES, MOST_ENTRIES)
    import feedparser

    try:
        # A stream: feedparser would open a string as a file or an address.
        feed = feedparser.parse(io.BytesIO(body), sanitize_html=False, resolve_relative_uris=False)
    except Exception as error:
        # It accepts any input, and has bugs of its own.
        raise SourceError(f"The feed cannot be read ({type(error).__name__}).") from error
    if not feed.version:
        raise SourceError("The feed is XML, but neither RSS nor Atom. Check `url` in the config.")
    return [_xml_entry(entry, url) for entry in feed.entries]


def _xml_entry(fields: Any, url: str) -> FeedEntry:
    """Convert an entry of feedparser; `dict.get` avoids its aliases and their warnings."""

    def text(key: str) -> str:
        value = dict.get(fields, key)
        return value if isinstance(value, str) else ""

    def marked(detail: Any) -> Text:
        kind = detail.get("type") or ""
        return Text(detail.get("value") or "", is_html="html" in kind)

    names = _names(dict.get(fields, "authors"), "name")
    contents = [marked(content) for content in dict.get(fields, "content") or ()]
    return FeedEntry(
        guid=text("id").strip(),
        link=absolute_url(text("link"), url),
        title=marked(dict.get(fields, "title_detail") or {}),
        summary=marked(dict.get(fields, "summary_detail") or {}),
        content=max(contents, key=lambda content: len(content.value), default=Text()),
        # feedparser separates one author's name from the address, and cuts some names by that.
        authors=names if len(names) > 1 else (text("author"),),
        categories=_names(dict.get(fields, "tags"), "term"),
        published=text("published") or text("updated") or text("prism_publicationdate"),
        ids=tuple(filter(None, (text("prism_doi"), text("dc_identifier")))),
    )


def _names(values: Any, key: str) -> tuple[str, ...]:
    found = [value.get(key) for value in values or () if isinstance(value, Mapping)]
    return tuple(name for name in found if isinstance(name, str) and name)[:_MOST_NAMES]


# -- JSON Feed -------------------------------------------------------------------------------------


def _json_entries(body: bytes, url: str) -> list[FeedEntry]:
    feed = loads(body, "The feed")
    items = feed.get("items") if isinstance(feed, dict) else None
    if not isinstance(items, list) or not str(feed.get("version")).startswith(_JSON_FEED):
        raise SourceError("The feed is JSON, but no JSON Feed. Check `url` in the config.")
    if len(items) > MOST_ENTRIES:
        raise SourceError(f"The feed has more than {MOST_ENTRIES:,} entries, so it was not read.")
    return [
        _json_entry(item if isinstance(item, dict) else {"title": str(item)[:100]}, url)
        for item in items
    ]


def _json_entry(fields: dict[str, Any], url: str) -> FeedEntry:
    def text(key: str) -> str:
        value = fields.get(key)
        return value if isinstance(value, str) else ""

    number = fields.get("id")
    authors = fields.get("authors")
    people = authors if isinstance(authors, list) else [fields.get("author")]
    tags = fields.get("tags")
    tags = tags if isinstance(tags, list) else []
    html = text("content_html")
    return FeedEntry(
        guid=str(number) if isinstance(number, int | float) else text("id").strip(),
        link=absolute_url(text("url"), url),
        title=Text(text("title")),
        summary=Text(text("summary")),
        content=Text(html, is_html=True) if html else Text(text("content_text")),
        authors=_names(people, "name"),
        categories=tuple(tag for tag in tags if isinstance(tag, str)),
        published=text("date_published") or text("date_modified"),
        ids=tuple(filter(None, (text("external_url"),))),
    )
