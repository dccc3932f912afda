"""arXiv through three interfaces.

    RSS feed → ids of new announcements → API, a page of ids at a time → batches
    OAI-PMH  → the days that the feed no longer has, or had incompletely

A paper that the API does not have yet is stored from the feed, and requested again by later
fetches. Replacements come from the feed alone: they change stored papers and add none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from itertools import chain
from typing import Final

import structlog

from triage.domain.announcement_calendar import arxiv_holiday, empty_verdict, is_announcement_day
from triage.domain.chunks import chunks
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, FetchedPaper, Rejected, SourceDay
from triage.errors import RejectedRecord, SourceError
from triage.sources.arxiv.backfill import Backfill, Step
from triage.sources.arxiv.cursor import DayProgress, State, key_of
from triage.sources.arxiv.parsing import Announcement, Feed, Kind, parse_entries, parse_feed
from triage.sources.http.client import Answer, PoliteClient
from triage.sources.text.cleaning import NOTE_CHARS, explain_rejected, reject

PAGE: Final = 100
POLITE_S: Final = 3.0  # https://info.arxiv.org/help/api/tou.html
FEED_LIMIT: Final = 2_000  # https://info.arxiv.org/help/rss.html
_RETRIES: Final = 2
_MOST_RETRIES_IN_ALL: Final = 5

log = structlog.get_logger()


@dataclass
class Arxiv:
    """The announcements of some categories.

    Attributes:
        client: shared by all requests to arXiv.
        categories: such as `cs.LG`, or whole archives such as `math`; they are appended to
            `rss_url`, with `+` between them.
        on: the day that counts as today; every fetch ends with its verdict.
        since: the first day to read, if it is before all days that were read.
    """

    client: PoliteClient
    categories: Sequence[str]
    rss_url: str
    api_url: str
    oai_url: str
    on: date
    since: date | None = None
    name: str = field(default="arxiv", init=False)

    def __post_init__(self) -> None:
        if self.client.min_interval_s < POLITE_S:
            _warn_of_short_interval(self.client.min_interval_s)

    @property
    def feed_url(self) -> str:
        return f"{self.rss_url.rstrip('/')}/{'+'.join(self.categories)}"

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield the papers announced since `cursor`, with the verdicts of their days.

        Raises:
            SourceError: the feed cannot be read, or too much of it is unusable; the day's verdict
                is yielded first. Errors of the API or OAI-PMH only make days partial or failed.
        """
        state = State.load(cursor, self.feed_url, self.categories)
        try:
            answer, feed = self._feed(state)
        except SourceError as error:
            weekend = state.feed_on == self.on and not is_announcement_day(self.on)
            if self.on not in state.days and not weekend:
                yield Batch(days=self._rows(self.on, Verdict.FAILED, str(error)[:NOTE_CHARS]))
            raise
        if answer is not None:
            # Set again at the end only, so an interrupted fetch gets the feed again.
            state.etag = state.modified = ""
        news = _News(state, feed)
        api = _Api(self.client, self.api_url)
        gap = Backfill(self.client, self.oai_url, state, feed.on)
        held: Batch | None = None
        waiting = [
            (id, on, version)
            for on, day in sorted(state.days.items())
            for id, (version, _) in day.waiting.items()
        ]
        steps = chain(
            news.steps(api), _completions(state, waiting, api), self._unread(state, feed, gap)
        )
        for papers, rejected, days in steps:
            if held is not None:
                yield held
            # Days that were closed since the last batch go with the cursor that says so.
            verdicts = self._verdicts(days | gap.pop_closed(), state, news, api, gap)
            held = Batch(tuple(papers), tuple(rejected), state.cursor(), tuple(verdicts))
        last = held or Batch()
        # These verdicts go with the cursor that notes this feed as read.
        done = ({feed.on} | gap.pop_closed()) & state.days.keys() | state.open.keys() | {self.on}
        verdicts = chain(last.days, self._verdicts(done, state, news, api, gap))
        latest = {(day.on, day.category): day for day in verdicts}
        failed_day = state.is_failed(feed.on)
        if failed_day:
            state.days.pop(feed.on, None)
        elif answer is not None:
            state.etag, state.modified = answer.etag, answer.modified
        state.feed_on = feed.on
        state.forget_old(max(self.on, feed.on))
        days_of_last = tuple(latest[key] for key in sorted(latest))
        yield replace(last, cursor=state.cursor(), days=days_of_last)
        if failed_day:
            raise SourceError(explain_rejected(f"arXiv's papers of {feed.on}"))

    def _feed(self, state: State) -> tuple[Answer | None, Feed]:
        """Return the feed, and its answer unless it has not changed; SourceError without it.

        An empty feed on a day that must have papers is requested once more.
        """
        answer = self.client.get(self.feed_url, etag=state.etag, modified=state.modified)
        if answer.not_modified and state.feed_on is not None:
            return None, Feed(state.feed_on)
        feed = parse_feed(answer.body)
        if feed.n_items == 0 and self._is_due(feed):
            answer = self.client.get(self.feed_url)
            feed = parse_feed(answer.body)
        return answer, feed

    def _is_due(self, feed: Feed) -> bool:
        """Tell whether today must have papers, by the calendar and the feed."""
        on = self.on
        return is_announcement_day(on) and not arxiv_holiday(on) and not feed.skips(on)

    def _unread(self, state: State, feed: Feed, gap: Backfill) -> Iterator[Step]:
        """Read the days that the feed did not have: earlier ones, and perhaps today."""
        state.open_missed(feed.on, self.since)
        if self.on not in state.days and is_announcement_day(self.on):
            state.open.setdefault(self.on, DayProgress())
            if state.first and self.on < state.first:
                state.floor = ""
        if feed.n_items >= FEED_LIMIT and feed.on in state.days:
            state.open.setdefault(feed.on, DayProgress())
        yield from gap.steps()

    # -- verdicts -----------------------------------------------------------------------------

    def _rows(
        self, on: date, verdict: Verdict, note: str, expected: int | None = None
    ) -> tuple[SourceDay, ...]:
        """Return a verdict on a day without papers: for all categories, then for each."""
        return tuple(
            SourceDay(self.name, on, verdict, expected, 0, note, category)
            for category in ("", *self.categories)
        )

    def _verdicts(
        self, days: Iterable[date], state: State, news: _News, api: _Api, gap: Backfill
    ) -> Iterator[SourceDay]:
        """Yield the verdicts of days; those that were not read, or had no papers, have a reason."""
        for on in sorted(days):
            reading = state.open.get(on)
            if on in state.days:
                yield from state.source_days(self.name, on, api.trouble, gap.trouble)
            elif on == self.on:
                yield from self._without_papers_today(news, reading, gap)
            elif reading is not None and reading.empty:
                yield from self._empty(on, "neither the feed nor OAI-PMH has papers of it")
            else:
                note = f"not read: the feed had moved on to {news.feed.on}"
                note = "; ".join(filter(None, (note, gap.trouble)))
                yield from self._rows(on, Verdict.FAILED, note)

    def _without_papers_today(
        self, news: _News, reading: DayProgress | None, gap: Backfill
    ) -> tuple[SourceDay, ...]:
        feed_on = news.feed.on
        if news.is_repeat:
            note = "the feed repeats an earlier day's papers"
        elif feed_on == self.on:
            note = "the feed has nothing new"
        elif feed_on < self.on:
            note = f"the feed is still that of {feed_on}"
        else:
            note = f"the feed has moved on to {feed_on}"
        if reading is not None:
            note += ", and OAI-PMH has none either" if reading.empty else f"; {gap.trouble}"
        if is_announcement_day(self.on) and news.feed.skips(self.on):
            note = f"the feed says that no papers come on a {self.on:%A}"
            return self._rows(self.on, Verdict.EMPTY_EXPECTED, note, 0)
        return self._empty(self.on, note)

    def _empty(self, on: date, note: str) -> tuple[SourceDay, ...]:
        """Return the verdicts of a day that has no papers in any interface."""
        holiday = arxiv_holiday(on) if is_announcement_day(on) else ""
        if holiday:
            note = f"{note}; arXiv announced none because of {holiday}"
        expected = holiday or empty_verdict(on) is Verdict.EMPTY_EXPECTED
        verdict = Verdict.EMPTY_EXPECTED if expected else Verdict.EMPTY_SUSPECT
        return self._rows(on, verdict, note, 0 if expected else None)


