"""Any feed: RSS 0.9x, 1.0 and 2.0, Atom, and JSON Feed 1.x. Gatekeeper of feedparser.

A feed shows its newest entries and says neither how many there were nor when it will have more. So
what is new is decided by the entries' ids: a fetch gives what the last one did not show.
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
from triage.sources.feed.entries import FeedEntry, Text, absolute
from triage.sources.http.client import PoliteClient
from triage.sources.text import json as bounded_json
from triage.sources.text import xml
from triage.sources.text.cleaning import reject

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
        gate: shared by all requests to the feed's host; unless the operator allows a private
            address, its transport is `PinnedTransport`.
        name: as configured; the source's own name is `feed:<name>`.
        url: the feed's address.
        on: the day that counts as today.
    """

    def __init__(self, gate: PoliteClient, name: str, url: str, on: date) -> None:
        self.name = f"feed:{name}"
        self._gate = gate
        self._url = url
        self._on = on

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield what is new or changed since `cursor`; the last batch says how today stands.

        A changed entry changes its paper and brings none. A feed that had entries and has none any
        more is suspect, and what was known of it stays known.

        Raises:
            SourceError: the feed cannot be read, or more than a fifth of it is unusable. The day's
                verdict was yielded before.
        """
        state = _State.load(cursor, self._url, self._on)
        try:
            answer = self._gate.get(self._url, etag=state.etag, modified=state.modified)
            entries = None if answer.not_modified else _by_key(parse(answer.body, self._url))
        except SourceError as error:
            if not state.is_read:
                yield Batch(days=(self._day(Verdict.FAILED, None, 0, str(error)),))
            raise
        if entries is None:
            state.is_read = True
            yield Batch(cursor=state.cursor(), days=(self._complete(state),))
            return
        # They count only once all is stored: a fetch that is cut short gets the feed again.
        state.etag = state.modified = ""
        if state.seen and not entries:
            note = "the feed had entries before, and has none"
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
                "kept in quarantine and read again at the next fetch."
            )
        state.etag, state.modified, state.is_read = answer.etag, answer.modified, True
        yield replace(last, cursor=state.cursor(), days=(self._complete(state),))

    def _batch(self, entries: Mapping[str, FeedEntry], state: _State) -> Batch:
        """Make records of new and changed entries, and note them as seen."""
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
                papers.append(self._numbered(paper, version))
                if not version:
                    state.got += 1
                    state.n_bad -= bool(state.n_bad and key in state.seen)
                version += 1
            state.seen[key] = (entry.fingerprint, version)
        return Batch(tuple(papers), tuple(rejected), state.cursor())

    def _numbered(self, paper: FetchedPaper, version: int) -> FetchedPaper:
        """Return the paper as a change of the one before it, if there was one.

        The feed numbers no versions; ours are for papers that nobody else may speak of.
        """
        if paper.source == self.name:
            paper = replace(paper, version=version + 1)
        return replace(paper, update_only=version > 0)

    def _complete(self, state: _State) -> SourceDay:
        note = f"{state.n_bad} kept aside: could not be used" if state.n_bad else ""
        return self._day(Verdict.COMPLETE, state.got + state.n_bad, state.got, note)

    def _day(self, verdict: Verdict, expected: int | None, got: int, note: str) -> SourceDay:
        return SourceDay(self.name, self._on, verdict, expected, got, note[:_NOTE_CHARS])


@dataclass
class _State:
    """The cursor's content.

    Attributes:
        url: tells feeds apart; a fetch of another one starts from the beginning.
        on: the day of what follows: whether the feed was read on it, and how many entries it
            brought that could be used and that could not.
        seen: the entries of the feed as it was last, by their keys: the fingerprint, and how many
            times it was used; 0 is for one that could not be.
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
        """Read a cursor; what is none of ours starts from the beginning, which loses nothing."""
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
        """Let the next fetch try them again: the feed, or triage, may be mended by then."""
        self.seen = {key: seen for key, seen in self.seen.items() if seen[1]}
        self.n_bad = 0


def parse(body: bytes, url: str) -> list[FeedEntry]:
    """Read a feed of any form; `url` is its address.

    Raises:
        SourceError: it is no feed, or unsafe to read.
    """
    if body[:100].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return _json_entries(body, url)
    return _xml_entries(body, url)


def _by_key(entries: list[FeedEntry]) -> dict[str, FeedEntry]:
    """Return each entry once, in the feed's order; what has no id goes by its place."""
    found: dict[str, FeedEntry] = {}
    for place, entry in enumerate(entries):
        found.setdefault(entry.key or str(place), entry)
    return found


# -- RSS and Atom ----------------------------------------------------------------------------------


def _xml_entries(body: bytes, url: str) -> list[FeedEntry]:
    xml.check(body, "The feed", _ENTRIES, MOST_ENTRIES)
    import feedparser

    try:
        # A stream: feedparser would take text for the name of a file or of a page to fetch.
        feed = feedparser.parse(io.BytesIO(body), sanitize_html=False, resolve_relative_uris=False)
    except Exception as error:
        # It was made to read anything, and meets with surprises of its own.
        raise SourceError(f"The feed cannot be read ({type(error).__name__}).") from error
    if not feed.version:
        raise SourceError("The feed is XML, but neither RSS nor Atom. Check `url` in the config.")
    return [_xml_entry(entry, url) for entry in feed.entries]


def _xml_entry(fields: Any, url: str) -> FeedEntry:
    """Read what feedparser found; `dict.get` knows no aliases, which it warns of."""

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
        link=absolute(text("link"), url),
        title=marked(dict.get(fields, "title_detail") or {}),
        summary=marked(dict.get(fields, "summary_detail") or {}),
        content=max(contents, key=lambda content: len(content.value), default=Text()),
        # One author's name feedparser would tell from the address, and cuts names in two by that.
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
    feed = bounded_json.loads(body, "The feed")
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
    html = text("content_html")
    return FeedEntry(
        guid=str(number) if isinstance(number, int | float) else text("id").strip(),
        link=absolute(text("url"), url),
        title=Text(text("title")),
        summary=Text(text("summary")),
        content=Text(html, is_html=True) if html else Text(text("content_text")),
        authors=_names(people, "name"),
        categories=tuple(tag for tag in tags if isinstance(tag, str))
        if isinstance(tags, list)
        else (),
        published=text("date_published") or text("date_modified"),
        ids=tuple(filter(None, (text("external_url"),))),
    )
