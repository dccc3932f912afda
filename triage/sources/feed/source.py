"""Feeds: RSS 0.9x, 1.0 and 2.0, Atom, and JSON Feed 1.x. The only module with feedparser.

A feed has its newest entries, but no count and no schedule. So a paper is new if none of the
entries of earlier fetches was the same paper.
https://www.rssboard.org/rss-specification, RFC 4287 and https://jsonfeed.org/version/1.1.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any, Final

from triage.domain.chunks import chunks
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, FetchedPaper, Rejected, SourceDay
from triage.errors import RejectedRecord, SourceError
from triage.sources.feed.cursor import NO_ABSTRACT, UNUSABLE, FeedState, SeenEntry
from triage.sources.feed.entries import (
    FeedEntry,
    NoAbstractError,
    Text,
    absolute_url,
    ids_in,
    read_date,
)
from triage.sources.feed.identity import distinct_entries
from triage.sources.http.client import PoliteClient
from triage.sources.text import xml
from triage.sources.text.cleaning import MOST_REJECTED, NOTE_CHARS, reject
from triage.sources.text.json import dig, loads
from triage.sources.text.xml_repair import repair, to_utf8

MOST_ENTRIES: Final = 5_000
BATCH: Final = 200
_ENTRIES: Final = frozenset({"item", "entry"})
_JSON_FEED: Final = "https://jsonfeed.org/version/1"
_FEWEST_PAPERLESS: Final = 5
_MOST_NAMES: Final = 1_000
# feedparser keeps the last of several.
_FIELD: Final = re.compile(
    rb"<(?:[\w.-]{1,40}:)?(identifier|doi|origLink|pubDate|published|updated|created|issued|modified"
    rb"|date|publicationDate|coverDate)\b[^<>]{0,500}>\s*(?:<!\[CDATA\[)?([^<\]]{1,2000})"
)
_BLANKS: Final = bytes(max(32, byte) for byte in range(256))
_IDS: Final = frozenset({"identifier", "doi", "origLink"})


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
        suspect, and its earlier entries stay in the cursor. Of a feed with more than MOST_ENTRIES
        entries, the newest are read, and the day is partial.

        Raises:
            SourceError: the feed cannot be read, or more than a fifth of it is unusable. The day's
                verdict is yielded first.
        """
        state = FeedState.load(cursor, self._url, self._on)
        try:
            answer = self.client.get(self._url, etag=state.etag, modified=state.modified)
            if not answer.not_modified:
                newest, n_total = parse(answer.body, self._url, answer.charset)
        except SourceError as error:
            if not state.is_read:
                yield Batch(days=(self._day(Verdict.FAILED, None, 0, str(error)),))
            raise
        if answer.not_modified:
            state.is_read = True
            yield Batch(cursor=state.cursor(), days=(self._read_day(state),))
            return
        # Set again at the end only, so an interrupted fetch gets the feed again.
        state.etag = state.modified = ""
        entries = distinct_entries(newest)
        if state.seen and not entries:
            note = "the feed had entries before, and has none now"
            suspect = self._day(Verdict.EMPTY_SUSPECT, None, state.got, note)
            yield Batch(cursor=state.cursor(), days=(suspect,))
            return
        known = state.match(entries)
        last = Batch()
        news = [pair for pair in zip(entries, known, strict=True) if pair[1].is_news(pair[0])]
        state.count_left_out(n_total, n_total - len(newest), known)
        for n, some in enumerate(chunks(news, BATCH)):
            if n:
                yield last
            last = self._batch(some, state)
        n_bad, why = sum(each.version == UNUSABLE for each in known), "could not be used"
        # Some entries without an abstract are usual; if all have none, the form may be another.
        if len(known) >= _FEWEST_PAPERLESS and all(each.version < 1 for each in known):
            n_bad, why = len(known), "have no abstract"
        if n_bad > MOST_REJECTED * len(entries):
            state.forget_unusable()
            note = f"{n_bad} of {len(entries)} entries {why}"
            failed = self._day(Verdict.FAILED, state.got + n_bad, state.got, note)
            yield replace(last, cursor=state.cursor(), days=(failed,))
            raise SourceError(
                f"{n_bad} of the {len(entries)} entries of this feed {why}. They are in quarantine,"
                " and the next fetch reads them again."
            )
        state.etag, state.modified, state.is_read = answer.etag, answer.modified, True
        yield replace(last, cursor=state.cursor(), days=(self._read_day(state),))

    def _batch(self, some: Sequence[tuple[FeedEntry, SeenEntry]], state: FeedState) -> Batch:
        """Return the papers of new and changed entries, and note them as seen."""
        papers: list[FetchedPaper] = []
        rejected: list[Rejected] = []
        taken = {each.id for each in state.seen}
        for entry, known in some:
            before, first_seen = known.version, known.on if known.version > 0 else self._on
            try:
                paper = entry.paper(self.name, self._url, first_seen)
            except RejectedRecord as error:
                rejected.append(reject(str(error), entry.shown, f"feed of {self._on}, {entry.key}"))
                after = NO_ABSTRACT if isinstance(error, NoAbstractError) else UNUSABLE
                after = max(before, after) if before > 0 else after
            else:
                after = max(before, 0) + 1
                paper = _under_own_id(paper, self.name, entry, known, taken)
                if paper.source == self.name:
                    # The feed has no versions; ours are for papers that no other source has.
                    paper = replace(paper, version=after)
                    known.id = paper.source_id or ""
                    taken.add(known.id)
                papers.append(replace(paper, update_only=before > 0))
            state.count(known, after)
            known.version, known.on, known.fingerprint = after, first_seen, entry.fingerprint
        return Batch(tuple(papers), tuple(rejected), state.cursor())

    def _read_day(self, state: FeedState) -> SourceDay:
        notes = []
        if state.n_left_out:
            notes.append(f"only the newest {MOST_ENTRIES:,} of {state.n_total:,} entries were read")
        if state.n_unusable:
            notes.append(f"{state.n_unusable} kept aside: could not be used")
        if state.n_no_abstract:
            notes.append(f"{state.n_no_abstract} kept aside: no abstract")
        verdict = Verdict.PARTIAL if state.n_left_out else Verdict.COMPLETE
        expected = state.got + state.n_unusable + state.n_left_out
        return self._day(verdict, expected, state.got, "; ".join(notes))

    def _day(self, verdict: Verdict, expected: int | None, got: int, note: str) -> SourceDay:
        return SourceDay(self.name, self._on, verdict, expected, got, note[:NOTE_CHARS])


