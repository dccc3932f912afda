"""arXiv as a source: the feed says what is new, the API brings it, and no day is guessed.

Two kinds of servers answer here: recorded answers as they came, and real listing days served by
the emulator, with whatever can go wrong with them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.contracts import SourceContract, error_text
from tests.support.emulator import Fault, Upstreams
from tests.support.fakes import StoppedClock
from tests.support.fixtures import recorded
from tests.support.installation import installed
from tests.support.paths import ROOT
from triage import store
from triage.domain.arxiv_categories import watched
from triage.domain.records import Paper, Verdict
from triage.domain.source_records import SourceDay
from triage.errors import SourceError
from triage.papers.ingest import IngestReport, ingest
from triage.sources.arxiv.parsing import parse_entries, parse_feed
from triage.sources.arxiv.source import Arxiv, _warn_of_short_interval
from triage.sources.http.client import PoliteClient
from triage.store import Database

pytestmark = pytest.mark.any_database(
    "its papers and days go the way that test_ingest shows on each"
)

RSS = recorded("arxiv_rss_2026-09-24.xml")
ATOM = recorded("arxiv_api_2019-08-10.xml")
WEDNESDAY, THURSDAY, FRIDAY = date(2025, 6, 25), date(2025, 6, 26), date(2025, 6, 27)
SATURDAY, MONDAY = date(2025, 6, 28), date(2025, 6, 30)
WATCHED = ["cs.LG", "cs.CL", "cs.CV", "cs.AI"]


def _real_days() -> list[dict[str, Any]]:
    """Return real papers of three days, of the last a few more than a page of the API holds."""
    with gzip.open(ROOT / "triage" / "cli" / "demo" / "papers.jsonl.gz") as lines:
        records = [json.loads(line) for line in lines]
    kept = []
    for on, n in ((WEDNESDAY, 20), (THURSDAY, 30), (FRIDAY, 110)):
        day = [record for record in records if record["listed_date"] == on.isoformat()]
        kept += [record for record in day if set(WATCHED) & set(record["categories"])][:n]
    return kept


RECORDS = _real_days()


def announced(on: date) -> set[str]:
    """Return the ids of what a day's feed has in the watched categories."""
    return {
        record["id"]
        for record in RECORDS
        if record["listed_date"] == on.isoformat() and set(WATCHED) & set(record["categories"])
    }


class World:
    """Upstreams, a gate on the same stopped clock, and a database."""

    def __init__(self, upstreams: Upstreams, clock: StoppedClock, database: Database) -> None:
        self.upstreams = upstreams
        self.clock = clock
        self.database = database
        self.categories: Sequence[str] = WATCHED
        self.gate = PoliteClient(clock, "triage/test", 3.0)

    def source(self, on: date) -> Arxiv:
        upstreams = self.upstreams
        return Arxiv(
            self.gate,
            self.categories,
            upstreams.rss_url,
            upstreams.api_url,
            upstreams.oai_url,
            on,
        )

    def fetch(self, on: date) -> IngestReport:
        """Fetch into the database as the program does; a failed source stays silent here."""
        report = IngestReport()
        try:
            for step in ingest(self.database, self.source(on), self.clock, resume=True):
                report = step
                self.check_days()
        except SourceError as error:
            error_text(error)
            assert self.day(on).verdict is not Verdict.EMPTY_EXPECTED
        return report

    def check_days(self) -> None:
        """Hold every verdict against what is stored at this very moment."""
        with self.database.read() as conn:
            days = store.sources.days(conn, WEDNESDAY, MONDAY)
        for day in days:
            due = {
                record["id"]
                for record in self.upstreams.days.get(day.on, [])
                if watched(tuple(self.categories), tuple(record["categories"]))
                and "replace" not in record.get("kind", "new")
                and record["id"]
            }
            if day.verdict is Verdict.COMPLETE:
                assert due <= self.stored()
                assert day.got == len(due)
                assert day.got == day.expected or "kept aside" in day.note
            if day.verdict is Verdict.EMPTY_EXPECTED:
                assert day.on == SATURDAY
            if day.verdict in {Verdict.EMPTY_SUSPECT, Verdict.FAILED}:
                assert not due & self.stored()

    def stored(self) -> set[str]:
        with self.database.read() as conn:
            return {paper.source_id or "" for paper in store.papers.iterate(conn)}

    def paper(self, id: str) -> Paper:
        with self.database.read() as conn:
            (number,) = store.papers.find(conn, [("arxiv", id)]).values()
            return store.papers.load(conn, [number])[number]

    def day(self, on: date) -> SourceDay:
        with self.database.read() as conn:
            (day,) = store.sources.days(conn, on, on)
        return day

    def categories_of(self, on: date) -> dict[str, SourceDay]:
        """Return all verdicts on a day; the empty category stands for all."""
        with self.database.read() as conn:
            return {day.category: day for day in store.sources.days(conn, on, on, by_category=True)}

    def content(self) -> str:
        """Return all that is kept, but for when it was last looked at and the cursor."""
        columns = 'source, "on", category, verdict, expected, got, note'
        with self.database.read() as conn:
            return repr(
                [
                    # Their order is no part of it, and PostgreSQL promises none.
                    sorted(map(repr, conn.exec_driver_sql(f"SELECT {what}").all()))
                    for what in (
                        "* FROM papers",
                        "* FROM paper_records",
                        "* FROM quarantine",
                        f"{columns} FROM source_days",
                    )
                ]
            )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = StoppedClock(datetime(2025, 6, 27, 12, tzinfo=UTC))
    with (
        installed(tmp_path) as database,
        Upstreams(RECORDS, clock=clock, takes_s=0.5) as upstreams,
    ):
        world = World(upstreams, clock, database)
        yield world
        assert upstreams.most_at_once <= 1
        assert all(gap >= 3.0 for gap in upstreams.gaps_s("rss", "api", "oai"))
        world.gate.close()


