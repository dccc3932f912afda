"""The arXiv source's cursor, as an object.

Each announcement of a day is processed once, and then counts as exactly one of: full, from the feed
alone (and waiting for the API), or rejected. The rest is not read yet. Every announcement day from
the first one read to the newest feed's is closed or open; open days are read by OAI-PMH.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import blake2b
from typing import Final, Literal

from triage.domain import arxiv_categories
from triage.domain.announcement_calendar import announcement_days
from triage.domain.records import Verdict
from triage.domain.source_records import Rejected, SourceDay
from triage.sources.cursors import Keys, read_cursor, write_cursor
from triage.sources.text.cleaning import MOST_REJECTED

DAYS_KEPT: Final = 3
MISSED_DAYS: Final = 30
WAITING_DAYS: Final = 14
_ALL: Final = ""  # all watched categories together


@dataclass
class Day:
    """The counts of one day, for each watched category and for all of them together.

    Attributes:
        keys: the announcements that were processed.
        expected: all announcements except replacements.
        full: those whose full records came.
        waiting: the papers that are stored from the feed alone: from id to the announced version
            and the watched categories.
        remark: why some may be missing; empty if nothing suggests it.
        lagging: the categories that `remark` is about; empty for all.
        top: the highest id among the new papers.
        fed: whether the feed was read to its end that day.
        whole: whether OAI-PMH returned the whole day.
    """

    keys: Keys = field(default_factory=set)
    expected: Counter[str] = field(default_factory=Counter)
    full: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    waiting: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    remark: str = ""
    lagging: tuple[str, ...] = ()
    top: str = ""
    fed: bool = False
    whole: bool = False

    def n_waiting(self) -> Counter[str]:
        return _counted(watched for _, watched in self.waiting.values())

    def has(self, source_id: str) -> bool:
        """Tell whether the paper was announced that day, as new or as a cross-list."""
        return f"{source_id}n" in self.keys or f"{source_id}c" in self.keys

    def knows(self, source_id: str) -> bool:
        """Tell whether the paper was processed that day, perhaps only as a change."""
        return self.has(source_id) or f"{source_id}u" in self.keys

    def replaced(self) -> set[str]:
        """Return the ids of the papers that the feed announced as replaced that day."""
        return {key.rpartition("v")[0] for key in self.keys if key[-1].isdigit()}

    def raise_top(self, source_id: str) -> None:
        """Note the id of a new paper."""
        if "." in source_id:
            self.top = max(self.top, source_id)


@dataclass
class DayProgress:
    """How far an open day was read by OAI-PMH.

    Attributes:
        first: the first datestamp of the request; None before the first request.
        n_lists: how many lists were read to their end.
        token: the resumption token of the next page.
        n_seen: how many records of the list came on earlier pages.
        short: why a list was incomplete.
        empty: whether it was read to its end and had no papers.
    """

    first: date | None = None
    n_lists: int = 0
    token: str = ""
    n_seen: int = 0
    short: str = ""
    empty: bool = False


@dataclass
class State:
    """The cursor's content.

    Attributes:
        feed: the feed's address, to which `etag` and `modified` belong.
        categories: those that are watched.
        feed_on: the day of the feed that was last read to its end.
        first: the first day that was ever read or opened.
        open: the days that were not read to their end.
        floor: the highest known id that was announced before all `days`.
        lag: how many days the datestamp of an announcement is before its day, once measured.
    """

    feed: str
    categories: tuple[str, ...] = ()
    etag: str = ""
    modified: str = ""
    feed_on: date | None = None
    first: date | None = None
    days: dict[date, Day] = field(default_factory=dict)
    open: dict[date, DayProgress] = field(default_factory=dict)
    floor: str = ""
    lag: int | None = None
    form: Literal[3] = 3

    @classmethod
    def load(cls, cursor: str | None, feed: str, categories: Iterable[str] = ()) -> State:
        """Read a cursor; an unreadable one starts from the beginning, which loses nothing."""
        state = read_cursor(cls, cursor) or cls(feed)
        state.categories = tuple(categories)
        if state.feed != feed:
            state.feed, state.etag, state.modified = feed, "", ""
        return state

    def cursor(self) -> str:
        return write_cursor(self)

    def watched(self, categories: Collection[str]) -> tuple[str, ...]:
        """Return the watched categories and archives of a paper with these categories."""
        return arxiv_categories.watched(self.categories, tuple(categories))

    def days_waiting_for(self, id: str) -> list[date]:
        return [on for on, day in self.days.items() if id in day.waiting]

    # -- days ---------------------------------------------------------------------------------

    def set_expected(self, on: date, left: Iterable[tuple[str, ...]]) -> Day:
        """Set the expected counts of a day; `left` has the categories of unread announcements."""
        day = self.days.setdefault(on, Day())
        day.expected = day.full + day.rejected + day.n_waiting() + _counted(left)
        return day

    def complete(self, id: str, version: int) -> set[date]:
        """Count a full record on the days that waited for it, and return those days."""
        days = {on for on in self.days_waiting_for(id) if self.days[on].waiting[id][0] <= version}
        for on in days:
            _, watched = self.days[on].waiting.pop(id)
            self.days[on].full.update((_ALL, *watched))
        return days

    def add(self, on: date, watched: Iterable[str], *, rejected: bool = False) -> None:
        """Count a paper of an open day as expected and received."""
        day = self.days[on]
        counted = day.rejected if rejected else day.full
        for category in (_ALL, *watched):
            day.expected[category] += 1
            counted[category] += 1

    def keys_of_other_days(self, on: date) -> set[str]:
        """Return the keys of the announcements of all days but `on`."""
        return {key for day, known in self.days.items() if day != on for key in known.keys}

    def highest_id_before(self, on: date) -> str:
        """Return the highest id that was announced before `on`; empty if unknown."""
        return max((day.top for at, day in self.days.items() if at < on), default="") or self.floor

    def day_of(self, id: str, before: date) -> date | None:
        """Return the day before `before` on which paper `id` was announced; None if unknown.

        arXiv numbers papers in the order of announcement.
        """
        known = sorted((on, day.top) for on, day in self.days.items() if on < before and day.top)
        if id <= self.floor or not known or "." not in id:
            return None
        first = next((on for on, top in known if id <= top), known[-1][0])
        return None if first == known[0][0] and not self.floor else first

    def set_floor(self, ids: Iterable[str]) -> None:
        """Set `floor` from the new papers of the first day: lower ids are older."""
        if not self.floor:
            self.floor = min((id for id in ids if "." in id), default="")[:-1]

    def open_missed(self, feed_on: date, since: date | None) -> None:
        """Open the unread days before `feed_on`: the last `MISSED_DAYS`, or all from `since`."""
        one = timedelta(days=1)
        missed: list[date] = []
        if self.feed_on is not None:
            missed = announcement_days(self.feed_on + one, feed_on - one)[-MISSED_DAYS:]
        first = self.first or feed_on
        if since is not None and since < first:
            missed += announcement_days(since, first - one)
            first, self.floor = since, ""
        self.first = min(first, feed_on)
        doubtful = [on for on, day in self.days.items() if day.remark and on < feed_on]
        for on in (*missed, *doubtful):
            if on not in self.days or self.days[on].remark:
                self.open.setdefault(on, DayProgress())
        if self.open and feed_on in self.days:
            # A paper of an open day that has changed since is listed with its last change.
            self.open.setdefault(feed_on, DayProgress())

    def forget_keys(self, on: date) -> None:
        """Drop the keys of days long before `on`: they are not repeated any more."""
        for day, known in self.days.items():
            if day < on - timedelta(days=WAITING_DAYS):
                known.keys.clear()

    def forget_old(self, on: date) -> None:
        """Drop everything that fetches after `on` do not need."""
        oldest = on - timedelta(days=WAITING_DAYS)
        # A later day was opened by a clock that was ahead.
        self.open = {day: reading for day, reading in self.open.items() if oldest <= day <= on}
        newest = sorted(self.days)[-DAYS_KEPT:]
        for day, known in list(self.days.items()):
            if day < oldest:
                known.waiting.clear()
            if day in newest or day in self.open:
                continue
            if known.waiting:
                known.keys.clear()
            else:
                self.floor = max(self.floor, self.days.pop(day).top)

    # -- verdicts -----------------------------------------------------------------------------

    def is_failed(self, on: date) -> bool:
        """Tell whether too much of a day was rejected, so the source itself must be wrong."""
        day = self.days.get(on)
        return day is not None and day.rejected[_ALL] > MOST_REJECTED * day.expected[_ALL]

    def source_days(
        self, source: str, on: date, api: str = "", oai_pmh: str = ""
    ) -> Iterator[SourceDay]:
        """Yield the verdict of a day: for all categories together, then for each.

        Args:
            api: why the API did not return the waiting papers.
            oai_pmh: why OAI-PMH did not return the day.
        """
        day, reading = self.days[on], self.open.get(on)
        counts = (day.n_waiting(), day.expected, day.full, day.rejected)
        for category in (_ALL, *self.categories):
            waiting, expected, full, rejected = (each[category] for each in counts)
            left = expected - full - rejected - waiting
            remark = day.remark if category in {_ALL, *(day.lagging or self.categories)} else ""
            if reading is not None:
                unread = "" if day.fed else "OAI-PMH is not read to its end yet"
                remark = reading.short or remark or unread
            notes = [
                f"{n} {what}"
                for n, what in (
                    (waiting, "stored from the feed, not yet given by the API"),
                    (rejected, "kept aside: could not be used"),
                    (left, "not read yet"),
                )
                if n
            ]
            # Rejected records do not come again, so no digest waits for them.
            complete = full + rejected == expected and not remark
            verdict = Verdict.COMPLETE if complete else Verdict.PARTIAL
            if self.is_failed(on):
                verdict = Verdict.FAILED
            troubles = (api if waiting else "", oai_pmh if reading is not None else "")
            note = "; ".join(filter(None, (*notes, remark, *troubles)))
            yield SourceDay(source, on, verdict, expected, full, note, category)


def key_of(rejected: Rejected) -> str:
    """Return a key that identifies a rejected record within its day."""
    return "!" + blake2b(rejected.raw.encode("utf-8", "replace"), digest_size=6).hexdigest()


def _counted(several: Iterable[tuple[str, ...]]) -> Counter[str]:
    """Count announcements in total and for each category."""
    counts: Counter[str] = Counter()
    for watched in several:
        counts.update((_ALL, *watched))
    return counts