class _News:
    """The announcements of a feed that were not processed yet."""

    def __init__(self, state: State, feed: Feed) -> None:
        self.feed = feed
        self._state = state
        around = state.keys_of_other_days(feed.on)
        day = state.days.get(feed.on)
        done = day.keys if day else set[str]()
        broken = [(key_of(rejected), rejected) for rejected in feed.rejected]
        announced = {a.key for a in feed.announcements} | {key for key, _ in broken}
        self.is_repeat = bool(announced) and announced <= around
        self._broken = [pair for pair in broken if pair[0] not in around | done]
        fresh = [a for a in feed.announcements if a.key not in around | done]
        self._papers = [
            a for a in fresh if not a.kind.is_replacement and not (day and day.has(a.source_id))
        ]
        self._replacements = [a for a in fresh if a.kind.is_replacement]
        self._has_day = bool(announced) and not self.is_repeat
        self._repeated = [a for a in feed.announcements if a.kind is Kind.NEW and a.key in around]

    def _remark(self) -> tuple[str, tuple[str, ...]]:
        """Return why papers may be missing, and from which categories; empty for all."""
        if self.feed.n_items >= FEED_LIMIT:
            return f"the feed ends at its limit of {FEED_LIMIT:,}: watch fewer categories", ()
        in_order = self._state.watched({place for a in self._repeated for place in self._places(a)})
        if self._repeated:
            of = f" in {', '.join(in_order)}" if in_order else ""
            return (
                f"the feed repeats {len(self._repeated)} earlier papers{of}, so a category may lag"
                " behind"
            ), in_order
        return "", ()

    def _places(self, announced: Announcement) -> tuple[str, ...]:
        """Return the watched categories that list a new paper: its first one if watched."""
        return self._state.watched(announced.categories[:1]) or self._state.watched(
            announced.categories
        )

    def steps(self, api: _Api) -> Iterator[Step]:
        """Yield papers, rejected items and replacements by pages, and count them in the state."""
        if not self._has_day:
            return
        on, state = self.feed.on, self._state
        left = [state.watched(announced.categories) for announced in self._papers]
        day = state.set_expected(on, [*left, *(() for _ in self._broken)])
        day.remark, day.lagging = self._remark()
        state.set_floor(a.source_id for a in self._papers if a.kind is Kind.NEW)
        for page in chunks(self._papers, PAGE):
            yield self._page(page, api.entries([announced.source_id for announced in page]))
        for bad in chunks(self._broken, PAGE):
            day.keys.update(key for key, _ in bad)
            day.rejected[""] += len(bad)
            yield [], [rejected for _, rejected in bad], {on}
        for page in chunks(self._replacements, PAGE):
            papers, rejected = [], []
            for announced in page:
                day.keys.add(announced.key)
                try:
                    papers.append(announced.paper())
                except RejectedRecord as error:
                    rejected.append(_rejected(announced, error))
            yield papers, rejected, {on}
        day.fed = True

    def _page(self, page: Sequence[Announcement], entries: dict[str, FetchedPaper | None]) -> Step:
        state, day = self._state, self._state.days[self.feed.on]
        papers: list[FetchedPaper] = []
        rejected: list[Rejected] = []
        touched = {self.feed.on}
        for announced in page:
            id, version = announced.source_id, announced.version
            watched = state.watched(announced.categories)
            day.keys.add(announced.key)
            if announced.kind is Kind.NEW:
                day.raise_top(id)
            paper = _full(entries.get(id), version, announced.on)
            if paper is not None:
                papers.append(paper)
                day.full.update(("", *watched))
                touched |= state.complete(id, paper.version or version)
                continue
            try:
                papers.append(announced.paper())
                day.waiting[id] = version, watched
            except RejectedRecord as error:
                rejected.append(_rejected(announced, error))
                day.rejected.update(("", *watched))
        return papers, rejected, touched