def _under_own_id(
    paper: FetchedPaper, source: str, entry: FeedEntry, known: SeenEntry, taken: set[str]
) -> FetchedPaper:
    """Return the paper under the id that it had, or another than those that are taken."""
    if known.id and paper.source == "doi":
        paper = replace(paper, doi=paper.source_id)
    if known.id:
        return replace(paper, source=source, source_id=known.id)
    if paper.source == source and paper.source_id in taken:
        return replace(paper, source_id=f"guid:text:{entry.fingerprint}")
    return paper


def parse(body: bytes, url: str, charset: str = "") -> tuple[list[FeedEntry], int]:
    """Parse a feed of any format.

    Args:
        url: its address.
        charset: of the HTTP header.

    Returns:
        The newest MOST_ENTRIES entries, in the feed's order, and how many entries the feed has.

    Raises:
        SourceError: it is no feed, or unsafe to read.
    """
    body = to_utf8(body, charset)
    is_json = body[:100].lstrip().startswith(b"{")
    return _json_entries(body, url) if is_json else _xml_entries(body, url)


def _newest(dates: Sequence[Iterable[str]]) -> list[int]:
    """Return the places, in order, of the MOST_ENTRIES newest entries.

    One without a date counts as old as the entry before it; without any, the first are newest.
    """
    if len(dates) <= MOST_ENTRIES:
        return list(range(len(dates)))
    days, day = list[date](), date.max
    for texts in dates:
        found = next(filter(None, map(read_date, texts)), None)
        day = found.last if found else day
        days.append(day)
    places = sorted(range(len(dates)), key=lambda place: -days[place].toordinal())
    return sorted(places[:MOST_ENTRIES])


# -- RSS and Atom ----------------------------------------------------------------------------------


def _xml_entries(body: bytes, url: str) -> tuple[list[FeedEntry], int]:
    xml.check_before_repair(body, "The feed")
    body, places = xml.check_limits(repair(body), "The feed", _ENTRIES)
    fields = [_read_fields(body[start:end]) for start, end in places]
    kept = _newest([dates for _, dates in fields])
    if len(kept) < len(places):
        body = _without_entries(body, places, kept)
        fields = [fields[place] for place in kept]
    import feedparser

    try:
        # A stream: feedparser would open a string as a file or an address.
        feed = feedparser.parse(io.BytesIO(body), sanitize_html=False, resolve_relative_uris=False)
    except Exception as error:
        # It accepts any input, and has bugs of its own.
        raise SourceError(f"The feed cannot be read ({type(error).__name__}).") from error
    if not (feed.version or feed.entries):
        raise SourceError("The feed is XML, but neither RSS nor Atom. Check `url` in the config.")
    if len(feed.entries) != len(fields):
        fields = [((), ())] * len(feed.entries)
    # Of RSS, the people of the channel are its editors.
    everyone = _people(feed.feed) if feed.version.startswith("atom") else ()
    entries = [
        _xml_entry(entry, url, ids, dates, everyone)
        for entry, (ids, dates) in zip(feed.entries, fields, strict=True)
    ]
    return entries, len(entries) + len(places) - len(kept)


