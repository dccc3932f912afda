"""Damaged feeds, libraries, dumps and lists: no crash, no paper lost uncounted, no wrong day."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import DATA
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, FetchedPaper
from triage.errors import ConfigError, SourceError
from triage.sources.feed.identity import distinct_entries
from triage.sources.feed.source import FeedSource, parse
from triage.sources.files.detect import open_source
from triage.sources.files.json_lines import JsonLines
from triage.sources.files.reading import json_records
from triage.sources.http.client import Answer
from triage.sources.text.dates import parse_dates
from triage.sources.text.decoding import decode
from triage.subscribers.bibliography import entries as bibliography
from triage.subscribers.library_import import library_papers

pytestmark = pytest.mark.any_database("it stores nothing")

TODAY = date(2026, 3, 2)
URL = "https://journal.example/feed"
FEEDS = sorted(DATA.glob("feed_*"))
LIBRARIES = sorted((DATA / "libraries").iterdir())
DUMPS = sorted(DATA.glob("*.jsonl")) + sorted((DATA / "libraries").glob("list_*"))
# In all 100,000 with --full.
N_FEEDS, N_LIBRARIES, N_DUMPS = 50_000, 40_000, 10_000
QUICK = 200
JUNK = (
    b"&", b"<", b">", b"&nbsp;", b"&#0;", b"&#xD800;", b"]]>", b"<![CDATA[", b"<!--", b"{", b"}",
    b"$", b"\\", b"\\frac", b"@article{", b"TY  - JOUR\n", b"ER  - \n", b"\x00", b"\xff\xfe",
    b"\xef\xbb\xbf", b"\xe2\x80\x8b", b"10.1000/x", b"2401.00001", b"1999-02-30", b"0000",
    b"99999999999999999999", b"<dc:date>2031</dc:date>", b"\r", b"\n\n", b"%", b"a" * 5_000,
    b"{" * 500, b"[" * 1_000,
)  # fmt: skip


class StillClient:
    """Answers every request with one body."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def get(self, *_: object, **__: object) -> Answer:
        return Answer(200, self._body)


def damaged(bodies: list[bytes], rng: random.Random) -> bytes:
    """Return one of the bodies with one to four changes."""
    body = rng.choice(bodies)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(body) + 1)
        end = at + int(rng.expovariate(1 / 20))
        kind = rng.choice(("drop", "insert", "flip", "repeat", "cut", "splice", "code"))
        if kind == "drop":
            body = body[:at] + body[end:]
        elif kind == "insert":
            body = body[:at] + rng.choice(JUNK) + body[at:]
        elif kind == "flip":
            body = body[:at] + rng.randbytes(2) + body[at + 2 :]
        elif kind == "repeat":
            body = body[:end] + body[at:]
        elif kind == "cut":
            body = body[:at] if rng.random() < 0.3 else body
        elif kind == "splice":
            other = rng.choice(bodies)
            body = body[:at] + other[rng.randrange(len(other) + 1) :]
        elif rng.random() < 0.2:
            body = body.decode("utf-8", "replace").encode(rng.choice(("utf-16", "gb18030")))
    return body


def cases(files: list[Path], n: int, seed: str) -> Iterator[bytes]:
    rng = random.Random(seed)  # noqa: S311 - a test's own dice
    bodies = [file.read_bytes() for file in files]
    for _ in range(n):
        yield damaged(bodies, rng)


@pytest.fixture
def n_of(request: pytest.FixtureRequest) -> Any:
    full = request.config.getoption("--full")
    return lambda n: n if full else QUICK


def test_no_entry_of_a_damaged_feed_is_lost_or_on_a_wrong_day(n_of: Any) -> None:
    n_read = 0
    for body in cases(FEEDS, n_of(N_FEEDS), "feeds"):
        batches: list[Batch] = []
        try:
            found, n_total = parse(body, URL)
            batches.extend(FeedSource(StillClient(body), "journal", URL, TODAY).fetch(None))  # type: ignore[arg-type]
        except SourceError:
            assert not batches or batches[-1].days[0].verdict is Verdict.FAILED
            continue
        n_read += 1
        assert n_total == len(found)
        entries = distinct_entries(found)
        titles, texts = {each.title for each in entries}, {each.text for each in entries}
        assert all(each.title in titles or each.text in texts for each in found)
        papers = [paper for batch in batches for paper in batch.papers]
        rejected = [each for batch in batches for each in batch.rejected]
        assert len(papers) + len(rejected) == len(entries), body
        [day] = [day for batch in batches for day in batch.days]
        assert day.got == len(papers)
        for paper in papers:
            check_day(paper, [date for each in entries for date in each.dates])
    assert n_read > 20


def check_day(paper: FetchedPaper, texts: list[str]) -> None:
    assert paper.listed_on is not None
    assert paper.listed_on <= TODAY
    if paper.listed_on != TODAY:
        ranges = [found for text in texts if (found := parse_dates(text))]
        assert any(each.first <= paper.listed_on <= each.last for each in ranges)


def test_no_damaged_library_breaks_its_reader(n_of: Any) -> None:
    n_read = 0
    for body in cases(LIBRARIES, n_of(N_LIBRARIES), "libraries"):
        try:
            text = decode(body)
        except ValueError:
            assert b"\0" in body
            continue
        try:
            entries = bibliography.read(text)
        except ConfigError:
            continue
        n_read += bool(entries)
        for entry in entries:
            assert entry.ids or entry.title or entry.where
            if entry.published_on is not None:
                year = f"{entry.published_on:%Y}"
                assert year in text or year[2:] in text, entry
        for paper in library_papers(entries, TODAY):
            assert paper.title
            assert paper.abstract
            assert paper.listed_on
            assert paper.listed_on <= TODAY
    assert n_read > 20


def test_every_line_of_a_damaged_dump_is_a_paper_or_rejected(tmp_path: Path, n_of: Any) -> None:
    path = tmp_path / "some.jsonl"
    n_read = 0
    for body in cases(DUMPS, n_of(N_DUMPS), "dumps"):
        path.write_bytes(body)
        try:
            source = open_source(path, TODAY)
            batches = list(source.fetch(None))
            n_lines = sum(bool(line.strip()) for _, line in json_records(path))
        except SourceError:
            continue
        papers = [paper for batch in batches for paper in batch.papers]
        if isinstance(source, JsonLines):
            n_read += 1
            assert len(papers) + sum(len(batch.rejected) for batch in batches) == n_lines, body
        for paper in papers:
            assert paper.listed_on is not None
            assert paper.listed_on <= TODAY
    assert n_read > 20