def _completions(
    state: State, waiting: Sequence[tuple[str, date, int]], api: _Api
) -> Iterator[Step]:
    """Request the papers that earlier fetches stored from the feed alone."""
    for page in chunks(waiting, PAGE):
        entries = api.entries(list(dict.fromkeys(id for id, _, _ in page)))
        papers: list[FetchedPaper] = []
        touched: set[date] = set()
        for id, on, version in page:
            paper = _full(entries.get(id), version, on)
            if paper is not None and id in state.days[on].waiting:
                papers.append(paper)
                touched |= state.complete(id, paper.version or version)
        if papers:
            yield papers, [], touched


@dataclass
class _Api:
    """Requests records from the API. `trouble` says why some did not come."""

    client: PoliteClient
    url: str
    trouble: str = ""
    is_down: bool = False
    n_retries: int = 0

    def entries(self, ids: Sequence[str]) -> dict[str, FetchedPaper | None]:
        """Return the records that the API has; missing ones are requested again."""
        found: dict[str, FetchedPaper | None] = {}
        for attempt in range(1 + _RETRIES):
            missing = [id for id in ids if id not in found]
            if not missing or self.is_down:
                break
            if attempt:
                self.n_retries += 1
                if self.n_retries > _MOST_RETRIES_IN_ALL:
                    break
            query = {"id_list": ",".join(missing), "max_results": str(len(missing))}
            try:
                answer = self.client.get(self.url, query)
            except SourceError as error:
                # The client has retried already: the remaining papers come from the feed.
                self.trouble, self.is_down = str(error)[:NOTE_CHARS], True
                break
            try:
                found |= parse_entries(answer.body)
            except SourceError as error:
                self.trouble = str(error)[:NOTE_CHARS]
        return found


@cache
def _warn_of_short_interval(min_interval_s: float) -> None:
    log.warning(
        "arXiv requires 3 seconds between requests and may block faster clients",
        min_interval_s=min_interval_s,
    )


def _full(paper: FetchedPaper | None, version: int, on: date) -> FetchedPaper | None:
    """Return the API's record, unless it is missing, unusable or older than announced."""
    if paper is None or (paper.version or version) < version:
        return None
    return replace(paper, version=paper.version or version, listed_on=on)


def _rejected(announced: Announcement, error: RejectedRecord) -> Rejected:
    raw = f"{announced.source_id}v{announced.version} | {announced.title} | {announced.abstract}"
    return reject(str(error), raw, announced.where)
