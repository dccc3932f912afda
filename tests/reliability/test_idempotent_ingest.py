"""The same records give the same tables: in any order, twice, and through any number of kills.

A stream of listing days is told by six origins that repeat, extend and contradict each other. It
is stored once in order, and again shuffled, with batches repeated and processes killed in the
middle of transactions, while digests are made of what is there.
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select

from tests.support import databases
from tests.support.emulator import Upstreams
from tests.support.factories import impression, slate
from tests.support.fakes import StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import ListedSource, add_reader, fetched, queue, rows
from tests.support.paths import ROOT
from triage import store
from triage.domain.records import Subscriber
from triage.domain.source_records import Batch, FetchedPaper
from triage.papers.ingest import ingest
from triage.ranking.candidates import find_filter
from triage.sources.arxiv.source import Arxiv
from triage.sources.http.client import PoliteClient
from triage.sources.text.withdrawal import says_withdrawn
from triage.store import Database, open_database
from triage.store.tables import impressions

DEMO = ROOT / "triage" / "cli" / "demo" / "papers.jsonl.gz"
STREAM = ROOT.parent / "shared" / "bench" / "listings-2026" / "papers.jsonl.gz"
ONE_DAY = timedelta(days=1)
READERS = 3
SHOWN = 4
# What it says is nothing where its paper is not stored yet, so that depends on the order.
REPLACEMENTS = "arxiv: replaced"

Told = tuple[str, tuple[FetchedPaper, ...]]
"""One batch: its origin and its records."""


# -- the stream ------------------------------------------------------------------------------------


def listed(path: Path, days: int) -> list[dict[str, Any]]:
    """Return the records of the last so many days of a stream."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found = [{"authors": []} | json.loads(line) for line in file]
    last = date.fromisoformat(max(row["listed_date"] for row in found))
    since = str(last - days * ONE_DAY)
    return [row for row in found if row["listed_date"] > since]


def _paper(row: dict[str, Any]) -> FetchedPaper:
    return FetchedPaper(
        source="arxiv",
        source_id=row["id"],
        title=row["title"],
        abstract=row["abstract"],
        raw_title=row["title"],
        raw_abstract=row["abstract"],
        version=1,
        authors=tuple(row.get("authors") or ()),
        categories=tuple(row.get("categories") or ()),
        listed_on=date.fromisoformat(row["listed_date"]),
    )


def told_over_http(rows: list[dict[str, Any]]) -> list[Told]:
    """Return what arXiv's interfaces give: each day by feed and API, then all by OAI-PMH.

    What is said of papers that are not stored is left out: it depends on the order by its nature.
    """
    told: list[Told] = []
    clock = StoppedClock()
    with (
        Upstreams(rows, clock=clock) as upstreams,
        closing(PoliteClient(clock, "triage/test", 3)) as gate,
    ):
        upstreams.oai_page = 1_000
        days = sorted(upstreams.days)
        watched = sorted({category for row in rows for category in row["categories"]})

        def read(on: date, cursor: str | None, since: date | None = None) -> str | None:
            upstreams.show(on)
            urls = upstreams.rss_url, upstreams.api_url, upstreams.oai_url
            for batch in Arxiv(gate, watched, *urls, on, since).fetch(cursor):
                told.append(("arxiv", tuple(p for p in batch.papers if not p.update_only)))
                cursor = batch.cursor or cursor
            return cursor

        cursor = None
        for on in days:
            cursor = read(on, cursor)
        read(days[-1] + 3 * ONE_DAY, None, days[0])
    return [(origin, papers) for origin, papers in told if papers]


