"""Hugging Face Daily Papers: arXiv papers that people recommend there, with their upvotes.

There is one JSON listing a day. Upvotes keep coming for days, so earlier days are read again. The
trending papers are a listing without a day; some are in no day's listing, or in an old one.
https://huggingface.co/docs/hub/api#get-apidailypapers, November 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any, Final, Literal

from triage.domain.announcement_calendar import announcement_days, empty_verdict
from triage.domain.paper_ids import parse_arxiv
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, FetchedPaper, Rejected, SourceDay
from triage.errors import RejectedRecord, SourceError
from triage.sources.cursors import read_cursor, write_cursor
from triage.sources.enrichers.publication import parse_count
from triage.sources.http.client import Answer, PoliteClient
from triage.sources.text.cleaning import (
    MOST_REJECTED,
    NOTE_CHARS,
    explain_rejected,
    normalise,
    parse_each,
    require,
)
from triage.sources.text.json import dig, loads

REFRESHED_DAYS: Final = 5
MISSED_DAYS: Final = 30
MOST_RECORDS: Final = 500
_DAYS_KEPT: Final = 30
_ADDRESS: Final = re.compile(r"https?://[!-~]{4,500}")


@dataclass
class HuggingFaceDaily:
    """The listings of a day, of the few days before it and of missed days, and trending papers.

    Attributes:
        client: shared by all requests to Hugging Face.
        url: of the listings; `?date=2026-03-02` or `?sort=trending` is appended.
        on: the day that counts as today.
        since: read every day from this one on; None for the days that were not read yet.
        trending: read the trending papers, too. They are those of this moment, so this should be
            False if `on` is a past day.
    """

    client: PoliteClient
    url: str
    on: date
    since: date | None = None
    trending: bool = True
    name: str = field(default="hf_daily", init=False)

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield each day's papers if its listing has changed since `cursor`, today first.

        Days before the first fetch are read, but get no verdict. Trending papers come last, listed
        on today; a stored paper keeps its earlier day, and only its upvotes change.

        Raises:
            SourceError: a listing cannot be read. The day's verdict is yielded first, unless an
                earlier fetch has read the day.
        """
        # An unreadable cursor starts from the beginning, which loses nothing.
        state = read_cursor(_State, cursor) or _State(self.on, self.on)
        # A later day of the first fetch is of a clock that was ahead.
        state.since = min(state.since, self.since or state.since, self.on)
        days = (self.on, *state.days_to_read(self.on, self.since))
        for on in days:
            if on == days[-1]:
                state.upto = max(state.upto, self.on)
            has_verdict = on == self.on or on >= state.since
            try:
                batch = self._day(on, state)
            except SourceError as error:
                if not has_verdict:
                    return
                if on not in state.days:
                    note = str(error)[:NOTE_CHARS]
                    yield Batch(days=(SourceDay(self.name, on, Verdict.FAILED, None, 0, note),))
                raise
            if has_verdict or batch.papers or batch.rejected:
                yield batch
            if any(day.verdict is Verdict.FAILED for day in batch.days):
                raise SourceError(explain_rejected(f"Hugging Face's papers of {on}"))
        if self.trending:
            yield from self._trending_papers(state)

    def _trending_papers(self, state: _State) -> Iterator[Batch]:
        answer = self.client.get(self.url, {"sort": "trending"})
        digest = _digest(answer)
        # A server that ignores `sort` sends the listing of a day.
        if digest in {state.trending, *(day.digest for day in state.days.values())}:
            return
        listing = _listing(answer)
        papers, rejected = _papers(listing, self.on, "trending")
        failed = len(rejected) > MOST_REJECTED * len(listing)
        if not failed:
            state.trending = digest
        if papers or rejected:
            yield Batch(tuple(papers), tuple(rejected), state.cursor())
        if failed:
            raise SourceError(explain_rejected("Hugging Face's trending papers"))

    def _day(self, on: date, state: _State) -> Batch:
        known = state.days.get(on)
        answer = self.client.get(
            self.url, {"date": on.isoformat()}, etag=known.etag if known else ""
        )
        digest = _digest(answer)
        if known and (answer.not_modified or digest == known.digest):
            return Batch(cursor=state.cursor(), days=(self._verdict(on, known),))
        papers, rejected = _papers(_listing(answer), on, "listing")
        day = _Day(answer.etag, digest, len(papers) + len(rejected), len(papers))
        if any(d.digest == digest and d.got for other, d in state.days.items() if other != on):
            # Two days never have equal upvotes: the server ignored the date.
            papers, rejected, day = [], [], _Day("", "", 0, 0)
        verdict = self._verdict(on, day)
        if verdict.verdict is not Verdict.FAILED:
            state.days[on] = day
        return Batch(tuple(papers), tuple(rejected), state.cursor(), (verdict,))

    def _verdict(self, on: date, day: _Day) -> SourceDay:
        if not day.expected:
            verdict = empty_verdict(on)
            n = 0 if verdict is Verdict.EMPTY_EXPECTED else None
            return SourceDay(self.name, on, verdict, n, 0, "no listing for this day")
        n_bad = day.expected - day.got
        # A few rejected records do not come again, so no digest waits for them.
        failed = n_bad > MOST_REJECTED * day.expected
        verdict = Verdict.FAILED if failed else Verdict.COMPLETE
        note = f"{n_bad} kept aside: could not be used" if n_bad else ""
        return SourceDay(self.name, on, verdict, day.expected, day.got, note)