class TestArxivKeepsTheContract(SourceContract):
    @pytest.fixture(autouse=True)
    def _world(self, world: World) -> None:
        self.world = world
        broken = {"id": "", "title": "No id", "abstract": "None.", "authors": [], "kind": "new"}
        more = {"categories": ["cs.LG"], "listed_date": FRIDAY.isoformat()}
        world.upstreams.days[FRIDAY].append(broken | more)

    def source(self) -> Arxiv:
        return self.world.source(FRIDAY)

    def empty_source(self) -> Arxiv:
        self.world.categories = ["math.XX"]
        return self.world.source(FRIDAY)


# -- recorded answers ------------------------------------------------------------------------------


def test_a_recorded_feed_is_stored_with_ids_versions_authors_categories_and_day(
    world: World,
) -> None:
    world.upstreams.bodies["rss"] = RSS
    on = date(2026, 9, 24)
    (batch, updates) = world.source(on).fetch(None)
    new, cross = batch.papers
    assert (new.source, new.source_id, new.version) == ("arxiv", "2609.26811", 1)
    assert new.title.startswith("The Drift Contract: Spectral Updates")
    assert new.abstract.startswith("Local learning trains each layer")
    assert new.authors == ("Fabien Polly",)
    assert new.categories == ("cs.LG",)
    assert new.listed_on == on
    assert (cross.source_id, cross.version) == ("2205.06398", 2)
    assert cross.authors == ("Pritam Dey", "Zhengwu Zhang", "David B. Dunson")
    assert cross.categories == ("stat.ME", "stat.AP", "stat.ML")
    assert cross.doi == "10.1093/bioinformatics/btac431"
    assert cross.listed_on == on
    (replaced,) = updates.papers
    assert (replaced.source_id, replaced.version) == ("2009.13987", 3)
    assert replaced.update_only
    assert not new.update_only
    # The API of this test knows neither of the two, so they wait for it.
    assert updates.days[0] == SourceDay(
        "arxiv", on, Verdict.PARTIAL, 2, 0, "2 stored from the feed, not yet given by the API"
    )
    assert {day.category for day in updates.days} == {"", *WATCHED}


