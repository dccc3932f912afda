"""bioRxiv and medRxiv: what was posted on a day, and which preprints a journal has published.

    for each day: page by page, by rows received → what was not stored yet → batches → verdict

The server's count is a hint, the end of a day is an empty page: the pages have had 100 rows and 30,
and the count has been too large (https://github.com/ropensci/medrxivr/issues/19). Rows come late,
so the days before are read again. https://api.biorxiv.org, November 2026.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Final

from triage.domain.announcement_calendar import empty_verdict
from triage.domain.paper_ids import source_name
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, FetchedPaper, Rejected, SourceDay
from triage.errors import RejectedRecord, SourceError
from triage.sources.biorxiv.parsing import BadAnswer, Page, parse, posted, published, row_key
from triage.sources.http.client import PoliteClient
from triage.sources.text.cleaning import reject

OVERLAP_DAYS: Final = 3
MISSED_DAYS: Final = 30
MOST_ROWS: Final = 5_000
_ASKED_AGAIN: Final = 2
_FORM: Final = 1
_MOST_REJECTED: Final = 0.2
_NOTE_CHARS: Final = 400
_ONE: Final = timedelta(days=1)


class Biorxiv:
    """The preprints of one of the two servers.

    Args:
        gate: shared by all requests to both servers, which have one address.
        server: `biorxiv` or `medrxiv`; the source's name, too.
        url: `/details/…` and `/pubs/…` are appended.
        on: the day that counts as today.
        since: read every day from this one on; None for what was not read yet.
    """

    def __init__(
        self, gate: PoliteClient, server: str, url: str, on: date, *, since: date | None = None
    ) -> None:
        self.name = server
        self._gate = gate
        self._url = url.rstrip("/")
        self._on = on
        self._since = since

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield what was posted since `cursor`, today first, then what journals published.

        A paper is listed on the day of its first version; a later version changes a stored paper
        and is no news, as is the journal's publication. Days before the first fetch ever are read
        for their papers; nothing is promised of them.

        Raises:
            SourceError: the server, or the answer for one day, cannot be read. That day's verdict
                was yielded before, unless it had been read at an earlier fetch.
        """
        state = _State.load(cursor, self._on)
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
            # The days after it may have been as they were, which is worth remembering, too.
            yield replace(held, cursor=state.cursor(self._on))

    def _days(self, state: _State) -> Iterator[Batch]:
        trouble: SourceError | None = None
        for endpoint in _ENDPOINTS:
            read = state.read[endpoint]
            read.since = min(read.since, self._since or read.since)
            for on in read.days_to_read(self._on, self._since):
                try:
                    yield from self._day(endpoint, on, state)
                except BadAnswer as error:
                    trouble = trouble or error
            if trouble is None:
                read.upto = max(read.upto, self._on)
        if trouble is not None:
            raise trouble

    def _day(self, endpoint: str, on: date, state: _State) -> Iterator[Batch]:
        """Yield the rows of a day that are not stored yet; the last batch has the verdict."""
        read = state.read[endpoint]
        known = read.days.setdefault(on, _Day())
        earlier = known.was_read
        told = endpoint == "details" and on >= read.since
        held: Batch | None = None
        counts: list[_Count] = []
        try:
            for batch in self._readings(endpoint, on, known, counts):
                if held is not None:
                    yield held
                held = replace(batch, cursor=state.cursor(self._on))
        except SourceError as error:
            cut = (self._cut(on, counts[-1], str(error)),) if told and not earlier else ()
            if held is not None or cut:
                yield replace(held or Batch(), days=cut)
            raise
        if not counts:
            return
        count = counts[-1]
        verdict = self._verdict(on, count, proven=count.is_exact or count.agrees(counts[0]))
        if verdict.verdict is Verdict.FAILED:
            del read.days[on]
        elif verdict.verdict is not Verdict.PARTIAL:
            known.digest = count.digest if count.is_exact else self._seal(count.digest)
        if held is not None or told:
            days = (verdict,) if told else ()
            yield replace(held or Batch(), cursor=state.cursor(self._on), days=days)
        if verdict.verdict is Verdict.FAILED:
            raise BadAnswer(
                f"More than a fifth of the records of {source_name(self.name)} of {on} could not be"
                " used, so their form must have changed. They are kept in quarantine and read again"
                " at the next fetch."
            )

    def _readings(
        self, endpoint: str, on: date, known: _Day, counts: list[_Count]
    ) -> Iterator[Batch]:
        """Read a day, twice if it has other rows than the server counts, and yield what is fresh.

        Args:
            counts: gets the count of each reading; in the end it has none if the day is as it was.
        """
        # Whether a day that was read and is over has changed is worth one question a day.
        is_over = on < self._on or endpoint == "pubs"
        once = is_over and bool(known.digest and known.keys)
        is_fresh = False
        for again in (False, True):
            count = _Count()
            counts.append(count)
            for page in self._pages(endpoint, on, count, once=once and not again):
                if not (is_fresh or count.keys) and self._is_sealed(known, page.digest):
                    counts.clear()
                    return
                papers, rejected = self._fresh(endpoint, on, page, known, count)
                if papers or rejected:
                    is_fresh = True
                    yield Batch(tuple(papers), tuple(rejected))
            if count.is_exact:
                return

    def _seal(self, digest: str) -> str:
        """Return what stands for a day's first page where the server counts wrongly.

        The rows may follow without another count, so it holds for one day only.
        """
        return f"{digest}@{self._on}"

    def _is_sealed(self, known: _Day, digest: str) -> bool:
        """Tell from its first page whether a day is as it was when it was last read to its end."""
        return known.digest in {digest, self._seal(digest)}

    def _pages(self, endpoint: str, on: date, count: _Count, *, once: bool) -> Iterator[Page]:
        """Yield the pages of a day, the first even if it is empty, to the empty one."""
        row = 0
        while row < MOST_ROWS:
            page = self._page(endpoint, on, row, once=once and not row)
            if not row:
                count.digest, count.total, count.page = page.digest, page.total, len(page.rows)
                yield page
            elif page.rows:
                yield page
            if not page.rows:
                break
            row += len(page.rows)
        else:
            raise BadAnswer(f"{source_name(self.name)} has no end of rows for {on}.")
        if count.total is not None and 0 < row < count.total:
            # Rows behind an empty page mean that the page was wrong; none, that the count was.
            count.has_hole = bool(self._page(endpoint, on, count.total - 1).rows)

    def _page(self, endpoint: str, on: date, row: int, *, once: bool = False) -> Page:
        """Ask for the rows from `row` on; errors that come with status 200 are tried again."""
        url = f"{self._url}/{endpoint}/{self.name}/{on}/{on}/{row}"
        url = f"{url}/json" if endpoint == "details" else url
        for attempt in range(_ASKED_AGAIN):
            with suppress(BadAnswer):
                answer = self._gate.get(url, once=once and not attempt)
                return parse(answer.body, source_name(self.name))
        return parse(self._gate.get(url).body, source_name(self.name))

    def _fresh(
        self, endpoint: str, on: date, page: Page, known: _Day, count: _Count
    ) -> tuple[list[FetchedPaper], list[Rejected]]:
        """Count a page's rows and return those that were not stored before."""
        keys = [row_key(row) for row in page.rows]
        if keys and count.keys.issuperset(keys):
            raise BadAnswer(
                f"{source_name(self.name)} sends the same rows of {on} whichever are asked for."
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
                    raw = json.dumps(row, ensure_ascii=False)[:10_000]
                    where = f"{endpoint} of {on}, row {len(count.keys)}"
                    rejected.append(reject(str(error), raw, where))
                continue
            count.n_new += not paper.update_only
            if fresh:
                papers.append(paper)
        return papers, rejected

    def _paper(self, endpoint: str, row: Any, on: date) -> FetchedPaper:
        if not isinstance(row, dict):
            raise RejectedRecord("it is no object")
        if endpoint == "pubs":
            return published(row, self.name, self._on)
        return posted(row, self.name, on)

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
        if n_bad > _MOST_REJECTED * n_rows:
            verdict = Verdict.FAILED
        expected = count.n_new + n_bad + (0 if proven else n_missing)
        return SourceDay(self.name, on, verdict, expected, count.n_new, "; ".join(notes))

    def _cut(self, on: date, count: _Count, trouble: str) -> SourceDay:
        """Say how a day stands whose reading broke off."""
        note = trouble[:_NOTE_CHARS]
        if not count.keys:
            return SourceDay(self.name, on, Verdict.FAILED, None, 0, note)
        return SourceDay(self.name, on, Verdict.PARTIAL, None, count.n_new, note)


_ENDPOINTS: Final = ("details", "pubs")


# -- what was read ---------------------------------------------------------------------------------


@dataclass
class _Count:
    """One reading of a day: its distinct rows, the usable new papers, and what cannot be used."""

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
        """Tell whether reading twice gave the same, and what the server counts may be wrong.

        A count that is wrong is wrong by less than a page.
        """
        return self.keys == before.keys and not self.has_hole and self.n_missing <= self.page


@dataclass
class _Day:
    """What earlier fetches had of a day.

    Attributes:
        keys: the rows stored; none once a day is settled that is not read again.
        digest: the first page when the day was last read and nothing was missing.
    """

    keys: set[str] = field(default_factory=set)
    digest: str = ""

    @property
    def was_read(self) -> bool:
        return bool(self.keys or self.digest)


@dataclass
class _Read:
    """The days of one endpoint.

    Attributes:
        since: the day of the first fetch ever, or an earlier one that was asked for.
        upto: the last day that was today when all was read. It was not over then, so it and the
            days before it are read again, however long ago that is.
    """

    since: date
    upto: date
    days: dict[date, _Day] = field(default_factory=dict)

    def overlap(self, on: date) -> date:
        """Return the first of the days that may have changed since they were read."""
        return max(min(on, self.upto) - OVERLAP_DAYS * _ONE, on - MISSED_DAYS * _ONE)

    def days_to_read(self, on: date, since: date | None) -> list[date]:
        """Return the days to `on`, latest first: what may have changed or was not read."""
        overlap = self.overlap(on)
        earliest = max(self.since, on - MISSED_DAYS * _ONE)
        first, again = min(overlap, earliest, since or earliest), min(overlap, since or overlap)
        days = [on - n * _ONE for n in range((on - first).days + 1)]
        return [day for day in days if day >= again or not self.is_settled(day)]

    def is_settled(self, day: date) -> bool:
        return day in self.days and self.days[day].digest != ""


@dataclass
class _State:
    """The cursor's content."""

    read: dict[str, _Read]

    @classmethod
    def load(cls, cursor: str | None, on: date) -> _State:
        """Read a cursor; what is none of ours starts from the beginning, which loses nothing."""
        try:
            content = json.loads(cursor or "")
            if content["form"] != _FORM:
                raise ValueError("another form")
            return cls({endpoint: _read_back(content[endpoint]) for endpoint in _ENDPOINTS})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return cls({endpoint: _Read(on, on) for endpoint in _ENDPOINTS})

    def cursor(self, on: date) -> str:
        content: dict[str, Any] = {"form": _FORM}
        for endpoint, read in self.read.items():
            days = {
                day.isoformat(): [
                    "" if known.digest and day < read.overlap(on) else " ".join(sorted(known.keys)),
                    known.digest,
                ]
                for day, known in sorted(read.days.items())
                if day >= on - MISSED_DAYS * _ONE or not known.digest
            }
            content[endpoint] = [read.since.isoformat(), read.upto.isoformat(), days]
        return json.dumps(content, separators=(",", ":"))


def _read_back(content: Any) -> _Read:
    since, upto, days = content
    return _Read(
        date.fromisoformat(since),
        date.fromisoformat(upto),
        {
            date.fromisoformat(day): _Day(set(keys.split()), str(digest))
            for day, (keys, digest) in days.items()
        },
    )
