"""Upstreams that change their form: no crash, no paper on a wrong day, no other source stopped."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path

import httpx
import pytest

from tests.support.biorxiv_server import Preprints
from tests.support.emulator import Upstreams
from tests.support.fakes import StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import installed
from tests.support.mutations import mutated
from tests.support.paths import DATA
from triage import store
from triage.domain.protocols import Source
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, FetchedPaper, SourceDay
from triage.errors import SourceError
from triage.papers.ingest import fetch
from triage.sources.arxiv.parsing import parse_entries
from triage.sources.arxiv.source import Arxiv
from triage.sources.biorxiv.source import Biorxiv
from triage.sources.feed.source import FeedSource
from triage.sources.hf_daily import HuggingFaceDaily
from triage.sources.http.client import PoliteClient

pytestmark = pytest.mark.any_database(
    "its papers and days go the way that test_ingest shows on each"
)

TUESDAY = date(2026, 6, 30)  # the day that some write 2026-6-30
QUICK, FULL = 25, 200

# -- what upstreams say ----------------------------------------------------------------------------

NO_ENTRIES = b'<feed xmlns="http://www.w3.org/2005/Atom"></feed>'
NO_RECORDS = (
    b'<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">'
    b"<responseDate>2026-06-30T12:00:00Z</responseDate>"
    b'<error code="noRecordsMatch">no records match</error></OAI-PMH>'
)
NO_POSTS = b'{"messages":[{"status":"no posts found"}],"collection":[]}'
BASE = "http://upstream.test"


def arxiv_feed() -> bytes:
    """Return the recorded feed with a dozen items, of our day."""
    text = (DATA / "arxiv_rss_2026-09-24.xml").read_text()
    text = text.replace("Thu, 24 Sep 2026", "Tue, 30 Jun 2026")
    item = re.search(r"<item>.*?</item>", text, re.DOTALL)
    assert item is not None
    more = [item[0].replace("2609.26811", f"2606.268{n:02}") for n in range(10)]
    return text.replace(item[0], "\n".join(more)).encode()


def arxiv_api() -> bytes:
    return (DATA / "arxiv_api_2019-08-10.xml").read_bytes()


def feed_of_api() -> bytes:
    """Return a feed that announces what the recorded answer of the API holds."""
    found = [paper for paper in parse_entries(arxiv_api()).values() if paper and paper.version]
    records = [
        {
            "id": paper.source_id,
            "version": paper.version,
            "kind": "new",
            "title": paper.title,
            "abstract": paper.abstract,
            "authors": paper.authors,
            "categories": ["cs.LG"],
            "listed_date": str(TUESDAY),
        }
        for paper in found
    ]
    with Upstreams(records) as upstreams:
        return upstreams._rss("/rss/cs.LG", None).encode()


def empty_feed() -> bytes:
    """Return the recorded feed without items, of our day: then OAI-PMH is asked for that day."""
    return re.sub(rb"(?s)<item>.*</item>", b"", arxiv_feed())


def oai_list() -> bytes:
    """Return a list of a dozen records, whose last page tells how many there are."""
    record = {"title": "A title", "abstract": "What we found.", "categories": ["cs.LG", "stat.ML"]}
    record |= {"authors": ["Ada Lovelace", "Emmy Noether"], "listed_date": str(TUESDAY)}
    with Upstreams([record | {"id": f"2606.268{n:02}"} for n in range(12)]) as upstreams:
        whole = upstreams._oai({"from": "2026-06-29", "until": "2026-06-29"}, None)
    end = '<resumptionToken completeListSize="12" cursor="0"/></ListRecords>'
    return whole.replace("</ListRecords>", end).encode()


def hf_listing() -> bytes:
    return gzip.decompress((DATA / "hf_daily_2025-07-10.json.gz").read_bytes())


def postings() -> bytes:
    preprints = Preprints()
    preprints.post(TUESDAY, 12)
    return preprints._answer(f"/details/biorxiv/{TUESDAY}/{TUESDAY}/0/json")


def publications() -> bytes:
    preprints = Preprints()
    for n in range(12):
        preprints.publish(TUESDAY, preprint_doi=f"10.1101/2025.09.17.{n:06}")
    return preprints._answer(f"/pubs/biorxiv/{TUESDAY}/{TUESDAY}/0")


def json_feed() -> bytes:
    papers = [entry["paper"] for entry in json.loads(hf_listing())]
    items = [
        {
            "id": f"{BASE}/{paper['id']}",
            "url": f"{BASE}/{paper['id']}",
            "title": paper["title"],
            "content_text": paper["summary"],
            "date_published": f"{TUESDAY}T00:00:00Z",
            "authors": [{"name": author["name"]} for author in paper["authors"]],
        }
        for paper in papers
    ]
    version = "https://jsonfeed.org/version/1.1"
    return json.dumps({"version": version, "title": "Papers", "items": items}).encode()


# -- targets ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """One kind of answer: where it is asked for, and the source that reads it."""

    name: str
    body: Callable[[], bytes]
    path: str
    source: Callable[[PoliteClient], Source]
    feed: Callable[[], bytes] = lambda: b""
    sort: bool = False

    def answers(self, body: bytes) -> httpx.MockTransport:
        others = SILENT | {"/rss": self.feed()}

        def answer(request: httpx.Request) -> httpx.Response:
            path = request.url.path
            trends = "sort" in request.url.params
            day = request.url.params.get("date", str(TUESDAY))
            if path.startswith(self.path) and trends == self.sort and day == str(TUESDAY):
                return httpx.Response(200, stream=httpx.ByteStream(body))
            other = next(other for start, other in others.items() if path.startswith(start))
            return httpx.Response(200, stream=httpx.ByteStream(other))

        return httpx.MockTransport(answer)

    def made(self, body: bytes) -> Source:
        """Return the source with an upstream that answers `body`."""
        transport = self.answers(body)
        return self.source(
            PoliteClient(StoppedClock(), "triage/test", 3.0, transport=lambda _: transport)
        )

    def read(self, body: bytes, cursor: str | None = None) -> Read:
        """Fetch once; what is no SourceError is a crash."""
        batches: list[Batch] = []
        failed = ""
        try:
            batches.extend(self.made(body).fetch(cursor))
        except SourceError as error:
            failed = str(error)
        return Read(batches, failed)


def arxiv(gate: PoliteClient) -> Source:
    urls = (f"{BASE}/rss", f"{BASE}/api", f"{BASE}/oai")
    return Arxiv(gate, ["cs.LG"], *urls, TUESDAY)


def hugging_face(gate: PoliteClient) -> Source:
    return HuggingFaceDaily(gate, f"{BASE}/hf", TUESDAY)


def biorxiv(gate: PoliteClient) -> Source:
    return Biorxiv(gate, "biorxiv", BASE, TUESDAY)


def feed(gate: PoliteClient) -> Source:
    return FeedSource(gate, "Papers", f"{BASE}/feed", TUESDAY)


SILENT = {"/api": NO_ENTRIES, "/oai": NO_RECORDS, "/hf": b"[]", "/details": NO_POSTS}
SILENT |= {"/pubs": NO_POSTS}
DETAILS = f"/details/biorxiv/{TUESDAY}/{TUESDAY}/0"
PUBS = f"/pubs/biorxiv/{TUESDAY}/{TUESDAY}/0"
TARGETS = [
    Target("arxiv_rss", arxiv_feed, "/rss", arxiv),
    Target("arxiv_api", arxiv_api, "/api", arxiv, feed_of_api),
    Target("arxiv_oai", oai_list, "/oai", arxiv, empty_feed),
    Target("hf_daily", hf_listing, "/hf", hugging_face),
    Target("hf_trending", hf_listing, "/hf", hugging_face, sort=True),
    Target("biorxiv", postings, DETAILS, biorxiv),
    Target("biorxiv_pubs", publications, PUBS, biorxiv),
    Target("feed_rss", arxiv_feed, "/feed", feed),
    Target("feed_json", json_feed, "/feed", feed),
]
# What adds to papers, and is no proof of a day.
ASIDE = {"arxiv_api", "hf_trending", "biorxiv_pubs"}
FEEDS = {"feed_rss", "feed_json"}


@dataclass(frozen=True)
class Read:
    """What one fetch gave; `failed` is the error's text."""

    batches: Sequence[Batch]
    failed: str

    @property
    def papers(self) -> list[FetchedPaper]:
        return list(chain.from_iterable(batch.papers for batch in self.batches))

    @property
    def n_rejected(self) -> int:
        return sum(len(batch.rejected) for batch in self.batches)

    @property
    def today(self) -> SourceDay | None:
        days = [day for batch in self.batches for day in batch.days if day.on == TUESDAY]
        return days[-1] if days else None

    @property
    def cursor(self) -> str | None:
        return next((b.cursor for b in reversed(self.batches) if b.cursor is not None), None)