def test_recorded_records_of_the_api_are_stored_in_full(world: World) -> None:
    ids = list(parse_entries(ATOM))
    assert len(ids) == 10
    listed = [_record(id, FRIDAY) for id in ids]
    others = world.upstreams
    with Upstreams(listed, clock=world.clock) as upstreams:
        upstreams.bodies["api"] = ATOM
        world.upstreams = upstreams
        world.fetch(FRIDAY)
        before = world.content()
        assert world.stored() == set(ids)
        science = world.paper("1503.01162")
        assert science.title == (
            "Report on a Boston University Conference December 7-8, 2012 on 'How Can the History "
            "and Philosophy of Science Contribute to Contemporary U.S. Science Teaching?'"
        )
        assert science.abstract.startswith("This is an editorial report on the outcomes of an")
        assert science.authors == ("Peter Garik", "Yann Benétreau-Dupin")
        assert science.categories == ("physics.ed-ph", "physics.hist-ph", "physics.soc-ph")
        assert science.comment == "Conference funded by NSF grant REESE-1205273. 31 pages"
        assert (science.version, science.listed_on) == (1, FRIDAY)
        assert world.paper("quant-ph/0210005").authors == ("Michael A. Nielsen",)
        assert world.day(FRIDAY).verdict is Verdict.COMPLETE
        world.fetch(FRIDAY)
        assert world.content() == before
        assert len(upstreams.gaps_s("rss", "api")) == 2
    world.upstreams = others


def _record(id: str, on: date, **fields: Any) -> dict[str, Any]:
    return {
        "id": id,
        "title": f"Title of {id}",
        "abstract": f"Abstract of {id}.",
        "authors": ["Ada Lovelace", "Charles Babbage"],
        "categories": ["cs.LG"],
        "listed_date": on.isoformat(),
        "kind": "new",
    } | fields


# -- ordinary days ---------------------------------------------------------------------------------


def test_a_day_is_fetched_whole_and_says_so(world: World) -> None:
    report = world.fetch(FRIDAY)
    n = len(announced(FRIDAY))
    assert n > 100
    assert (report.stored, report.quarantined) == (n, 0)
    assert world.stored() == announced(FRIDAY)
    assert world.day(FRIDAY) == SourceDay("arxiv", FRIDAY, Verdict.COMPLETE, n, n)
    some = next(record for record in RECORDS if record["id"] in announced(FRIDAY))
    assert world.paper(some["id"]).authors == tuple(some["authors"])
    assert world.paper(some["id"]).listed_on == FRIDAY


@pytest.mark.parametrize("conditional", [True, False])
def test_fetched_again_nothing_changes_and_little_is_asked(world: World, conditional: bool) -> None:
    world.upstreams.conditional = conditional
    world.fetch(FRIDAY)
    before, n_asked = world.content(), len(world.upstreams.log)
    assert world.fetch(FRIDAY) == IngestReport()
    assert world.content() == before
    assert [asked.route for asked in world.upstreams.log[n_asked:]] == ["rss"]
    assert world.upstreams.log[-1].status == (304 if conditional else 200)


def test_days_follow_one_another(world: World) -> None:
    for on in (WEDNESDAY, THURSDAY, FRIDAY):
        world.upstreams.show(on)
        world.fetch(on)
    assert world.stored() == announced(WEDNESDAY) | announced(THURSDAY) | announced(FRIDAY)
    for on in (WEDNESDAY, THURSDAY, FRIDAY):
        assert world.day(on).verdict is Verdict.COMPLETE


def test_the_api_is_asked_for_at_most_a_hundred_papers_at_a_time(world: World) -> None:
    world.fetch(FRIDAY)
    asked = [asked.query["id_list"].split(",") for asked in world.upstreams.log[1:]]
    assert max(map(len, asked)) == 100
    assert {id for ids in asked for id in ids} == announced(FRIDAY)
    assert world.upstreams.log[0].target == "/rss/cs.LG+cs.CL+cs.CV+cs.AI"


