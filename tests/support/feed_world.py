"""A feed on loopback whose content a test chooses, and what becomes of it."""

from __future__ import annotations

from datetime import date
from typing import Any
from xml.sax.saxutils import escape

from tests.support.emulator import Upstreams
from tests.support.fakes import StoppedClock
from triage import store
from triage.domain.records import Paper
from triage.domain.source_records import FetchedPaper, SourceDay
from triage.errors import RejectedRecord
from triage.papers.ingest import IngestReport, ingest
from triage.sources.feed.source import FeedSource, parse
from triage.sources.http.client import PoliteClient
from triage.store import Database

MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)


def entry(n: int, **fields: str) -> dict[str, str]:
    return {
        "guid": f"https://lab.example/{n}",
        "title": f"Note number {n}",
        "description": f"What number {n} is about, in a sentence.",
        "pubDate": "Mon, 02 Mar 2026 08:00:00 GMT",
    } | fields


def stored_id(n: int) -> str:
    """Return the id of an entry of a feed that is served by a host which is not the entry's."""
    return f"guid:https://lab.example/{n}"


def rss(*entries: dict[str, str]) -> bytes:
    items = "".join(
        f"<item>{''.join(f'<{k}>{escape(v)}</{k}>' for k, v in each.items() if v)}</item>"
        for each in entries
    )
    return f'<rss version="2.0"><channel><title>Lab</title>{items}</channel></rss>'.encode()


def papers_of(body: bytes, url: str, on: date = MONDAY) -> list[FetchedPaper | str]:
    """Return each entry's paper, or why it is none."""

    def result(one: Any) -> FetchedPaper | str:
        try:
            paper: FetchedPaper = one.paper("feed:x", url, on)
        except RejectedRecord as error:
            return str(error)
        return paper

    return [result(one) for one in parse(body, url)[0]]


class World:
    """A feed on loopback, a gate on the same stopped clock, and a database."""

    def __init__(self, upstreams: Upstreams, clock: StoppedClock, database: Database) -> None:
        self.upstreams = upstreams
        self.database = database
        self.gate = PoliteClient(clock, "triage/test", 1.0)
        self.clock = clock
        self.url = f"{upstreams.base}/rss/lab"

    def show(self, body: bytes) -> None:
        self.upstreams.bodies["rss"] = body

    def source(self, on: date = MONDAY) -> FeedSource:
        return FeedSource(self.gate, "lab", self.url, on)

    def fetch(self, on: date = MONDAY) -> IngestReport:
        report = IngestReport()
        for step in ingest(self.database, self.source(on), self.clock, resume=True):
            report = step
        return report

    def papers(self) -> dict[str | None, Paper]:
        with self.database.read() as conn:
            return {paper.source_id: paper for paper in store.papers.iterate(conn)}

    def days(self) -> dict[date, SourceDay]:
        with self.database.read() as conn:
            return {day.on: day for day in store.sources.days(conn, date.min, date.max)}
