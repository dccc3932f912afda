"""bioRxiv and medRxiv: the preprints posted on a day, and those that a journal has published.

    for each day: page by page → rows that are not stored yet → batches → verdict

A day ends with an empty page, not by the server's count: pages have had 100 rows and 30, and the
count has been too large (https://github.com/ropensci/medrxivr/issues/19). Rows come late, so
earlier days are read again. https://api.biorxiv.org, November 2026.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Final, Literal

from triage.domain.announcement_calendar import empty_verdict
from triage.domain.paper_ids import source_name
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, FetchedPaper, Rejected, SourceDay
from triage.errors import RejectedRecord, SourceError
from triage.sources.biorxiv import parsing
from triage.sources.cursors import Keys, read_cursor, write_cursor
from triage.sources.http.client import PoliteClient
from triage.sources.text.cleaning import MOST_REJECTED, NOTE_CHARS, explain_rejected, reject

OVERLAP_DAYS: Final = 3
MISSED_DAYS: Final = 30
MOST_ROWS: Final = 5_000
_RETRIES: Final = 2
_ENDPOINTS: Final = ("details", "pubs")
_ONE: Final = timedelta(days=1)


@dataclass
class Biorxiv:
    """The preprints of one of the two servers.

    Attributes:
        client: shared by all requests to both servers, which have one address.
        name: `biorxiv` or `medrxiv`, the server's name and the source's.
        url: `/details/…` and `/pubs/…` are appended.
        on: the day that counts as today.
        since: read every day from this one on; None for the days that were not read yet.
    """

    client: PoliteClient
    name: str
    url: str
    on: date
    since: date | None = None

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield the papers posted since `cursor`, today first, then the publications.

        A paper is listed on the day of its first version; later versions and publications only
        change stored papers. Days before the first fetch are read, but get no verdict.

        Raises:
            SourceError: the server, or the answer for one day, cannot be read. That day's verdict
                is yielded first, unless an earlier fetch has read the day.
        """
        state = _State.load(cursor, self.on)
        held: Batch | None = None
        try:
            for batch in self._days(state):
                if held is not None:
                    yield held
                held = batch
        except SourceError:
            if held is not None:
                yield held
            raise
        if held is not None:
            # The days after it may be unchanged; the cursor keeps that, too.
            yield replace(held, cursor=state.cursor(self.on))

    def _days(self, state: _State) -> Iterator[Batch]:
        problem: SourceError | None = None
        for endpoint in _ENDPOINTS:
            read = state.read[endpoint]
            read.since = min(read.since, self.since or read.since)
            for on in read.days_to_read(self.on, self.since):
                try:
                    yield from self._day(endpoint, on, state)
                except parsing.BadAnswer as error:
                    problem = problem or error
            if problem is None:
                read.upto = max(read.upto, self.on)
        if problem is not None:
            raise problem

    def _day(self, endpoint: str, on: date, state: _State) -> Iterator[Batch]:
        """Yield the rows of a day that are not stored yet; the last batch has the verdict."""
        read = state.read[endpoint]
        known = read.days.setdefault(on, _Day())
        was_read = bool(known.keys or known.digest)
        has_verdict = endpoint == "details" and on >= read.since
        held: Batch | None = None
        counts: list[_Count] = []
        try:
            for batch in self._readings(endpoint, on, known, counts):
                if held is not None:
                    yield held
                held = replace(batch, cursor=state.cursor(self.on))
        except SourceError as error:
            cut = (self._cut(on, counts[-1], str(error)),) if has_verdict and not was_read else ()
            if held is not None or cut:
                yield replace(held or Batch(), days=cut)
            raise
        if not counts:
            return
        count = counts[-1]
        verdict = self._verdict(on, count, proven=count.is_exact or count.agrees(counts[0]))
        self._note_reading(read, on, count, verdict.verdict)
        if held is not None or has_verdict:
            days = (verdict,) if has_verdict else ()
            yield replace(held or Batch(), cursor=state.cursor(self.on), days=days)
        if verdict.verdict is Verdict.FAILED:
            what = f"the records of {source_name(self.name)} of {on}"
            raise parsing.BadAnswer(explain_rejected(what))

    def _readings(
        self, endpoint: str, on: date, known: _Day, counts: list[_Count]
    ) -> Iterator[Batch]:
        """Yield the new rows of a day; it is read twice if the number of rows is not the server's.

        Args:
            counts: gets the count of each reading; it ends empty if the day has rows and is
                unchanged.
        """
        # A past day that was read needs only one request a day to see whether it has changed.
        is_over = on < self.on or endpoint == "pubs"
        once = is_over and bool(known.digest and known.keys)
        is_fresh = False
        for again in (False, True):
            count = _Count()
            counts.append(count)
            for page in self._pages(endpoint, on, count, once=once and not again):
                if not (is_fresh or count.keys) and self._is_sealed(known, page.digest):
                    # An empty day gets its verdict again: a wrong clock's is set aside.
                    if page.rows:
                        counts.clear()
                    return
                papers, rejected = self._fresh(endpoint, on, page, known, count)
                if papers or rejected:
                    is_fresh = True
                    yield Batch(tuple(papers), tuple(rejected))
            if count.is_exact:
                return

    def _note_reading(self, read: _Read, on: date, count: _Count, verdict: Verdict) -> None:
        """Forget a failed day; keep the digest of a complete one, so that it is not read again."""
        if verdict is Verdict.FAILED:
            del read.days[on]
        elif verdict is not Verdict.PARTIAL:
            read.days[on].digest = count.digest if count.is_exact else self._seal(count.digest)

    def _seal(self, digest: str) -> str:
        """Return a digest that is valid today only, as rows may come while a wrong count stays."""
        return f"{digest}@{self.on}"

    def _is_sealed(self, known: _Day, digest: str) -> bool:
        """Tell from its first page whether a day is unchanged since it was last read."""
        return known.digest in {digest, self._seal(digest)}

    def _pages(
        self, endpoint: str, on: date, count: _Count, *, once: bool
    ) -> Iterator[parsing.Page]:
        """Yield the pages of a day up to the empty one; the first is yielded even if empty."""
        row = 0
        while row < MOST_ROWS:
            page = self._page(endpoint, on, row, once=once and not row)
            if not row:
                count.digest, count.total, count.page = page.digest, page.total, len(page.rows)
            if page.rows or not row:
                yield page
            if not page.rows:
                break
            row += len(page.rows)
        else:
            raise parsing.BadAnswer(f"The rows of {source_name(self.name)} for {on} do not end.")
        if count.total is not None and 0 < row < count.total:
            # If rows follow the empty page, the page was wrong; otherwise the count was.
            count.has_hole = bool(self._page(endpoint, on, count.total - 1).rows)

    def _page(self, endpoint: str, on: date, row: int, *, once: bool = False) -> parsing.Page:
        """Request the rows from `row` on; errors with status 200 are retried."""
        url = f"{self.url.rstrip('/')}/{endpoint}/{self.name}/{on}/{on}/{row}"
        url = f"{url}/json" if endpoint == "details" else url
        for attempt in range(_RETRIES):
            with suppress(parsing.BadAnswer):
                answer = self.client.get(url, once=once and not attempt)
                return parsing.parse_page(answer.body, source_name(self.name))
        return parsing.parse_page(self.client.get(url).body, source_name(self.name))

    def _fresh(
        self, endpoint: str, on: date, page: parsing.Page, known: _Day, count: _Count
    ) -> tuple[list[FetchedPaper], list[Rejected]]:
        """Count a page's rows and return those that were not stored before."""
        keys = [parsing.row_key(row) for row in page.rows]
        if keys and count.keys.issuperset(keys):
            raise parsing.BadAnswer(
                f"{source_name(self.name)} sends the same rows of {on} for different pages."
            )
        papers: list[FetchedPaper] = []
        rejected: list[Rejected] = []
        for row, key in zip(page.rows, keys, strict=True):
            if key in count.keys:
                continue
            count.keys.add(key)
            fresh = key not in known.keys
            known.keys.add(key)
            try:
                paper = self._paper(endpoint, row, on)
            except RejectedRecord as error:
                count.n_bad += 1
                if fresh:
                    raw = json.dumps(row, ensure_ascii=False)
                    where = f"{endpoint} of {on}, row {len(count.keys)}"
                    rejected.append(reject(str(error), raw, where))
                continue
            count.n_new += not paper.update_only
            if fresh:
                papers.append(paper)
        return papers, rejected

    def _paper(self, endpoint: str, row: Any, on: date) -> FetchedPaper:
        if not isinstance(row, dict):
            raise RejectedRecord("it is no JSON object")
        if endpoint == "pubs":
            return parsing.parse_publication(row, self.name, self.on)
        return parsing.parse_posting(row, self.name, on)

    def _verdict(self, on: date, count: _Count, *, proven: bool) -> SourceDay:
        n_rows, n_bad, n_missing = len(count.keys), count.n_bad, count.n_missing
        if not n_rows and not n_missing:
            verdict = empty_verdict(on)
            expected = 0 if verdict is Verdict.EMPTY_EXPECTED else None
            return SourceDay(self.name, on, verdict, expected, 0, "nothing posted on this day")
        notes = [f"{n_bad} kept aside: could not be used"] if n_bad else []
        if count.total is None:
            notes.append("the server does not say how many rows there are")
        elif n_rows != count.total:
            notes.append(f"the server counts {count.total:,} rows and gives {n_rows:,}")
        verdict = Verdict.COMPLETE if proven else Verdict.PARTIAL
        if n_bad > MOST_REJECTED * n_rows:
            verdict = Verdict.FAILED
        expected = count.n_new + n_bad + (0 if proven else n_missing)
        return SourceDay(self.name, on, verdict, expected, count.n_new, "; ".join(notes))

    def _cut(self, on: date, count: _Count, trouble: str) -> SourceDay:
        """Return the verdict of a day whose reading was interrupted."""
        note = trouble[:NOTE_CHARS]
        if not count.keys:
            return SourceDay(self.name, on, Verdict.FAILED, None, 0, note)
        return SourceDay(self.name, on, Verdict.PARTIAL, None, count.n_new, note)


