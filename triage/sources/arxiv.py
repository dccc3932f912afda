"""arXiv: the RSS feed says what is new, the API brings the records.

    feed → which announcements are new, by their ids → API, a page of ids at a time → batches

What the API does not give yet is stored from the feed and asked for again at later fetches, so no
announced paper waits for it. Replacements are taken from the feed alone: they change papers that
are stored, and bring none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from hashlib import blake2b
from itertools import chain
from typing import Final, TypeVar

import structlog

from triage.announcements import empty_verdict, is_announcement_day
from triage.errors import RejectedRecord, SourceError
from triage.records import Batch, FetchedPaper, Rejected, SourceDay, Verdict
from triage.sources._arxiv_state import State
from triage.sources._arxiv_xml import Announcement, Entry, Feed, Kind, parse_entries, parse_feed
from triage.sources._http import Gate
from triage.sources._text import reject

PAGE: Final = 100
POLITE_S: Final = 3.0  # https://info.arxiv.org/help/api/tou.html
FEED_LIMIT: Final = 2_000  # https://info.arxiv.org/help/rss.html
_ASKED_AGAIN: Final = 2
_ASKED_AGAIN_IN_ALL: Final = 5
_NOTE_CHARS: Final = 400

log = structlog.get_logger()

T = TypeVar("T")
Step = tuple[list[FetchedPaper], list[Rejected], set[date]]


class Arxiv:
    """The announcements of some categories.

    Args:
        gate: shared by all requests to arXiv.
        categories: as in `cs.LG`; they are appended to `rss_url`, with `+` between them.
        on: the day that counts as today, which every fetch ends with a verdict on.
        since: the first day to read, where that is earlier than what was read last.
    """

    name = "arxiv"

    def __init__(
        self,
        gate: Gate,
        categories: Sequence[str],
        rss_url: str,
        api_url: str,
        oai_url: str,
        on: date,
        since: date | None = None,
    ) -> None:
        if gate.min_interval_s < POLITE_S:
            _warn_of_haste(gate.min_interval_s)
        self._gate = gate
        self._feed_url = f"{rss_url.rstrip('/')}/{'+'.join(categories)}"
        self._api_url = api_url
        self._oai_url = oai_url
        self._on = on
        self._since = since

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield the papers announced since `cursor`; every batch says how its day stands.

        Raises:
            SourceError: the feed cannot be read, or too much of it is unusable. The day's verdict
                was yielded before. Trouble with the API alone makes the day partial instead.
        """
        state = State.load(cursor, self._feed_url)
        try:
            answer = self._gate.get(self._feed_url, etag=state.etag, modified=state.modified)
            unchanged = answer.not_modified and state.feed_on is not None
            feed = Feed(state.feed_on) if unchanged and state.feed_on else parse_feed(answer.body)
        except SourceError as error:
            weekend = state.feed_on == self._on and not is_announcement_day(self._on)
            if self._on not in state.days and not weekend:
                note = str(error)[:_NOTE_CHARS]
                failed = SourceDay(self.name, self._on, Verdict.FAILED, None, 0, note)
                yield Batch(days=(failed,))
            raise
        if not unchanged:
            # They count only once all is stored: a fetch that is cut short gets the feed again.
            state.etag = state.modified = ""
        news = _News(state, feed)
        api = _Api(self._gate, self._api_url)
        held: Batch | None = None
        waiting = list(state.waiting.items())
        for papers, rejected, days in chain(news.steps(api), _completions(state, waiting, api)):
            if held is not None:
                yield held
            stand = tuple(state.source_day(self.name, on, api.trouble) for on in sorted(days))
            held = Batch(tuple(papers), tuple(rejected), state.cursor(), stand)
        last = held or Batch()
        # They go with the cursor that notes this feed as read, so they are told exactly once.
        verdicts = {day.on: day for day in (*state.missed(self.name, feed.on), *last.days)}
        if feed.on in state.days:
            verdicts[feed.on] = state.source_day(self.name, feed.on, api.trouble)
        verdicts[self._on] = self._verdict(state, news, api)
        failed_day = state.is_failed(feed.on)
        if failed_day:
            state.start_again(feed.on)
        elif not unchanged:
            state.etag, state.modified = answer.etag, answer.modified
        state.feed_on = feed.on
        state.forget_old(max(self._on, feed.on))
        days_of_last = tuple(verdicts[on] for on in sorted(verdicts))
        yield replace(last, cursor=state.cursor(), days=days_of_last)
        if failed_day:
            raise SourceError(
                f"More than a fifth of arXiv's papers of {feed.on} could not be used, so its form "
                "must have changed. They are kept in quarantine and read again at the next fetch."
            )

    def _verdict(self, state: State, news: _News, api: _Api) -> SourceDay:
        """Say how today stands: by its counts, or why it has none."""
        if self._on in state.days:
            return state.source_day(self.name, self._on, api.trouble)
        feed_on = news.feed.on
        if news.is_repeat:
            note = "the feed repeats an earlier day's papers"
        elif feed_on == self._on:
            note = "the feed has nothing new"
        elif feed_on < self._on:
            note = f"the feed is still that of {feed_on}"
        else:
            note = f"the feed has moved on to {feed_on}"
        verdict = empty_verdict(self._on)
        expected = 0 if verdict is Verdict.EMPTY_EXPECTED else None
        return SourceDay(self.name, self._on, verdict, expected, 0, note)