def told_by_all(papers: Sequence[FetchedPaper], seed: int) -> list[Told]:
    """Return what the origins say of these papers, in the order of days."""
    rng = random.Random(seed)  # noqa: S311
    said: dict[tuple[date, str], list[FetchedPaper]] = {}

    def say(origin: str, paper: FetchedPaper, days: int = 0, **fields: Any) -> None:
        assert paper.listed_on is not None
        on = paper.listed_on + days * ONE_DAY
        record = replace(paper, listed_on=on, **fields)
        record = replace(record, raw_title=record.title, raw_abstract=record.abstract)
        said.setdefault((on, origin), []).append(record)

    def chance(share: float) -> bool:
        return rng.random() < share

    for n, paper in enumerate(papers):
        main, rest = paper.categories[:1], paper.categories[1:]
        doi = f"10.5555/{n}" if chance(0.1) else None
        say("arxiv: announced", paper, categories=main)
        if rest:
            say("arxiv: announced", paper, rng.randrange(3), categories=paper.categories)
        # The same version in other words: one interface was quicker than a correction.
        text = paper.abstract + " Corrected." * chance(0.05)
        say("arxiv: api", paper, comment=f"{n} pages", doi=doi, abstract=text)
        if chance(0.15):
            days = rng.randrange(1, 9)
            new = {"version": 2, "abstract": f"Revised. {text[: len(text) // 2]}"}
            if chance(0.2):
                new["title"] = f"{paper.title} Revisited"
            if chance(0.2):
                new["comment"] = "This paper has been withdrawn by the authors"
                new["withdrawn"] = says_withdrawn("", new["comment"])
            say(REPLACEMENTS, paper, days, update_only=True, **new)
            say("arxiv: harvest", paper, days, doi=doi, **new)
        else:
            say("arxiv: harvest", paper, doi=doi)
        if chance(0.2):
            for day in range(rng.randrange(1, 4)):
                say("hf", paper, day, version=None, upvotes=rng.randrange(99), tldr="Short.")
        twin = chance(0.15)
        if twin or chance(0.1):
            nameless = {"source": "listing", "source_id": None, "version": None, "authors": ()}
            say("listing", paper, upvotes=n, **nameless)
        if twin:
            # Somebody else has given another paper the same title.
            say("arxiv: api", paper, source_id=f"9901.{n:05d}", abstract=f"Other {n}.", authors=())
        if doi is not None:
            say("journal", paper, 3, source="doi", source_id=doi, version=None, venue="Letters")
        elif chance(0.1):
            edited = {"title": f"{paper.title} in practice", "version": None}
            say("journal", paper, 5, source="feed:journal", source_id=f"item-{n}", **edited)
    batches = []
    for (_, origin), several in sorted(said.items(), key=lambda each: each[0]):
        for start in range(0, len(several), 100):
            batches.append((origin, tuple(several[start : start + 100])))
    return batches


# -- storing it ------------------------------------------------------------------------------------


def take_in_all(database: Database, told: Sequence[Told]) -> None:
    for origin, papers in told:
        source = ListedSource(Batch(papers=papers), name=origin)
        for _ in ingest(database, source, StoppedClock(), resume=False):
            pass


def take_in_and_die(url: str, told: Sequence[Told], at_statement: int) -> None:
    """Store batches in a process that is killed before its n-th statement."""
    database = open_database(url)
    seen = 0

    def count(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == at_statement:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(database.engine, "before_cursor_execute", count)
    take_in_all(database, told)


class Killer:
    """Lets processes store batches and kills each of them on its way."""

    def __init__(self, url: str, rng: random.Random) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["sqlalchemy.dialects.sqlite", __name__])
        self._url = url
        self._rng = rng
        self.n_killed = 0

    def __call__(self, told: Sequence[Told]) -> None:
        at = self._rng.randrange(1, 10 * len(told) + 1)
        process = self._context.Process(target=take_in_and_die, args=(self._url, told, at))
        process.start()
        process.join()
        assert process.exitcode in (-signal.SIGKILL, 0)
        self.n_killed += process.exitcode != 0


def show_some(database: Database, reader: Subscriber, n: int, first: date, last: date) -> None:
    """Show a reader a few papers of some days that a digest may show."""
    with database.read() as conn:
        papers = store.papers.listed_between(conn, first, last)
        seen = store.slates.shown_papers(conn, reader.id)
    new = [each for each in papers if find_filter(each, reader, seen, last, 9999) is None]
    some = new[-SHOWN:]
    shown = tuple(impression(i, paper=paper) for i, paper in enumerate(some, 1))
    made = slate(
        0,
        public_id=f"{reader.id}.{n}",
        subscriber=reader,
        on=date(2030, 1, 1) + n * ONE_DAY,
        impressions=shown,
    )
    queue(database, made)


# -- what is stored --------------------------------------------------------------------------------

_OF_THE_DAY = {"id", "paper_id", "first_seen_at", "updated_at", "received_at", "merged_because"}


def fingerprint(database: Database) -> dict[str, str]:
    """Return a hash of each table that ingest writes; ids and times of storing left out."""
    papers, records = rows(database, "papers"), rows(database, "paper_records")
    name = {
        each["paper_id"]: f"{each['source']}:{each['source_id'] or each['raw_title']}"
        for each in records
    }
    work = {each["id"]: each["merged_into"] or each["id"] for each in papers}
    groups: dict[int, list[str]] = {}
    for row, root in work.items():
        groups.setdefault(root, []).append(name[row])
    told = {
        "papers": [
            (name[each["id"]], sorted(groups[work[each["id"]]]), _said(each)) for each in papers
        ],
        "paper_ids": [
            (each["scheme"], each["value"], sorted(groups[work[each["paper_id"]]]))
            for each in rows(database, "paper_ids")
        ],
        "paper_records": [
            (name[each["paper_id"]], _said(each))
            for each in records
            if each["origin"] != REPLACEMENTS
        ],
        "blocking_keys": [
            (each["key"], name[each["paper_id"]]) for each in rows(database, "blocking_keys")
        ],
    }
    return {
        table: sha256("\n".join(sorted(map(repr, each))).encode()).hexdigest()
        for table, each in told.items()
    }