def _read_fields(entry: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the texts of all elements of an entry that are made for ids, and for dates."""
    ids, dates = list[str](), list[str]()
    for name, text in _FIELD.findall(entry):
        plain = html.unescape(text.decode("utf-8", "replace")).strip()
        (ids if name.decode() in _IDS else dates).append(plain)
    return tuple(ids), tuple(dates)


def _without_entries(body: bytes, places: Sequence[tuple[int, int]], kept: list[int]) -> bytes:
    view, keep, at = memoryview(body), set(kept), 0
    pieces = []
    for place, (start, end) in enumerate(places):
        if place not in keep:
            pieces.append(view[at:start])
            at = end
    return b"".join([*pieces, view[at:]])


def _xml_entry(
    fields: Any, url: str, ids: tuple[str, ...], dates: tuple[str, ...], everyone: tuple[str, ...]
) -> FeedEntry:
    """Convert an entry of feedparser; `dict.get` avoids its aliases and their warnings."""

    def text(key: str) -> str:
        value = dict.get(fields, key)
        return value if isinstance(value, str) else ""

    def marked(detail: Any) -> Text:
        kind = detail.get("type") or ""
        return Text(detail.get("value") or "", is_html="html" in kind)

    contents = [marked(content) for content in dict.get(fields, "content") or ()]
    guid, link = text("id").strip(), absolute_url(text("link"), url)
    best_dates = (text("published"), text("updated"), text("prism_publicationdate"))
    # RFC 4287, 4.2.1: the authors of the entry, of the feed that it is from, of this feed.
    source = dict.get(fields, "source") or {}
    return FeedEntry(
        guid=guid,
        link=link,
        title=marked(dict.get(fields, "title_detail") or {}),
        summary=marked(dict.get(fields, "summary_detail") or {}),
        content=max(contents, key=lambda content: len(content.value), default=Text()),
        authors=_people(fields) or _people(source) or everyone,
        categories=_names(dict.get(fields, "tags"), "term"),
        dates=tuple(filter(None, (*best_dates, *dates))),
        ids=ids_in((text("prism_doi"), *ids, guid, link)),
    )


def _people(fields: Any) -> tuple[str, ...]:
    names = _names(dict.get(fields, "authors"), "name")
    # feedparser separates one author's name from the address, and cuts some names by that.
    author = dict.get(fields, "author")
    return names if len(names) > 1 or not isinstance(author, str) else (author,)


def _names(values: Any, key: str) -> tuple[str, ...]:
    found = [value.get(key) for value in values or () if isinstance(value, Mapping)]
    return tuple(name for name in found if isinstance(name, str) and name)[:_MOST_NAMES]


# -- JSON Feed -------------------------------------------------------------------------------------


def _json_entries(body: bytes, url: str) -> tuple[list[FeedEntry], int]:
    # Line breaks within a text are an error in JSON, and anywhere else they are blanks.
    feed = loads(body.translate(_BLANKS), "The feed")
    items = dig(feed, dict).get("items")
    if not isinstance(items, list) or not dig(feed, str, "version").startswith(_JSON_FEED):
        raise SourceError("The feed is JSON, but no JSON Feed. Check `url` in the config.")
    fields = [item if isinstance(item, dict) else {"title": str(item)[:100]} for item in items]
    kept = _newest([_json_dates(each) for each in fields])
    everyone = _json_people(feed)
    return [_json_entry(fields[place], url, everyone) for place in kept], len(items)


def _json_entry(fields: dict[str, Any], url: str, everyone: tuple[str, ...]) -> FeedEntry:
    text = partial(dig, fields, str)
    number = fields.get("id")
    markup = text("content_html")
    guid = str(number) if isinstance(number, int | float) else text("id").strip()
    link = absolute_url(text("url"), url)
    return FeedEntry(
        guid=guid,
        link=link,
        title=Text(text("title")),
        summary=Text(text("summary")),
        content=Text(markup, is_html=True) if markup else Text(text("content_text")),
        authors=_json_people(fields) or everyone,
        categories=tuple(tag for tag in dig(fields, list, "tags") if isinstance(tag, str)),
        dates=_json_dates(fields),
        ids=ids_in((text("external_url"), guid, link)),
    )


def _json_people(fields: dict[str, Any]) -> tuple[str, ...]:
    """Return the authors of an item or a feed: `authors` of version 1.1, `author` of 1.0."""
    people = dig(fields, list, "authors") or [fields.get("author")]
    return _names(people, "name") or tuple(each for each in people if isinstance(each, str))


def _json_dates(fields: dict[str, Any]) -> tuple[str, ...]:
    found = (dig(fields, str, key) for key in ("date_published", "date_modified"))
    return tuple(filter(None, found))