# -- the promise -----------------------------------------------------------------------------------


@pytest.mark.guarantee("R33")
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_changed_form_neither_crashes_nor_misleads(target: Target, guarantee: Guarantee) -> None:
    whole = target.body()
    true = target.read(whole)
    assert not true.failed
    day_of = {paper.source_id: paper.listed_on for paper in true.papers}
    assert len(day_of) >= 10
    n_failed = n_quarantined = 0
    n = FULL if guarantee.full else QUICK
    for case in range(n):
        chance = random.Random(f"{target.name} {case}")  # noqa: S311 - no secret
        body, change = mutated(whole, chance)
        said = f"{target.name} {case}: {change}"
        read = target.read(body)
        n_failed += bool(read.failed)
        n_quarantined += read.n_rejected
        for paper in read.papers:
            assert paper.listed_on in {day_of.get(paper.source_id, TUESDAY), TUESDAY}, said
        n_read = len(read.papers) + read.n_rejected
        if read.n_rejected > 0.2 * n_read:
            assert read.failed, said
        if read.failed and read.today is not None and target.name not in ASIDE:
            assert read.today.verdict in {Verdict.FAILED, Verdict.PARTIAL}, said
        if read.today is not None and read.today.verdict is Verdict.COMPLETE:
            assert read.papers or target.name in ASIDE | FEEDS, f"{said}: complete, and empty"
        healed = target.read(whole, read.cursor)
        assert not healed.failed, said
        ids = {paper.source_id for paper in (*read.papers, *healed.papers)}
        # What lies in quarantine need not come again, and a feed's entry may go by another id.
        n_lost = (
            max(0, len(day_of) - len(ids)) if target.name in FEEDS else len(day_of.keys() - ids)
        )
        assert n_lost <= read.n_rejected, f"{said}: {day_of.keys() - ids} never came"
    guarantee.record(
        **{
            f"n_payloads_{target.name}": n,
            f"n_failed_{target.name}": n_failed,
            f"n_quarantined_{target.name}": n_quarantined,
            "n_crashes": 0,
            "n_papers_on_a_wrong_day": 0,
        }
    )