def _said(row: dict[str, Any]) -> list[tuple[str, Any]]:
    told = {key: value for key, value in row.items() if key not in _OF_THE_DAY}
    told.pop("merged_into", None)
    if "withdrawn_at" in told:
        told["withdrawn_at"] = told["withdrawn_at"] is not None
    return sorted(told.items())


def shown_twice(database: Database) -> int:
    """Return how many works any reader was shown more than once, as whichever rows."""
    with database.read() as conn:
        reader, work = impressions.c.subscriber_id, store.papers.WORK
        query = (
            select(func.count())
            .select_from(impressions.join(store.papers.papers))
            .group_by(reader, work)
        )
        return sum(n > 1 for n in conn.scalars(query))


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[tuple[str, str]]:
    for name in ("orderly", "wild"):
        (tmp_path / name).mkdir()
    with (
        databases.migrated_url(tmp_path / "orderly") as orderly,
        databases.migrated_url(tmp_path / "wild") as wild,
    ):
        yield orderly, wild


@pytest.mark.guarantee("R31")
def test_any_order_any_repetition_and_any_kill_give_the_same_tables(
    urls: tuple[str, str], guarantee: Guarantee
) -> None:
    if guarantee.full and not STREAM.exists():
        pytest.skip("there is no listings-2026 beside the checkout")
    stream = listed(STREAM, 90) if guarantee.full else listed(DEMO, 3)[::19]
    papers = [_paper(row) for row in stream]
    assert len(papers) > (20_000 if guarantee.full else 35)
    n_kills = 300 if guarantee.full else 15
    told = told_by_all(papers, seed=31)
    over_http = told_over_http(stream)
    if guarantee.full:
        # arXiv itself speaks for arXiv, and the others as they do.
        told = [each for each in told if not each[0].startswith("arxiv")]
    told += over_http
    orderly, wild = map(open_database, urls)
    take_in_all(orderly, told)

    rng = random.Random(310)  # noqa: S311
    kill = Killer(urls[1], rng)
    readers = [add_reader(wild, n) for n in range(1, READERS + 1)]
    shuffled = [(origin, tuple(rng.sample(papers, len(papers)))) for origin, papers in told]
    shuffled = rng.sample(shuffled, len(shuffled))
    shuffled += rng.sample(shuffled, len(shuffled) // 5)
    # Whoever dies in a lot of batches is followed by one that begins with it again.
    n_lots = min(len(shuffled), n_kills // 2)
    cuts = [len(shuffled) * n // n_lots for n in range(n_lots + 1)]
    days = sorted({paper.listed_on for paper in papers if paper.listed_on})
    for n, (start, end) in enumerate(pairwise(cuts)):
        while kill.n_killed < n_kills * (n + 1) // n_lots:
            kill(shuffled[start:end])
        take_in_all(wild, shuffled[start:end])
        for reader in readers:
            first = days[n % len(days)]
            show_some(wild, reader, n, first, first + 2 * ONE_DAY)

    assert fingerprint(wild) == fingerprint(orderly)
    assert shown_twice(wild) == 0
    guarantee.record(
        days=90 if guarantee.full else 3,
        n_records=sum(len(several) for _, several in told),
        n_batches=len(shuffled),
        n_records_over_http=sum(len(several) for _, several in over_http),
        n_kills=kill.n_killed,
        n_shown=len(rows(wild, "impressions")),
        n_shown_twice=shown_twice(wild),
        tables_equal="yes",
    )
    for database in (orderly, wild):
        database.close()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_row_without_an_id_takes_nothing_along_from_the_work_that_it_leaves(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    title, authors = "Segmentation of birds in three hundred pictures", ("Ada Lovelace",)
    said = [
        fetched(1, title=title, abstract="We part birds from their background.", authors=authors),
        fetched(2, source="doi", source_id="10.5555/2", title=title, abstract="Of wings alone, and"
                " of nothing else.", authors=("Emmy Noether",), venue="Letters"),
        fetched(3, source="listing", source_id=None, version=None, title=title,
                abstract="We part birds from their background.", authors=()),
    ]  # fmt: skip
    with databases.migrated_url(tmp_path) as url:
        database = open_database(url)
        take_in_all(database, [(f"origin {n}", (said[n],)) for n in order])
        venue = {row["id"]: row["venue"] for row in rows(database, "papers")}
        told = rows(database, "paper_records")
        venues = {record["source"]: venue[record["paper_id"]] for record in told}
        database.close()
    assert (venues["arxiv"], venues["doi"], venues["listing"]) == ("", "Letters", "")