# -- the cursor ------------------------------------------------------------------------------------


@dataclass
class _Count:
    """The counts of one reading of a day: distinct rows, usable new papers, rejected rows."""

    keys: set[str] = field(default_factory=set)
    n_new: int = 0
    n_bad: int = 0
    total: int | None = None
    page: int = 0
    digest: str = ""
    has_hole: bool = False

    @property
    def n_missing(self) -> int:
        return max((self.total or 0) - len(self.keys), 0)

    @property
    def is_exact(self) -> bool:
        return len(self.keys) == self.total

    def agrees(self, before: _Count) -> bool:
        """Tell whether both readings had the same rows, and the server's count may be wrong.

        A wrong count differs by less than a page.
        """
        return self.keys == before.keys and not self.has_hole and self.n_missing <= self.page


@dataclass
class _Day:
    """The results of earlier fetches for a day.

    Attributes:
        keys: the stored rows; empty once the day is complete and not read again.
        digest: of the first page, when the day was last read completely.
    """

    keys: Keys = field(default_factory=set)
    digest: str = ""


@dataclass
class _Read:
    """The days of one endpoint.

    Attributes:
        since: the day of the first fetch, or an earlier requested one.
        upto: the day of the last complete fetch. That day was not over, so it and the days before
            it are read again, however long ago that is.
    """

    since: date
    upto: date
    days: dict[date, _Day] = field(default_factory=dict)

    def overlap(self, on: date) -> date:
        """Return the first day that may have changed since it was read."""
        return max(min(on, self.upto) - OVERLAP_DAYS * _ONE, on - MISSED_DAYS * _ONE)

    def trimmed(self, on: date) -> _Read:
        """Return what later fetches need; days that are not read again need no keys."""
        oldest, overlap = on - MISSED_DAYS * _ONE, self.overlap(on)
        days = {
            day: replace(known, keys=set()) if known.digest and day < overlap else known
            for day, known in sorted(self.days.items())
            if day >= oldest or not known.digest
        }
        return replace(self, days=days)

    def days_to_read(self, on: date, since: date | None) -> list[date]:
        """Return the days up to `on`, latest first, that may have changed or were not read."""
        overlap = self.overlap(on)
        earliest = max(self.since, on - MISSED_DAYS * _ONE)
        first, again = min(overlap, earliest, since or earliest), min(overlap, since or overlap)
        days = [on - n * _ONE for n in range((on - first).days + 1)]
        return [day for day in days if day >= again or not self.days.get(day, _Day()).digest]


@dataclass
class _State:
    """The cursor's content."""

    read: dict[str, _Read]
    form: Literal[2] = 2

    @classmethod
    def load(cls, cursor: str | None, on: date) -> _State:
        """Read a cursor; an unreadable one starts from the beginning, which loses nothing.

        What it has of days after `on` is of a clock that was ahead, and set aside.
        """
        state = read_cursor(cls, cursor)
        reads = {endpoint: _Read(on, on) for endpoint in _ENDPOINTS} | (state.read if state else {})
        for read in reads.values():
            read.since = min(read.since, on)
            read.days = {day: known for day, known in read.days.items() if day <= on}
        return cls(reads)

    def cursor(self, on: date) -> str:
        return write_cursor(_State({name: read.trimmed(on) for name, read in self.read.items()}))
