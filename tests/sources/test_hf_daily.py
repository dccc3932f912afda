"""Hugging Face Daily Papers as a source: a listing a day, three ages of its form, late upvotes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import fixtures
from tests.support.contracts import SourceContract, error_text
from tests.support.emulator import Fault, Upstreams
from tests.support.fakes import StoppedClock
from tests.support.installation import installed
from tests.support.paths import ROOT
from triage import store
from triage.domain.announcement_calendar import announcement_days
from triage.domain.records import Paper, Verdict
from triage.domain.source_records import SourceDay
from triage.errors import SourceError
from triage.papers.ingest import IngestReport, ingest
from triage.sources.hf_daily import MISSED_DAYS, HuggingFaceDaily, _listing, _papers
from triage.sources.http.client import Answer, PoliteClient
from triage.store import Database

pytestmark = pytest.mark.any_database(
    "its papers and days go the way that test_ingest shows on each"
)

WEDNESDAY, THURSDAY, FRIDAY = date(2025, 6, 25), date(2025, 6, 26), date(2025, 6, 27)
SATURDAY, MONDAY = date(2025, 6, 28), date(2025, 6, 30)

with gzip.open(ROOT / "triage" / "cli" / "demo" / "papers.jsonl.gz") as _lines:
    RECORDS = [json.loads(line) for line in _lines][::5]


RECORDED = {
    date(2024, 5, 29): "hf_daily_2024-05-29.json.gz",
    date(2025, 7, 10): "hf_daily_2025-07-10.json.gz",
    date(2025, 10, 15): "hf_daily_2025-10-15.json.gz",
}


def recorded(on: date) -> bytes:
    return fixtures.recorded(RECORDED[on])


class World:
    """Upstreams, a gate on the same stopped clock, and a database."""

    def __init__(self, upstreams: Upstreams, clock: StoppedClock, database: Database) -> None:
        self.upstreams = upstreams
        self.clock = clock
        self.database = database
        self.gate = PoliteClient(clock, "triage/test", 1.0)

    def source(
        self, on: date, since: date | None = None, trending: bool = True
    ) -> HuggingFaceDaily:
        return HuggingFaceDaily(self.gate, self.upstreams.hf_url, on, since, trending)

    def fetch(self, on: date, since: date | None = None, trending: bool = True) -> IngestReport:
        report = IngestReport()
        source = self.source(on, since, trending)
        for step in ingest(self.database, source, self.clock, resume=True):
            report = step
        return report

    def papers(self) -> dict[str | None, Paper]:
        with self.database.read() as conn:
            return {paper.source_id: paper for paper in store.papers.iterate(conn)}

    def days(self) -> dict[date, SourceDay]:
        with self.database.read() as conn:
            return {day.on: day for day in store.sources.days(conn, date.min, date.max)}

    def asked(self) -> list[str]:
        """Return the days whose listings were asked for, in order."""
        return [a.query["date"] for a in self.upstreams.log if "date" in a.query]

    def listed(self, on: date) -> set[str]:
        listing = self.upstreams._listing({"date": on.isoformat()}, None)
        return {record["paper"]["id"] for record in listing}


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
        assert all(gap >= 1.0 for gap in upstreams.gaps_s("hf"))
        world.gate.close()


class TestHuggingFaceKeepsTheContract(SourceContract):
    @pytest.fixture(autouse=True)
    def _world(self, world: World) -> None:
        self.world = world
        listed = world.upstreams.days[FRIDAY]
        listed[8] = listed[8] | {"id": "no id"}

    def source(self) -> HuggingFaceDaily:
        return self.world.source(FRIDAY)

    def empty_source(self) -> HuggingFaceDaily:
        return self.world.source(date(2024, 1, 5))


# -- recorded answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("on", RECORDED)
def test_every_recorded_paper_is_stored_right_and_once(world: World, on: date) -> None:
    # One answer whatever the date, as from a server that does not look at it.
    world.upstreams.bodies["hf"] = recorded(on)
    entries = json.loads(recorded(on))
    assert world.fetch(on).stored == len(entries) >= 8
    papers = world.papers()
    for entry in entries:
        said, paper = entry["paper"], papers[entry["paper"]["id"]]
        assert (paper.source, paper.version) == ("arxiv", None)
        assert paper.title.split()[:2] == said["title"].split()[:2]
        assert paper.authors == tuple(author["name"] for author in said["authors"])
        assert paper.upvotes == said["upvotes"]
        assert paper.listed_on == on
        assert bool(paper.tldr) == bool(said.get("ai_summary"))
        assert "\n" not in paper.title + paper.abstract
    n = len(entries)
    assert world.days() == {on: SourceDay("hf_daily", on, Verdict.COMPLETE, n, n)}
    assert world.fetch(on).stored == 0
    assert world.papers() == papers
    assert world.days()[on].verdict is Verdict.COMPLETE


# -- days ------------------------------------------------------------------------------------------


def test_the_day_comes_first_then_the_days_before_it(world: World) -> None:
    world.fetch(FRIDAY)
    asked = world.asked()
    assert asked[:3] == ["2025-06-27", "2025-06-26", "2025-06-25"]
    assert world.papers().keys() == set.union(*map(world.listed, (WEDNESDAY, THURSDAY, FRIDAY)))
    assert {day.verdict for day in world.days().values()} == {Verdict.COMPLETE}


def test_days_before_the_first_fetch_ever_are_not_held_against_anyone(world: World) -> None:
    world.fetch(WEDNESDAY)
    assert list(world.days()) == [WEDNESDAY]
    world.fetch(THURSDAY)
    assert list(world.days()) == [WEDNESDAY, THURSDAY]


def test_a_missed_day_is_read_later(world: World) -> None:
    world.fetch(WEDNESDAY)
    world.fetch(FRIDAY)
    assert world.days()[THURSDAY].verdict is Verdict.COMPLETE
    assert world.listed(THURSDAY) <= world.papers().keys()


def test_upvotes_of_earlier_days_are_refreshed(world: World) -> None:
    world.fetch(THURSDAY)
    some = min(world.listed(THURSDAY))
    assert world.papers()[some].upvotes == 7
    world.upstreams.upvotes[some] = 93
    world.fetch(FRIDAY)
    assert world.papers()[some].upvotes == 93
    assert world.papers()[some].listed_on == THURSDAY


@pytest.mark.parametrize("conditional", [True, False])
def test_fetched_again_nothing_changes(world: World, conditional: bool) -> None:
    world.upstreams.conditional = conditional
    world.fetch(FRIDAY)
    before = world.papers(), world.days()
    assert world.fetch(FRIDAY) == IngestReport()
    assert (world.papers(), world.days()) == before


def test_a_paper_on_two_days_is_one_paper_of_the_first(world: World) -> None:
    again = world.upstreams.days[THURSDAY][0]
    world.upstreams.days[FRIDAY].insert(0, again)
    world.fetch(FRIDAY)
    assert world.papers()[again["id"]].listed_on == THURSDAY
    assert world.days()[FRIDAY].verdict is Verdict.COMPLETE


def test_week_ends_are_empty_as_expected_and_other_days_are_suspect(world: World) -> None:
    world.fetch(FRIDAY)
    world.fetch(SATURDAY)
    assert world.days()[SATURDAY].verdict is Verdict.EMPTY_EXPECTED
    world.fetch(MONDAY)
    assert world.days()[MONDAY].verdict is Verdict.EMPTY_SUSPECT
    world.upstreams.days[MONDAY] = [RECORDS[0] | {"listed_date": "2025-06-30"}]
    world.fetch(MONDAY)
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE


def test_nine_missed_days_are_read_in_one_fetch(world: World) -> None:
    world.fetch(WEDNESDAY)
    later = WEDNESDAY + timedelta(days=10)
    missed = announcement_days(THURSDAY, later)
    for n, on in enumerate(missed, 1):
        world.upstreams.days[on] = [RECORDS[n] | {"listed_date": str(on), "id": f"2507.{n:05d}"}]
    world.fetch(later)
    assert {on for on, day in world.days().items() if day.verdict is Verdict.COMPLETE} == {
        WEDNESDAY,
        *missed,
    }
    papers = world.papers()
    assert [papers[f"2507.{n:05d}"].listed_on for n in range(1, len(missed) + 1)] == missed


def test_the_day_before_a_break_was_not_over_and_is_read_again(world: World) -> None:
    more = world.upstreams.days[WEDNESDAY].pop()
    world.fetch(WEDNESDAY)
    world.upstreams.days[WEDNESDAY].insert(0, more)
    world.fetch(WEDNESDAY + timedelta(days=15))
    assert more["id"] in world.papers()


@pytest.mark.parametrize("days_ahead", [1, 3, 40, 400])
@pytest.mark.parametrize("was_read", [True, False])
def test_what_a_clock_ahead_has_read_is_set_aside(
    world: World, days_ahead: int, was_read: bool
) -> None:
    if was_read:
        world.fetch(WEDNESDAY)
    world.fetch(FRIDAY + timedelta(days=days_ahead))
    with world.database.write() as conn:
        store.sources.forget_days_ahead(conn, datetime(2025, 6, 26, 1, tzinfo=UTC))
    world.fetch(THURSDAY)
    assert world.days()[THURSDAY].verdict is Verdict.COMPLETE
    world.upstreams.days.pop(FRIDAY)
    world.fetch(SATURDAY)
    assert world.days()[SATURDAY].verdict is Verdict.EMPTY_EXPECTED
    assert world.days()[FRIDAY].verdict is Verdict.EMPTY_SUSPECT


def test_a_year_without_a_fetch_is_read_a_month_back(world: World) -> None:
    world.fetch(WEDNESDAY)
    world.upstreams.log.clear()
    later = WEDNESDAY + timedelta(days=365)
    world.fetch(later)
    assert date.fromisoformat(min(world.asked())) >= later - timedelta(days=MISSED_DAYS)


def test_any_day_can_be_asked_for_and_is_finished_after_a_break(world: World) -> None:
    since = FRIDAY - timedelta(days=28)
    due = announcement_days(since, FRIDAY)
    for n, on in enumerate(due[:-3]):
        world.upstreams.days[on] = [RECORDS[n] | {"listed_date": str(on)}]
    steps = ingest(world.database, world.source(FRIDAY, since), world.clock, resume=True)
    for _ in zip(range(9), steps, strict=False):
        pass
    assert len(world.days()) == 9
    world.fetch(FRIDAY)
    assert sorted(world.days()) == due
    assert {day.verdict for day in world.days().values()} == {Verdict.COMPLETE}


# -- trending --------------------------------------------------------------------------------------


def test_a_paper_that_trends_is_listed_on_that_day_and_only_once(world: World) -> None:
    old = RECORDS[0] | {"id": "1706.03762", "listed_date": "2017-06-12", "upvotes": 900}
    known = world.upstreams.days[THURSDAY][0]
    world.upstreams.trending = [old, known]
    world.upstreams.upvotes[known["id"]] = 41
    world.fetch(FRIDAY)
    papers = world.papers()
    assert (papers["1706.03762"].listed_on, papers["1706.03762"].upvotes) == (FRIDAY, 900)
    assert (papers[known["id"]].listed_on, papers[known["id"]].upvotes) == (THURSDAY, 41)
    # Nothing is promised of what trends: the day is that of its listing.
    assert world.days()[FRIDAY].got == len(world.listed(FRIDAY))
    world.upstreams.upvotes["1706.03762"] = 950
    world.fetch(MONDAY)
    paper = world.papers()["1706.03762"]
    assert (paper.listed_on, paper.upvotes) == (FRIDAY, 950)


def test_what_trends_is_stored_once_while_it_stays_the_same(world: World) -> None:
    world.upstreams.trending = [RECORDS[0] | {"id": "1706.03762"}]
    world.fetch(FRIDAY)
    assert world.fetch(FRIDAY) == IngestReport()


def test_what_trends_can_be_left_out(world: World) -> None:
    world.upstreams.trending = [RECORDS[0] | {"id": "1706.03762"}]
    world.fetch(FRIDAY, trending=False)
    assert "1706.03762" not in world.papers()
    assert all("date" in asked.query for asked in world.upstreams.log)


def test_a_server_that_does_not_know_trending_lists_nothing_on_a_wrong_day(world: World) -> None:
    world.upstreams.trending = world.upstreams.days[WEDNESDAY][::8]
    world.upstreams.on = WEDNESDAY
    world.fetch(FRIDAY)
    assert {world.papers()[id].listed_on for id in world.listed(WEDNESDAY)} == {WEDNESDAY}


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'[{"paper": {}}]'])
def test_trouble_with_what_trends_leaves_the_days_whole(world: World, body: bytes) -> None:
    ask = world.gate.get

    def only_days(url: str, params: Any = None, **options: Any) -> Answer:
        return Answer(200, body) if "sort" in params else ask(url, params, **options)

    world.gate.get = only_days  # type: ignore[method-assign]
    with pytest.raises(SourceError) as caught:
        world.fetch(FRIDAY)
    error_text(caught.value)
    assert {day.verdict for day in world.days().values()} == {Verdict.COMPLETE}
    world.gate.get = ask  # type: ignore[method-assign]
    world.upstreams.trending = [RECORDS[0] | {"id": "1706.03762"}]
    world.fetch(FRIDAY)
    assert "1706.03762" in world.papers()


# -- trouble ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault.TOO_MANY,
        Fault.UNAVAILABLE,
        Fault.BROKEN,
        Fault.HTML,
        Fault.TRUNCATED,
        Fault.DROPPED,
        Fault.NOT_FOUND,
    ],
)
def test_a_listing_that_cannot_be_read_is_a_failed_day_until_it_can(
    world: World, fault: Fault
) -> None:
    world.upstreams.fail("hf", fault, times=4)
    with pytest.raises(SourceError) as caught:
        world.fetch(FRIDAY)
    failed = world.days()[FRIDAY]
    assert failed == SourceDay(
        "hf_daily", FRIDAY, Verdict.FAILED, None, 0, error_text(caught.value)
    )
    assert not world.papers()
    world.upstreams.recover()
    world.fetch(FRIDAY)
    assert world.listed(FRIDAY) <= world.papers().keys()
    assert world.days()[FRIDAY].verdict is Verdict.COMPLETE
    # What was read stays read.
    world.upstreams.upvotes[min(world.listed(FRIDAY))] = 8
    world.upstreams.fail("hf", fault, times=4)
    with pytest.raises(SourceError):
        world.fetch(FRIDAY)
    assert world.days()[FRIDAY].verdict is Verdict.COMPLETE


@pytest.mark.parametrize("fault", [Fault.EMPTY, Fault.SHORT])
def test_an_empty_or_short_listing_is_made_good_by_the_next_fetch(
    world: World, fault: Fault
) -> None:
    world.upstreams.fail("hf", fault)
    world.fetch(FRIDAY)
    if fault is Fault.EMPTY:
        assert world.days()[FRIDAY].verdict is Verdict.EMPTY_SUSPECT
    world.fetch(FRIDAY)
    assert world.listed(FRIDAY) <= world.papers().keys()
    assert world.days()[FRIDAY].verdict is Verdict.COMPLETE


def test_trouble_with_an_earlier_day_leaves_today_whole(world: World) -> None:
    world.fetch(THURSDAY)
    world.upstreams.upvotes[min(world.listed(FRIDAY))] = 9
    ask = world.gate.get
    answered: list[Answer] = []

    def once(*args: Any, **options: Any) -> Answer:
        answered.append(ask(*args, **options))
        world.upstreams.fail("hf", Fault.HTML)
        return answered[-1]

    world.gate.get = once  # type: ignore[method-assign]
    with pytest.raises(SourceError):
        world.fetch(FRIDAY)
    assert {on: day.verdict for on, day in world.days().items()} == {
        WEDNESDAY: Verdict.COMPLETE,
        THURSDAY: Verdict.COMPLETE,
        FRIDAY: Verdict.COMPLETE,
    }


def test_a_changed_form_fails_the_day_and_keeps_the_records(world: World) -> None:
    listing = json.loads(recorded(date(2025, 7, 10)))
    for entry in listing[:3]:
        entry["paper"]["arxivId"] = entry["paper"].pop("id")
    world.upstreams.bodies["hf"] = json.dumps(listing).encode()
    on = date(2025, 7, 10)
    with pytest.raises(SourceError) as caught:
        world.fetch(on)
    assert "format must have changed" in error_text(caught.value)
    assert (world.days()[on].verdict, world.days()[on].got) == (Verdict.FAILED, 9)
    with world.database.read() as conn:
        assert len(store.sources.quarantined(conn, "hf_daily")) == 3
    with pytest.raises(SourceError):
        world.fetch(on)
    assert world.days()[on].verdict is Verdict.FAILED
    # It is read in full each time: a newer triage may understand what this one did not.
    assert "If-None-Match" not in world.upstreams.log[-1].headers
    world.upstreams.bodies["hf"] = recorded(on)
    world.fetch(on)
    assert world.days()[on].verdict is Verdict.COMPLETE
    assert len(world.papers()) == 12


def test_one_bad_record_is_rejected_alone(world: World) -> None:
    listing = json.loads(recorded(date(2025, 10, 15)))
    listing[4]["paper"]["title"] = listing[4]["title"] = None
    world.upstreams.bodies["hf"] = json.dumps(listing).encode()
    on = date(2025, 10, 15)
    assert world.fetch(on).stored == len(listing) - 1
    # Nothing more can come of it, so no digest waits.
    n = len(listing)
    assert world.days()[on] == SourceDay(
        "hf_daily", on, Verdict.COMPLETE, n, n - 1, "1 kept aside: could not be used"
    )


# -- odd answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b'{"error": "Invalid date"}', b"{}", b"3", b"<html>", b"[" * 100_000],
)
def test_what_is_no_listing_is_an_error_for_people(body: bytes) -> None:
    with pytest.raises(SourceError) as caught:
        _listing(Answer(200, body))
    error_text(caught.value)


def changed(change: Callable[[dict[str, Any]], object]) -> Any:
    entry = json.loads(recorded(date(2025, 7, 10)))[0]
    change(entry["paper"])
    papers, rejected = _papers([entry], FRIDAY, "listing")
    return papers[0] if papers else rejected[0]


def test_hidden_and_malformed_authors_are_left_out() -> None:
    people = [{"name": "A"}, {"name": "B", "hidden": True}, {"name": None}, "C", None]
    assert changed(lambda paper: paper.update(authors=people)).authors == ("A",)
    assert changed(lambda paper: paper.update(authors="A, B")).authors == ()


@pytest.mark.parametrize("upvotes", [None, "7", True, -1, 1.5, 10**30, []])
def test_upvotes_that_are_no_count_are_unknown(upvotes: object) -> None:
    assert changed(lambda paper: paper.update(upvotes=upvotes)).upvotes is None


def test_the_addresses_of_code_and_project_are_kept_if_they_are_of_the_web() -> None:
    both = {"githubRepo": "https://github.com/ada/engine", "projectPage": "https://ada.github.io"}
    assert changed(lambda paper: paper.update(both)).links == tuple(both.values())


@pytest.mark.parametrize(
    "bad", [None, 7, "", "javascript:alert(1)", "https://a b.org", "https://a.org/\0", "x" * 900]
)
def test_what_is_no_address_of_the_web_is_not_kept(bad: object) -> None:
    assert changed(lambda paper: paper.update(githubRepo=bad, projectPage=bad)).links == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


KEYS = ("id", "title", "summary", "authors", "upvotes", "ai_summary", "githubRepo")


@given(JSON, st.sampled_from(KEYS))
def test_any_value_in_any_field_is_a_paper_or_a_rejected_record(value: Any, key: str) -> None:
    entry = json.loads(recorded(date(2025, 7, 10)))[0]
    entry["paper"][key] = value
    papers, rejected = _papers([entry, value], FRIDAY, "listing")
    assert len(papers) + len(rejected) == 2
    assert all(paper.listed_on == FRIDAY for paper in papers)


def test_a_week_is_asked_for_and_not_more(world: World) -> None:
    world.fetch(FRIDAY)
    asked = {date.fromisoformat(day) for day in world.asked()}
    assert min(asked) >= FRIDAY - timedelta(days=7)
    assert all(day.isoweekday() <= 5 for day in asked)