@dataclass(frozen=True, slots=True)
class _Day:
    """One listing as it was last read."""

    etag: str
    digest: str
    expected: int
    got: int


@dataclass
class _State:
    """The cursor's content.

    Attributes:
        since: the day of the first fetch, or an earlier requested one.
        upto: the day of the last complete fetch. That day was not over, so it and the days before
            it are read again, however long ago that is.
        trending: the digest of the trending papers.
    """

    since: date
    upto: date
    days: dict[date, _Day] = field(default_factory=dict)
    trending: str = ""
    form: Literal[2] = 2

    def cursor(self) -> str:
        return write_cursor(replace(self, days=dict(sorted(self.days.items())[-_DAYS_KEPT:])))

    def days_to_read(self, on: date, since: date | None) -> list[date]:
        """Return the days before `on`, latest first, that may have changed or were not read."""
        one = timedelta(days=1)
        oldest = on - MISSED_DAYS * one
        refreshed = max(min(on, self.upto) - REFRESHED_DAYS * one, oldest)
        earliest = max(self.since, oldest)
        days = announcement_days(min(refreshed, earliest, since or earliest), on - one)
        again = min(refreshed, since or refreshed)
        return [day for day in reversed(days) if day >= again or day not in self.days]


def _digest(answer: Answer) -> str:
    return blake2b(answer.body, digest_size=8).hexdigest()


def _listing(answer: Answer) -> list[Any]:
    what = "Hugging Face's listing"
    listing = loads(answer.body, what)
    if isinstance(listing, dict) and "error" in listing:
        raise SourceError(f"{what} was refused: {str(listing['error'])[:200]}")
    if not isinstance(listing, list):
        raise SourceError(f"{what} is no list of papers. Check `url` in the config.")
    return listing[:MOST_RECORDS]


def _papers(listing: list[Any], on: date, what: str) -> tuple[list[FetchedPaper], list[Rejected]]:
    papers, rejected = parse_each(
        listing,
        lambda record: _paper(record, on),
        lambda record: json.dumps(record, ensure_ascii=False),
        f"{what} of {on}, record",
    )
    first = {paper.source_id: paper for paper in reversed(papers)}
    return [paper for paper in papers if first[paper.source_id] is paper], rejected


def _paper(record: Any, on: date) -> FetchedPaper:
    if not isinstance(record, dict):
        raise RejectedRecord("it is no JSON object")
    paper = dig(record, dict, "paper")

    def first(key: str) -> str:
        return dig(paper, str, key) or dig(record, str, key)

    source_id, version = require(parse_arxiv(first("id")), "it has no arXiv id")
    return normalise(
        FetchedPaper(
            source="arxiv",
            source_id=source_id,
            version=version,
            title=first("title"),
            abstract=first("summary"),
            # Without those that are hidden on the page.
            authors=tuple(
                dig(each, str, "name")
                for each in dig(paper, list, "authors")
                if dig(each, dict).get("hidden") is not True
            ),
            listed_on=on,
            upvotes=parse_count(paper.get("upvotes", record.get("upvotes"))),
            tldr=first("ai_summary"),
            links=tuple(
                filter(_ADDRESS.fullmatch, (first("githubRepo"), first("projectPage"))),
            ),
        )
    )
