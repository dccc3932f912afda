"""Reads days from OAI-PMH that arXiv's feed no longer has, or had nothing for.

OAI-PMH lists changed records by datestamp: the evening of the announcement or the day after it,
measured on papers whose day is known. Which papers are new is decided by ids, since arXiv numbers
papers in the order of announcement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

from triage.domain.announcement_calendar import announcement_before, is_announcement_day
from triage.domain.source_records import FetchedPaper, Rejected
from triage.errors import RejectedRecord, SourceError
from triage.sources.arxiv import oai_pmh
from triage.sources.arxiv.cursor import Day, DayProgress, State, key_of
from triage.sources.http.client import PoliteClient
from triage.sources.text.cleaning import NOTE_CHARS

BATCH: Final = 500
OVERLAP: Final = timedelta(days=2)
# An older paper that changed without a new version was probably not cross-listed.
OLD: Final = timedelta(days=60)
UNUSABLE: Final = "more than a fifth of OAI-PMH's records could not be used"
_MOST_PAGES: Final = 500
_EVENING: Final = 1
_ONE: Final = timedelta(days=1)

Step = tuple[list[FetchedPaper], list[Rejected], set[date]]


class Backfill:
    """The open days of a state; `trouble` says why some could not be read."""

    def __init__(self, client: PoliteClient, url: str, state: State, feed_on: date) -> None:
        self.trouble = ""
        self._closed: set[date] = set()
        self._client = client
        self._url = url
        self._state = state
        self._feed_on = feed_on
        self._sets = oai_pmh.sets_of(state.categories)

    def steps(self) -> Iterator[Step]:
        """Yield the papers of the open days, the earliest first, and close the days.

        A server error ends it; the other days stay open.
        """
        try:
            for on in sorted(self._state.open):
                yield from self._day(on)
        except SourceError as error:
            self.trouble = str(error)[:NOTE_CHARS]

    def pop_closed(self) -> set[date]:
        """Return the days that were closed since the last call."""
        closed, self._closed = self._closed, set()
        return closed

    def _day(self, on: date) -> Iterator[Step]:
        state, reading = self._state, self._state.open[on]
        if state.lag is None:
            state.lag = self._measure_lag()
        lag = timedelta(days=state.lag)
        if reading.first is None:
            reading.short = ""
            before = announcement_before(on)
            reading.first = before - lag + _ONE
            if before not in state.days or not state.days[before].whole:
                reading.first -= OVERLAP
            if state.is_failed(on):
                state.days.pop(on, None)
        state.days.setdefault(on, Day())
        while reading.n_lists < len(self._sets):
            yield from self._list(on, reading, reading.first, on - lag)
        self._close(on, reading)

    def _measure_lag(self) -> int:
        """Return how many days datestamps are before list days, for papers known from the feed."""
        for on in sorted(self._state.days, reverse=True):
            known = {key[:-1] for key in self._state.days[on].keys if key.endswith("n")}
            if not known:
                continue
            for page in self._pages(self._sets[0], on - _ONE, on, DayProgress()):
                lags = Counter(
                    (on - record.changed_on).days
                    for record in page.records
                    if record.source_id in known and record.changed_on in {on, on - _ONE}
                )
                if lags:
                    return lags.most_common(1)[0][0]
        return _EVENING

    def _close(self, on: date, reading: DayProgress) -> None:
        """Close a day that is complete; otherwise the next fetch reads it again."""
        state, day = self._state, self._state.days[on]
        if state.is_failed(on):
            # The format must have changed, so this program must be corrected first.
            state.open[on] = DayProgress(short=UNUSABLE)
            return
        empty = not day.expected[""] and not day.fed
        if empty:
            # Perhaps the meaning of the datestamps has changed.
            state.lag = None
            del state.days[on]
        if reading.short or (empty and self._feed_on - on <= OVERLAP):
            state.open[on] = DayProgress(short=reading.short, empty=empty)
            return
        if empty:
            state.open[on].empty = True
        else:
            del state.open[on]
            day.remark, day.whole = "", True
            self._closed.add(on)
        state.forget_keys(on)

    def _list(self, on: date, reading: DayProgress, first: date, last: date) -> Iterator[Step]:
        for page in self._pages(self._sets[reading.n_lists], first, last, reading):
            todo = self._todo(page, on)
            for n in range(0, max(len(todo), 1), BATCH):
                step = self._step(todo[n : n + BATCH], on)
                if n + BATCH >= len(todo):
                    self._mark_read(page, reading)
                if step[0] or step[1]:
                    yield step

    def _mark_read(self, page: oai_pmh.Page, reading: DayProgress) -> None:
        """Note a page as read, before its last batch is yielded with the cursor behind it."""
        reading.token = page.token
        reading.n_seen += page.n_records
        if page.token:
            return
        if page.total is not None and reading.n_seen != page.total:
            reading.short = f"OAI-PMH gave {reading.n_seen:,} of {page.total:,} records"
        reading.n_lists += 1
        reading.n_seen = 0

    def _pages(
        self, set_: str, first: date, last: date, reading: DayProgress
    ) -> Iterator[oai_pmh.Page]:
        """Yield the remaining pages of a list; after a first `BadToken`, all pages.

        SourceError if it cannot be read or does not end, or a second token is bad.
        """
        token, tokens = reading.token, set[str]()
        is_again = False
        for _ in range(_MOST_PAGES):
            try:
                answer = self._client.get(self._url, oai_pmh.page_params(first, last, set_, token))
                page = oai_pmh.parse_page(answer.body, set_)
            except oai_pmh.BadToken:
                if is_again:
                    raise
                is_again = True
                token, tokens = "", set[str]()
                reading.token, reading.n_seen = "", 0
                continue
            yield page
            token = page.token
            if not token:
                return
            if token in tokens:
                break
            tokens.add(token)
        raise SourceError(
            "arXiv's OAI-PMH list does not end, so the rest was not read. The next fetch reads it "
            "again."
        )

    # -- records ------------------------------------------------------------------------------

    def _todo(self, page: oai_pmh.Page, on: date) -> list[oai_pmh.Record | Rejected]:
        """Return a page's records of watched categories that were not processed that day."""
        state, day = self._state, self._state.days[on]
        records = [
            record
            for record in page.records
            if state.watched(record.categories)
            and (state.days_waiting_for(record.source_id) or not day.knows(record.source_id))
        ]
        # Papers of one version come first: they show which ids were announced when.
        records.sort(key=lambda record: (record.is_replaced, record.source_id))
        return [*records, *(each for each in page.rejected if key_of(each) not in day.keys)]

    def _step(self, todo: list[oai_pmh.Record | Rejected], on: date) -> Step:
        papers: list[FetchedPaper] = []
        rejected: list[Rejected] = []
        touched, replaced = {on}, self._state.days[on].replaced()
        for each in todo:
            if isinstance(each, Rejected):
                self._state.days[on].keys.add(key_of(each))
                self._state.add(on, (), rejected=True)
                rejected.append(each)
                continue
            listed_on = self._listed_on(each, on, is_old=each.source_id in replaced)
            if listed_on is None and (not each.is_replaced or each.source_id in replaced):
                continue
            try:
                paper = each.paper(listed_on or on)
            except RejectedRecord as error:
                paper = None
                rejected.append(each.rejected(str(error)))
            if listed_on is None:
                self._state.days[on].keys.add(f"{each.source_id}u")
                papers += [replace(paper, update_only=True)] if paper else []
            else:
                papers += [paper] if paper else []
                touched |= self._count(each, listed_on, on, rejected=paper is None)
        return papers, rejected, touched

    def _count(
        self, record: oai_pmh.Record, listed_on: date, on: date, *, rejected: bool
    ) -> set[date]:
        """Count a paper for its day, and return the days whose counts change."""
        state, id = self._state, record.source_id
        if state.days_waiting_for(id):
            return set() if rejected else state.complete(id, 1 + record.is_replaced)
        is_new = id > state.highest_id_before(listed_on)
        state.days[listed_on].keys.add(f"{id}{'n' if is_new else 'c'}")
        state.days[on].keys.add(f"{id}u")
        if is_new and not record.is_replaced:
            state.days[listed_on].raise_top(id)
        state.add(listed_on, state.watched(record.categories), rejected=rejected)
        return {listed_on}

    def _listed_on(self, record: oai_pmh.Record, on: date, *, is_old: bool) -> date | None:
        """Return the day that lists a paper as new; None if no day does, or it is known already.

        `is_old` means that the feed of `on` has a later version.
        """
        state, id = self._state, record.source_id
        if days := state.days_waiting_for(id):
            return max(days)
        if any(day.has(id) for day in state.days.values()):
            return None
        listed_on = min(on, self._list_day(record, on))
        if listed_on not in state.days:
            # It changed before all days that are read.
            if "." in id and not record.is_replaced:
                state.floor = max(state.floor, id)
            return None
        if record.is_replaced or is_old:
            # Its first version was announced earlier, on the day of the ids around it.
            return state.day_of(id, listed_on)
        age = listed_on - (record.created_on or on)
        return listed_on if id > state.highest_id_before(listed_on) or age <= OLD else None

    def _list_day(self, record: oai_pmh.Record, on: date) -> date:
        if record.changed_on is None:
            return on
        day = record.changed_on + timedelta(days=self._state.lag or 0)
        while not is_announcement_day(day):
            day += _ONE
        return day