# What a new release might call the field that a record cannot do without.
RENAMED = {
    "arxiv_rss": ("nnounce", "nnouncement"),
    "arxiv_oai": ("abstract>", "summary>"),
    "hf_daily": ('"id"', '"arxivId"'),
    "hf_trending": ('"title"', '"name"'),
    "biorxiv": ('"doi"', '"DOI"'),
    "biorxiv_pubs": ('"preprint_doi"', '"doi"'),
    "feed_rss": ("title>", "heading>"),
    "feed_json": ('"title"', '"heading"'),
}


@pytest.mark.guarantee("R33")
@pytest.mark.parametrize("name", RENAMED)
def test_a_form_that_has_changed_fails_its_source_and_stops_no_other(
    tmp_path: Path, name: str, guarantee: Guarantee
) -> None:
    [target] = [target for target in TARGETS if target.name == name]
    healthy = [other for other in TARGETS if other.name in {"hf_daily", "biorxiv"}]
    other = next(other for other in healthy if other.source is not target.source)
    drifted = target.body().decode().replace(*RENAMED[name]).encode()
    sources = [target.made(drifted), other.made(other.body())]
    with installed(tmp_path) as database:
        [problem] = fetch(database, sources, StoppedClock())
        assert problem.startswith(f"source {sources[0].name}: ")
        assert "quarantine" in problem
        with database.read() as conn:
            days = {day.source: day for day in store.sources.days(conn, TUESDAY, TUESDAY)}
            origins = {paper.source for paper in store.papers.iterate(conn)}
            kept = store.sources.quarantined(conn, sources[0].name)
    if name not in ASIDE:
        assert days[sources[0].name].verdict is Verdict.FAILED
    assert days[sources[1].name].got >= 10
    assert origins
    assert len(kept) >= 10


def test_without_the_api_the_feed_is_enough_for_a_start() -> None:
    [target] = [target for target in TARGETS if target.name == "arxiv_api"]
    read = target.read(target.body().replace(b"entry>", b"record>"))
    assert not read.failed
    assert len(read.papers) == 10
    assert read.today is not None
    assert read.today.verdict is Verdict.PARTIAL
