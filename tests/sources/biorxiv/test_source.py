"""bioRxiv and medRxiv as sources: days by rows received, counts that are wrong, publications."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.biorxiv_server import Preprints, posting, recorded
from tests.support.contracts import SourceContract, error_text
from tests.support.fakes import StoppedClock
from tests.support.installation import installed
from triage import store
from triage.domain.records import Paper, Verdict
from triage.domain.source_records import FetchedPaper, SourceDay
from triage.errors import RejectedRecord, SourceError
from triage.papers.ingest import IngestReport, ingest
from triage.sources.biorxiv.parsing import parse_posting, parse_publication
from triage.sources.biorxiv.source import MISSED_DAYS, OVERLAP_DAYS, Biorxiv
from triage.sources.http.client import PoliteClient
from triage.store import Database

pytestmark = pytest.mark.any_database(
    "its papers and days go the way that test_ingest shows on each"
)

ONE = timedelta(days=1)
THURSDAY, FRIDAY, SATURDAY = date(2026, 7, 30), date(2026, 7, 31), date(2026, 8, 1)
SUNDAY, MONDAY = date(2026, 8, 2), date(2026, 8, 3)


class World:
    """The server, a gate and a database."""

    def __init__(self, preprints: Preprints, database: Database) -> None:
        self.preprints = preprints
        self.clock = StoppedClock()
        self.database = database
        self.gate = PoliteClient(self.clock, "triage/test", 1.0)

    def source(self, on: date, since: date | None = None, server: str = "biorxiv") -> Biorxiv:
        return Biorxiv(self.gate, server, self.preprints.url, on, since=since)

    def fetch(self, on: date, since: date | None = None) -> IngestReport:
        self.preprints.asked.clear()
        self.clock.at = max(self.clock.at, datetime(on.year, on.month, on.day, 12, tzinfo=UTC))
        report = IngestReport()
        for step in ingest(self.database, self.source(on, since), self.clock, resume=True):
            report = step
        return report

    def papers(self) -> dict[str | None, Paper]:
        with self.database.read() as conn:
            return {paper.source_id: paper for paper in store.papers.iterate(conn)}

    def days(self) -> dict[date, SourceDay]:
        with self.database.read() as conn:
            return {day.on: day for day in store.sources.days(conn, date.min, date.max)}

    def asked(self, on: date, endpoint: str = "details") -> list[int]:
        """Return the places that were asked for of a day, in order."""
        paths = [path.strip("/").split("/") for path in self.preprints.asked]
        return [int(path[4]) for path in paths if path[0] == endpoint and path[2] == str(on)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with installed(tmp_path) as database, Preprints() as preprints:
        world = World(preprints, database)
        yield world
        world.gate.close()


class TestPreprintsKeepTheContract(SourceContract):
    @pytest.fixture(autouse=True)
    def _world(self, world: World) -> None:
        self.world = world
        for back in range(OVERLAP_DAYS + 1):
            world.preprints.post(MONDAY - back * ONE, 70)
        world.preprints.rows["details", str(MONDAY)][3]["doi"] = "NA"
        world.preprints.publish(MONDAY)

    def source(self) -> Biorxiv:
        return self.world.source(MONDAY)

    def empty_source(self) -> Biorxiv:
        return self.world.source(date(2024, 1, 5))


# -- recorded rows ---------------------------------------------------------------------------------


def test_a_recorded_posting_is_stored_right(world: World) -> None:
    world.preprints.rows["details", str(SATURDAY)] = [recorded("details")]
    assert world.fetch(SATURDAY).stored == 1
    [paper] = world.papers().values()
    assert (paper.source, paper.source_id) == ("biorxiv", "10.64898/2026.07.31.741992")
    assert (paper.version, paper.listed_on) == (1, SATURDAY)
    assert paper.authors == ("M. Loconsole", "C. Xue", "E. Garcia-Pelegrin")
    assert paper.categories == ("animal behavior and cognition",)
    assert paper.title.startswith("Sound-shape correspondences in macaques")
    assert world.days()[SATURDAY] == SourceDay("biorxiv", SATURDAY, Verdict.COMPLETE, 1, 1)


def test_a_recorded_publication_names_the_journal_and_its_doi() -> None:
    paper = parse_publication(recorded("pubs"), "biorxiv", MONDAY)
    assert (paper.source, paper.source_id) == ("biorxiv", "10.1101/2025.09.17.676679")
    assert paper.doi == "10.1091/mbc.e25-09-0454"
    assert paper.venue == "Molecular Biology of the Cell"
    assert paper.update_only


def test_medrxiv_is_the_same_under_its_own_name(world: World) -> None:
    world.preprints.post(MONDAY, 2, server="medRxiv")
    batches = list(world.source(MONDAY, server="medrxiv").fetch(None))
    assert {paper.source for batch in batches for paper in batch.papers} == {"medrxiv"}
    assert batches[0].days == (SourceDay("medrxiv", MONDAY, Verdict.COMPLETE, 2, 2),)
    assert {path.split("/")[2] for path in world.preprints.asked} == {"medrxiv"}


# -- rows and counts -------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [7, 30, 100])
def test_a_day_is_read_by_the_rows_that_came_to_an_empty_page(world: World, page: int) -> None:
    world.preprints.page = page
    rows = world.preprints.post(MONDAY, 75)
    assert world.fetch(MONDAY).stored == 75
    assert world.papers().keys() == {row["doi"] for row in rows}
    assert world.asked(MONDAY) == [*range(0, 75, page), 75]
    assert world.days()[MONDAY] == SourceDay("biorxiv", MONDAY, Verdict.COMPLETE, 75, 75)


def test_a_count_that_is_too_large_is_found_out_by_reading_twice(world: World) -> None:
    world.preprints.post(MONDAY, 50)
    world.preprints.total_off = 9
    world.fetch(MONDAY)
    note = "the server counts 59 rows and gives 50"
    assert world.days()[MONDAY] == SourceDay("biorxiv", MONDAY, Verdict.COMPLETE, 50, 50, note)
    assert world.asked(MONDAY) == [0, 30, 50, 58] * 2


def test_a_count_that_is_too_small_ends_no_day(world: World) -> None:
    world.preprints.post(MONDAY, 50)
    world.preprints.total_off = -20
    assert world.fetch(MONDAY).stored == 50
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE


def test_more_than_a_page_is_never_taken_for_a_wrong_count(world: World) -> None:
    world.preprints.post(MONDAY, 50)
    world.preprints.total_off = 31
    world.fetch(MONDAY)
    assert world.days()[MONDAY].verdict is Verdict.PARTIAL
    assert world.days()[MONDAY].expected == 81


def test_an_empty_page_with_rows_behind_it_leaves_the_day_open(world: World) -> None:
    world.preprints.post(MONDAY, 50)
    world.preprints.holes = {30}
    world.fetch(MONDAY)
    day = world.days()[MONDAY]
    assert (day.verdict, day.expected, day.got) == (Verdict.PARTIAL, 50, 30)
    world.preprints.holes.clear()
    assert world.fetch(MONDAY).stored == 20
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE


def test_a_server_that_does_not_count_is_read_twice(world: World) -> None:
    def uncounted(path: str, body: bytes) -> bytes:
        return body.replace(b'"total"', b'"all"')

    world.preprints.post(MONDAY, 5)
    world.preprints.change = uncounted
    world.fetch(MONDAY)
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE
    assert world.days()[MONDAY].note == "the server does not say how many rows there are"


def test_a_row_that_slides_to_the_next_page_is_one_paper(world: World) -> None:
    rows = world.preprints.post(MONDAY, 60)
    rows.insert(30, rows[29])
    assert world.fetch(MONDAY).read == 60
    assert len(world.papers()) == 60


def test_a_server_that_does_not_look_at_the_place_fails_the_day(world: World) -> None:
    world.preprints.post(MONDAY, 90)
    first = world.preprints._answer(f"/details/biorxiv/{MONDAY}/{MONDAY}/0/json")
    world.preprints.change = lambda path, body: first if str(MONDAY) in path else body
    with pytest.raises(SourceError) as caught:
        world.fetch(MONDAY)
    assert "for different pages" in error_text(caught.value)
    assert world.days()[MONDAY].verdict is Verdict.PARTIAL


def test_a_server_that_does_not_look_at_the_day_lists_nothing_wrongly(world: World) -> None:
    first = json.dumps({"messages": [{"status": "ok"}], "collection": [posting(1, FRIDAY)]})
    nothing = '{"messages":[{"status":"no posts found"}],"collection":[]}'
    for _ in range(4):
        world.preprints.answer(first)
        world.preprints.answer(nothing)
    with pytest.raises(SourceError):
        world.fetch(MONDAY)
    assert {day.on for day in world.days().values()} == {MONDAY}
    assert world.days()[MONDAY].verdict is Verdict.FAILED
    assert not world.papers()


# -- what is news ----------------------------------------------------------------------------------


def test_a_later_version_changes_a_stored_paper_and_is_no_news(world: World) -> None:
    [first] = world.preprints.post(FRIDAY, 1)
    world.fetch(FRIDAY)
    changed = first | {"version": "2", "title": "A better title", "date": "2026-8-3"}
    unseen = posting(9, THURSDAY, version="3", date="2026-8-3")
    world.preprints.rows["details", str(MONDAY)] = [changed, unseen]
    world.fetch(MONDAY)
    [paper] = world.papers().values()
    assert (paper.title, paper.version) == ("A better title", 2)
    assert paper.listed_on == FRIDAY
    assert world.days()[MONDAY] == SourceDay("biorxiv", MONDAY, Verdict.COMPLETE, 0, 0)


def test_a_withdrawal_says_so(world: World) -> None:
    world.preprints.post(MONDAY, 1, version="2", type="Withdrawn")
    [batch] = [batch for batch in world.source(MONDAY).fetch(None) if batch.papers]
    assert [paper.withdrawn for paper in batch.papers] == [True]


def test_a_publication_joins_the_preprint_to_the_journals_doi(world: World) -> None:
    [row] = world.preprints.post(FRIDAY, 1)
    world.fetch(FRIDAY)
    world.preprints.publish(MONDAY, preprint_doi=row["doi"], preprint_date="1999-1-1")
    world.preprints.publish(MONDAY)
    world.fetch(MONDAY)
    [paper] = world.papers().values()
    assert (paper.title, paper.listed_on) == (row["title"], FRIDAY)
    with world.database.read() as conn:
        doi = ("doi", "10.1091/mbc.e25-09-0454")
        assert store.papers.find(conn, [doi]) == {doi: paper.id}


def test_a_posting_that_is_published_already_has_the_journals_doi(world: World) -> None:
    world.preprints.post(MONDAY, 1, published="10.1038/S41586-026-1")
    world.fetch(MONDAY)
    with world.database.read() as conn:
        assert store.papers.find(conn, [("doi", "10.1038/s41586-026-1")])


# -- days ------------------------------------------------------------------------------------------


def test_today_comes_first_then_the_days_before_it(world: World) -> None:
    world.fetch(MONDAY)
    paths = [tuple(path.split("/")[1:4:2]) for path in world.preprints.asked]
    days = [str(MONDAY - back * ONE) for back in range(OVERLAP_DAYS + 1)]
    assert list(dict.fromkeys(paths)) == [(e, on) for e in ("details", "pubs") for on in days]
    # Nothing is promised of the days before the first fetch ever.
    assert list(world.days()) == [MONDAY]


def test_week_ends_may_be_empty_and_other_days_are_suspect(world: World) -> None:
    for on in (FRIDAY, SATURDAY, SUNDAY, MONDAY):
        world.fetch(on)
    assert {on: day.verdict for on, day in world.days().items()} == {
        FRIDAY: Verdict.EMPTY_SUSPECT,
        SATURDAY: Verdict.EMPTY_EXPECTED,
        SUNDAY: Verdict.EMPTY_EXPECTED,
        MONDAY: Verdict.EMPTY_SUSPECT,
    }
    world.preprints.post(FRIDAY, 3)
    world.preprints.post(SUNDAY, 2)
    world.fetch(MONDAY)
    assert world.days()[FRIDAY].verdict is Verdict.COMPLETE
    assert world.days()[SUNDAY].got == 2
    assert len(world.papers()) == 5


def test_rows_that_come_late_are_found(world: World) -> None:
    world.preprints.post(FRIDAY, 40)
    world.fetch(FRIDAY)
    world.preprints.post(FRIDAY, 2)
    assert world.fetch(MONDAY) == IngestReport(read=2, stored=2)
    assert world.days()[FRIDAY].got == 42


def test_a_day_that_did_not_change_costs_one_request(world: World) -> None:
    world.preprints.post(MONDAY, 75)
    world.fetch(MONDAY)
    before = world.papers(), world.days()
    assert world.fetch(MONDAY) == IngestReport()
    assert (world.papers(), world.days()) == before
    assert world.asked(MONDAY) == [0]


def test_whether_a_past_day_has_changed_is_asked_once_a_day(world: World) -> None:
    world.preprints.post(SUNDAY, 5)
    world.fetch(SUNDAY)
    world.fetch(MONDAY)
    assert world.asked(SUNDAY) == [0]
    world.fetch(MONDAY)
    assert world.asked(SUNDAY) == []
    assert world.asked(MONDAY) == [0]


def test_a_wrong_count_is_doubted_again_the_next_day_and_not_sooner(world: World) -> None:
    world.preprints.post(SUNDAY, 5)
    world.preprints.total_off = 2
    world.fetch(SUNDAY)
    world.fetch(SUNDAY)
    assert world.asked(SUNDAY) == [0]
    # The rows that were counted already come late.
    world.preprints.post(SUNDAY, 2)
    world.preprints.total_off = 0
    assert world.fetch(MONDAY).stored == 2
    assert world.days()[SUNDAY] == SourceDay("biorxiv", SUNDAY, Verdict.COMPLETE, 7, 7)


def test_nine_missed_days_are_read_in_one_fetch(world: World) -> None:
    start, end = FRIDAY, FRIDAY + 10 * ONE
    world.fetch(start)
    for back in range(11):
        world.preprints.post(end - back * ONE, 35)
        world.preprints.publish(end - back * ONE)
    world.fetch(end)
    days = {start + n * ONE: Verdict.COMPLETE for n in range(11)}
    assert {on: day.verdict for on, day in world.days().items()} == days
    assert len(world.papers()) == 11 * 35
    assert world.asked(start + 2 * ONE, "pubs") == [0, 1]
    # And not once more, but for the last few.
    world.fetch(end + ONE)
    assert not world.asked(start + 2 * ONE)


def test_any_day_can_be_asked_for_and_is_finished_after_a_break(world: World) -> None:
    world.fetch(MONDAY)
    since = MONDAY - 50 * ONE
    for back in range(51):
        world.preprints.post(MONDAY - back * ONE, 3)
    steps = ingest(world.database, world.source(MONDAY, since), world.clock, resume=True)
    for _ in zip(range(30), steps, strict=False):
        pass
    assert len(world.papers()) == 30 * 3
    world.fetch(MONDAY, since)
    assert len(world.papers()) == 51 * 3
    assert {day.verdict for day in world.days().values()} == {Verdict.COMPLETE}
    assert min(world.days()) == since
    with world.database.read() as conn:
        cursor = store.sources.cursor(conn, "biorxiv")
    assert cursor is not None
    assert len(cursor) < 10_000


def test_from_day_to_day_no_more_is_asked(world: World) -> None:
    for n in range(9):
        world.preprints.post(FRIDAY + n * ONE, 3)
        world.fetch(FRIDAY + n * ONE)
    days = {path.split("/")[3] for path in world.preprints.asked}
    assert len(days) <= OVERLAP_DAYS + 2


def test_the_day_before_a_break_was_not_over_and_is_read_again(world: World) -> None:
    world.preprints.post(FRIDAY, 3)
    world.fetch(FRIDAY)
    world.preprints.post(FRIDAY, 4)
    world.fetch(FRIDAY + 10 * ONE)
    assert world.days()[FRIDAY].got == 7


@pytest.mark.parametrize("ahead", [ONE, 3 * ONE, 40 * ONE, 400 * ONE], ids=str)
@pytest.mark.parametrize("was_read", [True, False])
def test_what_a_clock_ahead_has_read_is_set_aside(
    world: World, ahead: timedelta, was_read: bool
) -> None:
    if was_read:
        world.preprints.post(FRIDAY, 3)
        world.fetch(FRIDAY)
    world.fetch(MONDAY + ahead)
    with world.database.write() as conn:
        store.sources.forget_days_ahead(conn, datetime(2026, 8, 3, 1, tzinfo=UTC))
    world.fetch(MONDAY)
    assert world.days()[MONDAY].verdict is Verdict.EMPTY_SUSPECT
    world.preprints.post(MONDAY, 3)
    world.fetch(MONDAY)
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE
    for n in range(1, 4):
        world.fetch(MONDAY + n * ONE)
        assert MONDAY + n * ONE in world.days()
        if was_read:
            assert SATURDAY in world.days()


def test_a_year_without_a_fetch_is_read_a_month_back(world: World) -> None:
    world.fetch(FRIDAY - 365 * ONE)
    world.fetch(FRIDAY)
    days = [path.split("/")[3] for path in world.preprints.asked]
    assert min(days) == str(FRIDAY - MISSED_DAYS * ONE)


# -- trouble ---------------------------------------------------------------------------------------

ERRORS = [
    "",
    "nonsense",
    "{}",
    "[]",
    "3",
    "null",
    "<!doctype html><html>",
    "[" * 100_000,
    '{"messages":[{"status":"Error: (2002) Connection refused"}],"collection":[]}',
    '{"messages":[{"status":"ok","total":"75"}],"rows":[]}',
    '{"messages":"ok","collection":null}',
    '{"messages":[],"collection":[]}',
]


@pytest.mark.parametrize("body", ERRORS)
def test_an_error_that_comes_as_an_answer_is_asked_again(world: World, body: str) -> None:
    world.preprints.post(MONDAY, 75)
    world.preprints.answer(body, times=2)
    world.preprints.answer(None)
    world.preprints.answer(body, times=2)
    assert world.fetch(MONDAY).stored == 75
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE


@pytest.mark.parametrize("body", ERRORS)
def test_a_day_that_cannot_be_read_is_failed_until_it_can(world: World, body: str) -> None:
    world.preprints.post(MONDAY, 75)
    world.preprints.post(SUNDAY, 4)
    world.preprints.answer(body, times=3)
    with pytest.raises(SourceError) as caught:
        world.fetch(MONDAY)
    failed = SourceDay("biorxiv", MONDAY, Verdict.FAILED, None, 0, error_text(caught.value))
    assert world.days()[MONDAY] == failed
    assert len(world.papers()) == 4, "other days are none the worse"
    assert world.fetch(MONDAY).stored == 75
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE
    # What was read stays read.
    world.preprints.answer(body, times=3)
    with pytest.raises(SourceError):
        world.fetch(MONDAY)
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE


def test_a_day_that_breaks_off_keeps_its_rows_and_goes_on(world: World) -> None:
    world.preprints.post(MONDAY, 75)
    world.preprints.answer(None)
    world.preprints.answer("", times=3)
    with pytest.raises(SourceError) as caught:
        world.fetch(MONDAY)
    note = error_text(caught.value)
    assert world.days()[MONDAY] == SourceDay("biorxiv", MONDAY, Verdict.PARTIAL, None, 30, note)
    assert world.fetch(MONDAY) == IngestReport(read=45, stored=45)
    assert world.days()[MONDAY] == SourceDay("biorxiv", MONDAY, Verdict.COMPLETE, 75, 75)


def test_a_changed_form_fails_the_day_and_keeps_the_rows(world: World) -> None:
    rows = world.preprints.post(MONDAY, 10)
    for row in rows[:3]:
        row["DOI"] = row.pop("doi")
    with pytest.raises(SourceError) as caught:
        world.fetch(MONDAY)
    assert "format must have changed" in error_text(caught.value)
    assert (world.days()[MONDAY].verdict, world.days()[MONDAY].got) == (Verdict.FAILED, 7)
    with world.database.read() as conn:
        assert len(store.sources.quarantined(conn, "biorxiv")) == 3
    for row in rows[:3]:
        row["doi"] = row.pop("DOI")
    assert world.fetch(MONDAY).stored == 3
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE


def test_a_few_bad_rows_are_rejected_alone(world: World) -> None:
    rows = world.preprints.post(MONDAY, 20)
    rows[4]["title"], rows[7]["date"] = "NA", "2026-6-30"
    assert world.fetch(MONDAY).stored == 18
    note = "2 kept aside: could not be used"
    assert world.days()[MONDAY] == SourceDay("biorxiv", MONDAY, Verdict.COMPLETE, 20, 18, note)
    assert world.fetch(MONDAY) == IngestReport()


# -- odd rows --------------------------------------------------------------------------------------


def read(**fields: Any) -> FetchedPaper:
    return parse_posting(posting(1, MONDAY, **fields), "biorxiv", MONDAY)


@pytest.mark.parametrize("day", ["2026-08-03", "2026-8-3", "2026-8-03", " 2026-08-03T04:00:00Z"])
def test_days_are_read_and_not_compared_as_text(day: str) -> None:
    assert read(date=day).listed_on == MONDAY


@pytest.mark.parametrize(
    "day",
    ["2026-08-02", "2026-8-33", "2026-8-3x", "2026-08-031", "3.8.2026", "NA", "", None, 20260803],
)
def test_a_row_of_another_day_or_of_none_is_rejected(day: object) -> None:
    with pytest.raises(RejectedRecord):
        read(date=day)


@pytest.mark.parametrize("version", [None, "", "0", "two", "1.0", True, -1, [], "9" * 5_000])
def test_without_a_version_nothing_tells_whether_it_is_new(version: object) -> None:
    with pytest.raises(RejectedRecord):
        read(version=version)


@pytest.mark.parametrize("prefix", ["10.1101", "10.64898"])
def test_both_prefixes_are_known(prefix: str) -> None:
    doi = f"{prefix}/2026.08.03.1"
    assert read(doi=doi, version=1).source_id == doi


def test_names_are_turned_as_people_write_them() -> None:
    names = "Loconsole, M.; van der Berg, A. B.; The Consortium; King, M. L., Jr.; ; NA"
    assert read(authors=names).authors == (
        "M. Loconsole",
        "A. B. van der Berg",
        "The Consortium",
        "King, M. L., Jr.",
        "NA",
    )
    assert read(authors=None).authors == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(JSON, st.sampled_from(sorted(recorded("details"))))
def test_any_value_in_any_field_is_a_paper_or_a_rejected_record(value: Any, key: str) -> None:
    try:
        paper = read(**{key: value})
    except RejectedRecord as error:
        error_text(error) if len(str(error)) > 20 else None
    else:
        assert paper.listed_on == MONDAY