class _News:
    """What of a feed has not been dealt with yet."""

    def __init__(self, state: State, feed: Feed) -> None:
        self.feed = feed
        self._state = state
        around = state.seen_around(feed.on)
        day = state.days.get(feed.on)
        done = day.keys if day else set[str]()
        broken = [(_key(rejected), rejected) for rejected in feed.rejected]
        announced = {a.key for a in feed.announcements} | {key for key, _ in broken}
        self.is_repeat = bool(announced) and announced <= around
        self._broken = [pair for pair in broken if pair[0] not in around | done]
        fresh = [a for a in feed.announcements if a.key not in around | done]
        self._papers = [a for a in fresh if not a.kind.is_replacement]
        self._replacements = [a for a in fresh if a.kind.is_replacement]
        self._has_day = bool(announced) and not self.is_repeat
        self._remark = self._doubt(around)

    def _doubt(self, around: set[str]) -> str:
        n_repeated = sum(a.kind is Kind.NEW and a.key in around for a in self.feed.announcements)
        if self.feed.n_items >= FEED_LIMIT:
            return f"the feed ends at its limit of {FEED_LIMIT:,}: watch fewer categories"
        if n_repeated:
            return f"the feed repeats {n_repeated} earlier papers, so a category may lag behind"
        return ""

    def steps(self, api: _Api) -> Iterator[Step]:
        """Yield the announced papers a page at a time, then the rest, counting all in the state."""
        if not self._has_day:
            return
        on = self.feed.on
        day = self._state.expect(on, len(self._papers) + len(self._broken))
        day.remark = self._remark
        for page in _pages(self._papers):
            entries = api.entries([announced.source_id for announced in page])
            yield self._page(page, entries)
        for bad in _pages(self._broken):
            day.keys.update(key for key, _ in bad)
            day.rejected += len(bad)
            yield [], [rejected for _, rejected in bad], {on}
        for page in _pages(self._replacements):
            papers, rejected = [], []
            for announced in page:
                day.keys.add(announced.key)
                try:
                    papers.append(announced.paper())
                except RejectedRecord as error:
                    rejected.append(_rejected(announced, error))
            yield papers, rejected, {on}

    def _page(self, page: Sequence[Announcement], entries: dict[str, Entry]) -> Step:
        state, day = self._state, self._state.days[self.feed.on]
        papers: list[FetchedPaper] = []
        rejected: list[Rejected] = []
        touched = {self.feed.on}
        for announced in page:
            id, version = announced.source_id, announced.version
            day.keys.add(announced.key)
            paper = _full(entries.get(id), version, announced.on)
            if paper is not None:
                papers.append(paper)
                day.full += 1
                touched |= state.took(id, paper.version or version)
                continue
            try:
                papers.append(announced.paper())
                state.waiting[id, announced.on] = version
            except RejectedRecord as error:
                rejected.append(_rejected(announced, error))
                day.rejected += 1
        return papers, rejected, touched


def _completions(
    state: State, waiting: Sequence[tuple[tuple[str, date], int]], api: _Api
) -> Iterator[Step]:
    """Ask again for what earlier fetches stored from the feed alone."""
    for page in _pages(waiting):
        entries = api.entries(list(dict.fromkeys(id for (id, _), _ in page)))
        papers: list[FetchedPaper] = []
        touched: set[date] = set()
        for (id, on), version in page:
            paper = _full(entries.get(id), version, on)
            if paper is not None and (id, on) in state.waiting:
                papers.append(paper)
                touched |= state.took(id, paper.version or version)
        if papers:
            yield papers, [], touched


class _Api:
    """Asks the API for records. `trouble` says why some did not come."""

    def __init__(self, gate: Gate, url: str) -> None:
        self.trouble = ""
        self._gate = gate
        self._url = url
        self._down = False
        self._asked_again = 0

    def entries(self, ids: Sequence[str]) -> dict[str, Entry]:
        """Return the records that the API has; empty and short answers are asked for again."""
        found: dict[str, Entry] = {}
        for attempt in range(1 + _ASKED_AGAIN):
            missing = [id for id in ids if id not in found]
            if not missing or self._down:
                break
            if attempt:
                self._asked_again += 1
                if self._asked_again > _ASKED_AGAIN_IN_ALL:
                    break
            query = {"id_list": ",".join(missing), "max_results": str(len(missing))}
            try:
                answer = self._gate.get(self._url, query)
            except SourceError as error:
                # The gate has been patient already: what is left comes from the feed.
                self.trouble, self._down = str(error)[:_NOTE_CHARS], True
                break
            try:
                found |= parse_entries(answer.body)
            except SourceError as error:
                self.trouble = str(error)[:_NOTE_CHARS]
        return found


@cache
def _warn_of_haste(min_interval_s: float) -> None:
    """Say once in a program's life that arXiv wants more distance; sources are made often."""
    log.warning(
        "arXiv asks for 3 seconds between requests and may shut out who is faster",
        min_interval_s=min_interval_s,
    )


def _full(entry: Entry | None, version: int, on: date) -> FetchedPaper | None:
    """Return the API's record, unless it is missing, unusable or older than announced."""
    if entry is None or (entry.version or version) < version:
        return None
    try:
        return entry.paper(version, on)
    except RejectedRecord:
        return None


def _rejected(announced: Announcement, error: RejectedRecord) -> Rejected:
    raw = f"{announced.source_id}v{announced.version} | {announced.title} | {announced.abstract}"
    return reject(str(error), raw, announced.where)


def _key(rejected: Rejected) -> str:
    return "!" + blake2b(rejected.raw.encode("utf-8", "replace"), digest_size=6).hexdigest()


def _pages(things: Sequence[T]) -> Iterator[Sequence[T]]:
    return (things[n : n + PAGE] for n in range(0, len(things), PAGE))