def test_a_category_added_during_the_day_brings_its_papers(world: World) -> None:
    world.categories = ["cs.CV"]
    world.fetch(FRIDAY)
    assert world.stored() < announced(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE
    world.categories = WATCHED
    n_asked = len(world.upstreams.log)
    world.fetch(FRIDAY)
    # What the server said of one feed's age is not said of another's.
    assert "If-None-Match" not in world.upstreams.log[n_asked].headers
    assert world.stored() == announced(FRIDAY)
    assert world.day(FRIDAY).expected == len(announced(FRIDAY))


def test_papers_of_a_feed_dated_otherwise_count_for_its_own_day(world: World) -> None:
    world.upstreams.show(THURSDAY)
    world.fetch(FRIDAY)
    assert world.day(THURSDAY).verdict is Verdict.COMPLETE
    assert world.day(FRIDAY).verdict is Verdict.EMPTY_SUSPECT
    assert world.day(FRIDAY).note == (
        f"the feed is still that of {THURSDAY}, and OAI-PMH has none either"
    )
    assert world.paper(min(announced(THURSDAY))).listed_on == THURSDAY


# -- replacements ----------------------------------------------------------------------------------


def test_a_replacement_changes_a_stored_paper_and_brings_no_new_one(world: World) -> None:
    upstreams = world.upstreams
    upstreams.days[THURSDAY] = [_record("2506.20001", THURSDAY)]
    upstreams.known["2506.20001"] = upstreams.days[THURSDAY][0]
    upstreams.show(THURSDAY)
    world.fetch(THURSDAY)
    upstreams.days[FRIDAY] = [
        _record("2506.20001", FRIDAY, kind="replace", version=2, title="A better title"),
        _record("2101.00001", FRIDAY, kind="replace-cross", version=5),
    ]
    upstreams.show(FRIDAY)
    with world.database.read() as conn:
        assert store.papers.count(conn) == 1
    report = world.fetch(FRIDAY)
    assert (report.read, report.stored, report.known) == (1, 0, 1)
    assert world.stored() == {"2506.20001"}
    paper = world.paper("2506.20001")
    assert (paper.version, paper.title, paper.listed_on) == (2, "A better title", THURSDAY)
    assert world.day(FRIDAY) == SourceDay("arxiv", FRIDAY, Verdict.COMPLETE, 0, 0)


def test_a_paper_announced_twice_in_one_feed_counts_once_as_the_newest_kind(world: World) -> None:
    twice = [
        _record("2506.20001", FRIDAY, kind="replace", version=2),
        _record("2506.20001", FRIDAY, kind="new"),
        _record("2506.20001", FRIDAY, kind="cross"),
        _record("2506.20001", FRIDAY, kind="replace", version=3),
    ]
    world.upstreams.days[FRIDAY] = twice
    (batch,) = world.source(FRIDAY).fetch(None)
    (paper,) = batch.papers
    assert not paper.update_only


# -- days without papers ---------------------------------------------------------------------------


def test_a_week_end_is_empty_as_expected(world: World) -> None:
    world.upstreams.show(SATURDAY)
    assert world.fetch(SATURDAY) == IngestReport()
    assert world.day(SATURDAY) == SourceDay(
        "arxiv", SATURDAY, Verdict.EMPTY_EXPECTED, 0, 0, "the feed has nothing new"
    )


def test_a_week_end_with_fridays_feed_reads_friday(world: World) -> None:
    world.fetch(SATURDAY)
    assert world.day(SATURDAY).verdict is Verdict.EMPTY_EXPECTED
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE
    assert world.stored() == announced(FRIDAY)


def test_an_empty_feed_on_an_announcement_day_is_asked_once_more(world: World) -> None:
    world.upstreams.fail("rss", Fault.EMPTY)
    world.fetch(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE
    assert [asked.route for asked in world.upstreams.log[:3]] == ["rss", "rss", "api"]


def test_what_an_empty_feed_hides_comes_by_another_interface(world: World) -> None:
    world.upstreams.fail("rss", Fault.EMPTY, times=2)
    world.fetch(FRIDAY)
    n = len(announced(FRIDAY))
    assert world.day(FRIDAY) == SourceDay("arxiv", FRIDAY, Verdict.COMPLETE, n, n)
    assert world.stored() == announced(FRIDAY)
    before = world.content()
    assert world.fetch(FRIDAY) == IngestReport()
    assert world.content() == before


def test_a_day_that_no_interface_has_is_suspect_until_it_fills(world: World) -> None:
    world.upstreams.fail("rss", Fault.EMPTY, times=2)
    papers = world.upstreams.days.pop(FRIDAY)
    world.fetch(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.EMPTY_SUSPECT
    assert world.day(FRIDAY).expected is None
    world.upstreams.days[FRIDAY] = papers
    world.fetch(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE


@pytest.mark.parametrize("has_oai", [True, False])
def test_yesterdays_batch_under_todays_date_is_no_news_and_no_empty_day(
    world: World, has_oai: bool
) -> None:
    world.upstreams.show(THURSDAY)
    world.fetch(THURSDAY)
    world.upstreams.show(FRIDAY)
    world.upstreams.fail("rss", Fault.STALE)
    world.upstreams.fail("oai", Fault.NOT_FOUND, times=0 if has_oai else 1)
    world.fetch(FRIDAY)
    if has_oai:
        assert world.day(FRIDAY).verdict is Verdict.COMPLETE
    else:
        assert world.day(FRIDAY).verdict is Verdict.EMPTY_SUSPECT
        assert "repeats" in world.day(FRIDAY).note
        assert world.stored() == announced(THURSDAY)
    assert world.day(THURSDAY).verdict is Verdict.COMPLETE
    world.fetch(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE
    assert world.stored() == announced(THURSDAY) | announced(FRIDAY)


def test_a_category_that_lags_behind_is_partial_and_the_others_are_whole(world: World) -> None:
    world.upstreams.show(THURSDAY)
    world.fetch(THURSDAY)
    world.upstreams.show(FRIDAY)
    world.upstreams.lagging = {"cs.CV"}
    world.fetch(FRIDAY)
    by_category = world.categories_of(FRIDAY)
    assert by_category[""].verdict is Verdict.PARTIAL
    assert "cs.CV" in by_category[""].note
    assert by_category["cs.CV"].verdict is Verdict.PARTIAL
    assert "lag behind" in by_category["cs.CV"].note
    for category in ("cs.LG", "cs.CL", "cs.AI"):
        assert by_category[category].verdict is Verdict.COMPLETE
        assert by_category[category].got > 0

    world.upstreams.lagging = set()
    world.fetch(FRIDAY)
    assert {day.verdict for day in world.categories_of(FRIDAY).values()} == {Verdict.COMPLETE}
    assert world.stored() == announced(THURSDAY) | announced(FRIDAY)


def test_a_category_that_never_caught_up_is_read_when_the_feed_has_moved_on(world: World) -> None:
    world.upstreams.show(THURSDAY)
    world.fetch(THURSDAY)
    world.upstreams.show(FRIDAY)
    world.upstreams.lagging = {"cs.CV"}
    world.fetch(FRIDAY)
    assert world.stored() < announced(THURSDAY) | announced(FRIDAY)
    world.upstreams.lagging = set()
    world.upstreams.announce(_record("2506.29001", MONDAY))
    world.upstreams.show(MONDAY)
    world.fetch(MONDAY)
    assert {day.verdict for day in world.categories_of(FRIDAY).values()} == {Verdict.COMPLETE}
    assert world.stored() == announced(THURSDAY) | announced(FRIDAY) | {"2506.29001"}


def test_each_category_counts_its_own_papers(world: World) -> None:
    world.fetch(FRIDAY)
    for category in WATCHED:
        n = sum(
            category in record["categories"]
            for record in RECORDS
            if record["id"] in announced(FRIDAY)
        )
        assert world.categories_of(FRIDAY)[category] == SourceDay(
            "arxiv", FRIDAY, Verdict.COMPLETE, n, n, category=category
        )


def test_a_feed_at_its_limit_is_partial_until_oai_gives_the_rest(world: World) -> None:
    world.upstreams.days[FRIDAY] = [
        _record(f"2506.{n:05}", FRIDAY, kind="replace") for n in range(2_000)
    ]
    world.upstreams.oai_page = 1_000
    world.upstreams.fail("oai", Fault.HTML)
    last = list(world.source(FRIDAY).fetch(None))[-1]
    assert last.days[0].verdict is Verdict.PARTIAL
    assert "limit of 2,000" in last.days[0].note
    again = list(world.source(FRIDAY).fetch(last.cursor))[-1]
    assert again.days[0] == SourceDay("arxiv", FRIDAY, Verdict.COMPLETE, 0, 0)


def test_a_past_day_that_the_feed_no_longer_has_is_read_otherwise(world: World) -> None:
    world.fetch(THURSDAY)
    assert world.day(THURSDAY).verdict is Verdict.COMPLETE
    assert world.stored() == announced(THURSDAY) | announced(FRIDAY)


def test_announcement_days_that_nobody_can_read_are_told_until_they_are_read(world: World) -> None:
    world.upstreams.show(WEDNESDAY)
    world.fetch(WEDNESDAY)
    world.upstreams.announce(_record("2506.29001", MONDAY))
    world.upstreams.show(MONDAY)
    world.upstreams.fail("oai", Fault.NOT_FOUND)
    world.fetch(MONDAY)
    for on in (THURSDAY, FRIDAY):
        for day in world.categories_of(on).values():
            assert (day.verdict, day.expected, day.got) == (Verdict.FAILED, None, 0)
            assert day.note.startswith(f"not read: the feed had moved on to {MONDAY}; 127.0.0.1")
    assert world.day(MONDAY).verdict is Verdict.COMPLETE
    world.fetch(MONDAY)
    assert world.day(THURSDAY).verdict is Verdict.COMPLETE
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE
    assert world.stored() == announced(WEDNESDAY) | announced(THURSDAY) | announced(FRIDAY) | {
        "2506.29001"
    }


# -- trouble ---------------------------------------------------------------------------------------

ONCE = [
    Fault.TOO_MANY,
    Fault.UNAVAILABLE,
    Fault.BROKEN,
    Fault.EMPTY,
    Fault.SHORT,
    Fault.HTML,
    Fault.TRUNCATED,
    Fault.DROPPED,
]


@pytest.mark.parametrize("fault", ONCE)
@pytest.mark.parametrize("times", [1, 40])
def test_no_trouble_with_the_api_loses_a_paper(world: World, fault: Fault, times: int) -> None:
    world.upstreams.fail("api", fault, times=times, retry_after="60")
    world.fetch(FRIDAY)
    assert world.stored() == announced(FRIDAY)
    day = world.day(FRIDAY)
    if times == 40:
        assert day.verdict is Verdict.PARTIAL
        assert "stored from the feed" in day.note
    else:
        assert day.verdict is Verdict.COMPLETE
    world.upstreams.recover()
    world.fetch(FRIDAY)
    n = len(announced(FRIDAY))
    assert world.day(FRIDAY) == SourceDay("arxiv", FRIDAY, Verdict.COMPLETE, n, n)
    before = world.content()
    world.fetch(FRIDAY)
    assert world.content() == before


# A feed that lacks some papers and does not say so cannot be told from a whole one, so it is not
# among these: what it lacks comes with the next fetch.
@pytest.mark.parametrize("fault", [*sorted(set(ONCE) - {Fault.SHORT}), Fault.NOT_FOUND])
def test_no_trouble_with_the_feed_loses_a_paper(world: World, fault: Fault) -> None:
    world.upstreams.fail("rss", fault, times=4, retry_after="60")
    for _ in range(5):
        world.fetch(FRIDAY)
    assert world.stored() == announced(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE


@pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.HTML, Fault.TRUNCATED, Fault.UNAVAILABLE])
def test_a_feed_that_cannot_be_read_is_a_failed_day_with_its_reason(
    world: World, fault: Fault
) -> None:
    world.upstreams.fail("rss", fault, times=4)
    with pytest.raises(SourceError) as caught:
        list(ingest(world.database, world.source(FRIDAY), world.clock, resume=True))
    day = world.day(FRIDAY)
    assert (day.verdict, day.expected, day.got) == (Verdict.FAILED, None, 0)
    assert day.note == error_text(caught.value)


def test_a_day_that_was_read_stays_read_when_the_feed_fails_later(world: World) -> None:
    world.fetch(FRIDAY)
    world.upstreams.fail("rss", Fault.HTML)
    with pytest.raises(SourceError):
        list(ingest(world.database, world.source(FRIDAY), world.clock, resume=True))
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE


def test_papers_the_api_has_not_yet_are_completed_days_later(world: World) -> None:
    late = sorted(announced(THURSDAY))[:7]
    with_comment = next(r for r in RECORDS if r["id"] in announced(THURSDAY) and r.get("comment"))
    late = [*late, with_comment["id"]] if with_comment["id"] not in late else late
    world.upstreams.unknown_to_api = set(late)
    world.upstreams.show(THURSDAY)
    world.fetch(THURSDAY)
    assert world.stored() == announced(THURSDAY)
    assert world.paper(with_comment["id"]).comment == ""
    day = world.day(THURSDAY)
    assert (day.verdict, day.got) == (Verdict.PARTIAL, len(announced(THURSDAY)) - len(late))

    world.upstreams.unknown_to_api.clear()
    world.upstreams.show(FRIDAY)
    world.fetch(FRIDAY)
    assert world.day(THURSDAY).verdict is Verdict.COMPLETE
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE
    assert (
        world.paper(with_comment["id"]).comment.split()[:3] == with_comment["comment"].split()[:3]
    )
    assert world.paper(with_comment["id"]).listed_on == THURSDAY


def test_a_record_older_than_what_was_announced_is_not_yet_the_record(world: World) -> None:
    record = _record("2205.06398", FRIDAY, kind="cross", version=2, api_version=1)
    world.upstreams.days[FRIDAY] = [record]
    world.upstreams.known["2205.06398"] = record
    (batch,) = world.source(FRIDAY).fetch(None)
    assert batch.papers[0].version == 2
    assert batch.days[0].verdict is Verdict.PARTIAL


def test_a_fetch_with_little_time_stores_all_from_the_feed_and_says_so(world: World) -> None:
    world.gate.close()
    world.gate = PoliteClient(
        world.clock, "triage", 3.0, deadline=world.clock.now() + timedelta(seconds=5)
    )
    world.fetch(FRIDAY)
    assert world.stored() == announced(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.PARTIAL
    assert "ran out of time" in world.day(FRIDAY).note


def test_a_fetch_cut_short_anywhere_goes_on_without_loss(world: World) -> None:
    n_batches = len(list(world.source(FRIDAY).fetch(None)))
    assert n_batches == 2
    for n in range(n_batches):
        world.upstreams.fail("api", Fault.SHORT)
        steps = ingest(world.database, world.source(FRIDAY), world.clock, resume=True)
        for _ in zip(range(n + 1), steps, strict=False):
            world.check_days()
        steps.close()
    world.fetch(FRIDAY)
    assert world.stored() == announced(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE


def test_an_unknown_feed_is_an_error_and_no_empty_day(world: World) -> None:
    world.upstreams.feed_error = 'Feed error for query "cs.XX"'
    with pytest.raises(SourceError) as caught:
        list(world.source(FRIDAY).fetch(None))
    assert "cs.XX" in error_text(caught.value)


def test_a_changed_form_fails_the_day_keeps_the_records_and_heals(world: World) -> None:
    good = world.upstreams.days[FRIDAY]
    world.upstreams.days[FRIDAY] = [
        record | {"kind": "announced"} if n % 3 == 0 else record for n, record in enumerate(good)
    ]
    with pytest.raises(SourceError) as caught:
        list(ingest(world.database, world.source(FRIDAY), world.clock, resume=True))
    assert "format must have changed" in error_text(caught.value)
    assert world.day(FRIDAY).verdict is Verdict.FAILED
    assert world.stored() < announced(FRIDAY)
    with world.database.read() as conn:
        assert "'announced'" in store.sources.quarantined(conn, "arxiv")[0].reason
    world.upstreams.days[FRIDAY] = good
    for _ in ingest(world.database, world.source(FRIDAY), world.clock, resume=True):
        pass
    assert world.stored() == announced(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE


def test_a_paper_that_cannot_be_used_does_not_keep_its_day_open(world: World) -> None:
    world.upstreams.days[FRIDAY].append(_record("", FRIDAY))
    n = len(announced(FRIDAY))
    settled = SourceDay(
        "arxiv", FRIDAY, Verdict.COMPLETE, n + 1, n, "1 kept aside: could not be used"
    )
    for _ in range(2):
        world.fetch(FRIDAY)
        assert world.day(FRIDAY) == settled
    with world.database.read() as conn:
        assert len(store.sources.quarantined(conn, "arxiv")) == 1


def test_a_day_with_an_unusable_paper_stays_open_while_others_wait(world: World) -> None:
    world.upstreams.days[FRIDAY].append(_record("", FRIDAY))
    world.upstreams.unknown_to_api = {min(announced(FRIDAY))}
    world.fetch(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.PARTIAL
    world.upstreams.unknown_to_api.clear()
    world.fetch(FRIDAY)
    assert world.day(FRIDAY).verdict is Verdict.COMPLETE


@pytest.mark.parametrize(("interval_s", "n_warnings"), [(0.0, 1), (2.9, 1), (3.0, 0)])
def test_going_faster_than_arxiv_allows_is_warned_of_once(
    interval_s: float, n_warnings: int
) -> None:
    _warn_of_short_interval.cache_clear()
    gate = PoliteClient(StoppedClock(), "triage/test", interval_s)
    with structlog.testing.capture_logs() as logs:
        for on in (THURSDAY, FRIDAY):
            Arxiv(
                gate, WATCHED, *(f"http://127.0.0.1/{what}" for what in ("rss", "api", "oai")), on
            )
    assert [(entry["log_level"], entry["min_interval_s"]) for entry in logs] == [
        ("warning", interval_s)
    ] * n_warnings


# -- hostile and odd text --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        RSS[: len(RSS) // 2],
        b'<!DOCTYPE r [<!ENTITY a "b">]><rss><channel><title>&a;</title></channel></rss>',
        RSS.replace(b"<rss", b'<!DOCTYPE rss SYSTEM "file:///etc/passwd"><rss', 1),
        b"<?xml version='1.0' encoding='no-such'?><rss/>",
        b"<rss/>",
        b"<rss><channel><title>t</title></channel></rss>",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_feed_is_an_error_for_people(body: bytes) -> None:
    with pytest.raises(SourceError) as caught:
        parse_feed(body)
    error_text(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"<rss/>", ATOM[:3_000]])
def test_what_is_no_answer_of_the_api_is_an_error_for_people(body: bytes) -> None:
    with pytest.raises(SourceError) as caught:
        parse_entries(body)
    error_text(caught.value)


def test_an_error_of_the_api_in_the_form_of_an_entry_is_an_error() -> None:
    body = ATOM.replace(b"http://arxiv.org/abs/1501.05039v1", b"http://arxiv.org/api/errors#id")
    with pytest.raises(SourceError, match="refused the query"):
        parse_entries(body)


@pytest.mark.parametrize(
    ("written", "on"),
    [
        ("Thu, 24 Sep 2026 00:00:00 -0400", date(2026, 9, 24)),
        ("Thu, 24 Sep 2026 00:00:00 +0000", date(2026, 9, 24)),
        ("Thu, 24 Sep 2026 04:00:00 GMT", date(2026, 9, 24)),
        ("24 Sep 2026 00:00 EDT", date(2026, 9, 24)),
        ("Thu, 24 Sep 2026 00:00:00 +0900", date(2026, 9, 24)),
    ],
)
def test_the_feeds_day_is_read_as_it_was_written(written: str, on: date) -> None:
    body = RSS.replace(b"Thu, 24 Sep 2026 00:00:00 -0400", written.encode())
    assert parse_feed(body).on == on


@given(st.text(alphabet="ThuSep 0123456789:-+,GMTé\n", max_size=30))
def test_any_date_is_a_day_or_an_error(written: str) -> None:
    try:
        parse_feed(RSS.replace(b"Thu, 24 Sep 2026 00:00:00 -0400", written.encode()))
    except SourceError as error:
        error_text(error)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_mutilated_feed_never_does_more_than_lose_what_was_mutilated(data: st.DataObject) -> None:
    text = RSS.decode()
    start = data.draw(st.integers(text.index("<item>"), len(text) - 1))
    n = data.draw(st.integers(0, 60))
    junk = data.draw(st.text(alphabet="<>/&;:ab\"' 0", max_size=12))
    try:
        feed = parse_feed((text[:start] + junk + text[start + n :]).encode())
    except SourceError:
        return
    assert feed.on == date(2026, 9, 24)
    assert len(feed.announcements) + len(feed.rejected) <= feed.n_items <= 3


def test_several_authors_and_their_affiliations_are_told_apart(world: World) -> None:
    names = "Ada Lovelace (Somewhere, Far), Sammy Davis, Jr., 李雷"
    body = RSS.replace(b"Fabien Polly", names.encode())
    (first, *_) = parse_feed(body).announcements
    assert first.paper().authors == ("Ada Lovelace", "Sammy Davis, Jr.", "李雷")


def _cursor(world: World) -> str | None:
    with world.database.read() as conn:
        return store.sources.cursor(conn, "arxiv")
