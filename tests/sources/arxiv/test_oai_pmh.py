"""OAI-PMH as arXiv speaks it: recorded answers, and every way in which a list can go on or end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import error_text
from tests.support.emulator import Fault, Upstreams
from tests.support.fakes import StoppedClock
from tests.support.fixtures import BESIDE
from triage.domain.announcement_calendar import announcement_days
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, FetchedPaper
from triage.errors import SourceError
from triage.sources.arxiv.oai_pmh import BadToken, page_params, parse_page, sets_of
from triage.sources.arxiv.source import Arxiv
from triage.sources.http.client import PoliteClient

RECORDED = BESIDE / "arxiv_oai" / "oaipmh-listrecords---should-list-identifiers-from-arxiv.json"
FRIDAY = date(2026, 3, 6)
WEEK = announcement_days(date(2026, 3, 2), FRIDAY)
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, _ = WEEK


def answer(inside: str) -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">
<responseDate>2026-03-06T03:00:00Z</responseDate>{inside}</OAI-PMH>""".encode()


def record(id: str = "2603.00001", **fields: str) -> str:
    told = {
        "id": id,
        "created": "2026-03-02",
        "authors": "<author><keyname>Lovelace</keyname><forenames>Ada</forenames></author>",
        "title": "A title",
        "categories": "cs.LG stat.ML",
        "abstract": "  An abstract\nin two lines.\n",
    } | fields
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in told.items() if value)
    return f"""<record><header><identifier>oai:arXiv.org:{id}</identifier>
<datestamp>2026-03-03</datestamp><setSpec>cs</setSpec></header>
<metadata><arXiv xmlns="http://arxiv.org/OAI/arXiv/">{inside}</arXiv></metadata></record>"""


def page_of(*records: str, token: str = "") -> bytes:
    return answer(f"<ListRecords>{''.join(records)}{token}</ListRecords>")


# -- what servers said -----------------------------------------------------------------------------


@pytest.mark.skipif(not RECORDED.exists(), reason="recorded answers are not beside the checkout")
def test_a_recorded_list_is_read() -> None:
    busy, listed = json.loads(RECORDED.read_text("utf-8"))
    assert busy["status"] == 503
    with pytest.raises(SourceError, match="web page"):
        parse_page(busy["response"].encode())
    page = parse_page(listed["response"].encode())
    assert (page.n_records, page.total, page.token, page.rejected) == (2, None, "", ())
    new, old = page.records
    assert (new.source_id, new.changed_on) == ("1412.8544", date(2015, 1, 3))
    assert (new.created_on, new.is_replaced) == (date(2014, 12, 29), False)
    paper = new.paper(date(2014, 12, 31))
    assert paper.title == ("A Kochen-Specker system has at least 22 vectors (extended abstract)")
    assert paper.abstract.startswith("At the heart of the Conway-Kochen Free Will theorem and")
    assert paper.authors == ("Sander Uijlen", "Bas Westerbaan")
    assert paper.categories == ("cs.DM",)
    assert paper.doi == "10.4204/EPTCS.172.11".lower()
    assert paper.comment.startswith("In Proceedings QPL 2014")
    assert (paper.version, paper.listed_on) == (1, date(2014, 12, 31))
    assert old.source_id == "hep-th/9504118"
    assert old.paper(FRIDAY).title == "Discrete Mathematics and Physics on the Planck-Scale"


def test_a_name_has_its_suffix_and_a_paper_its_known_version() -> None:
    author = (
        "<author><keyname>King</keyname><forenames>M. L.</forenames><suffix>Jr.</suffix></author>"
    )
    (told,) = parse_page(page_of(record(authors=author, updated="2026-03-03"))).records
    assert told.is_replaced
    paper = told.paper(TUESDAY)
    assert paper.authors == ("M. L. King Jr.",)
    # Its true version is not told; it is a later one than the first.
    assert paper.version == 2


def test_deleted_records_are_counted_and_passed_over() -> None:
    gone = '<record><header status="deleted"><identifier>oai:arXiv.org:2603.00009</identifier>'
    page = parse_page(
        page_of(record(), f"{gone}<datestamp>2026-03-03</datestamp></header></record>")
    )
    assert (page.n_records, len(page.records), page.rejected) == (2, 1, ())


def test_a_record_that_cannot_be_used_is_rejected_by_itself() -> None:
    page = parse_page(page_of(record("none"), "<record/>", record()))
    assert (page.n_records, len(page.records)) == (3, 1)
    assert [rejected.reason for rejected in page.rejected] == [
        "it has no arXiv id",
        "it has no header or no metadata in arXiv's format",
    ]
    assert all(rejected.where for rejected in page.rejected)


@pytest.mark.parametrize(
    ("token", "rest", "total"),
    [
        ("", "", None),
        ("<resumptionToken/>", "", None),
        (
            '<resumptionToken expirationDate="2026-03-07T00:00:00Z">a|b</resumptionToken>',
            "a|b",
            None,
        ),
        ('<resumptionToken completeListSize="57" cursor="0">next</resumptionToken>', "next", 57),
        ('<resumptionToken completeListSize="57" cursor="50"></resumptionToken>', "", 57),
        ('<resumptionToken completeListSize="many">next</resumptionToken>', "next", None),
    ],
)
def test_a_token_tells_what_is_left(token: str, rest: str, total: int | None) -> None:
    page = parse_page(page_of(record(), token=token))
    assert (page.token, page.total) == (rest, total)


def test_no_records_are_an_empty_page_and_a_lost_place_an_error_of_its_own() -> None:
    empty = parse_page(answer('<error code="noRecordsMatch">None.</error>'))
    assert (empty.n_records, empty.total, empty.token) == (0, 0, "")
    with pytest.raises(BadToken):
        parse_page(answer('<error code="badResumptionToken">It expired.</error>'))
    with pytest.raises(SourceError, match="badArgument Wrong set") as caught:
        parse_page(answer('<error code="badArgument">Wrong set.</error>'))
    error_text(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body><h1>Retry after 10 seconds</h1></body></html>",
        b"<rss/>",
        answer(""),
        page_of(record())[:400],
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + page_of(record()),
    ],
)
def test_what_is_no_answer_is_an_error_for_people(body: bytes) -> None:
    with pytest.raises(SourceError) as caught:
        parse_page(body)
    error_text(caught.value)


@given(st.text(max_size=20))
def test_any_date_is_a_day_or_none(written: str) -> None:
    safe = "".join(c for c in written if c.isalnum() or c in " -:")
    (told,) = parse_page(page_of(record(created=safe or "x"))).records
    assert told.created_on is None or isinstance(told.created_on, date)


def test_dates_may_lack_their_noughts() -> None:
    (told,) = parse_page(page_of(record(created="2026-3-1"))).records
    assert told.created_on == date(2026, 3, 1)


# -- what is asked ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        (["cs.LG", "cs.CL", "stat.ML"], ["cs", "stat"]),
        (["astro-ph.GA", "quant-ph"], ["physics:astro-ph", "physics:quant-ph"]),
        (["physics.optics", "q-bio.BM"], ["physics:physics", "q-bio"]),
        (["cs.LG", "stat.ML", "math.PR", "eess.IV"], [""]),
        (["cs"], ["cs"]),
    ],
)
def test_few_archives_are_asked_one_by_one_and_many_all_at_once(
    categories: list[str], expected: list[str]
) -> None:
    assert sets_of(categories) == expected


def test_a_token_stands_for_everything_else() -> None:
    assert page_params(MONDAY, FRIDAY, "cs", "") == {
        "verb": "ListRecords",
        "metadataPrefix": "arXiv",
        "from": "2026-03-02",
        "until": "2026-03-06",
        "set": "cs",
    }
    assert "set" not in page_params(MONDAY, FRIDAY, "", "")
    assert page_params(MONDAY, FRIDAY, "cs", "t") == {"verb": "ListRecords", "resumptionToken": "t"}


# -- what becomes of it ----------------------------------------------------------------------------


def announced(id: str, on: date, **fields: Any) -> dict[str, Any]:
    return {
        "id": id,
        "title": f"Title of {id}",
        "abstract": f"Abstract of {id}.",
        "authors": ["Ada Lovelace"],
        "categories": ["cs.LG"],
        "listed_date": on.isoformat(),
        "kind": "new",
    } | fields


@pytest.fixture
def upstreams() -> Iterator[Upstreams]:
    day = [announced(f"2603.0{n}00{i}", on) for n, on in enumerate(WEEK) for i in range(3)]
    with Upstreams(day, clock=StoppedClock(datetime(2026, 3, 6, 12, tzinfo=UTC))) as upstreams:
        yield upstreams


def fetched(upstreams: Upstreams, on: date, cursor: str | None = None) -> list[Batch]:
    upstreams.show(on)
    with PoliteClient(StoppedClock(), "triage/test", 3.0) as gate:
        urls = (upstreams.rss_url, upstreams.api_url, upstreams.oai_url)
        return list(Arxiv(gate, ["cs.LG"], *urls, on).fetch(cursor))


def after_a_gap(upstreams: Upstreams) -> dict[str, FetchedPaper]:
    """Return what a fetch on Friday gives where the last one was on Monday."""
    (*_, last) = fetched(upstreams, MONDAY)
    batches = fetched(upstreams, FRIDAY, last.cursor)
    return {paper.source_id or "": paper for batch in batches for paper in batch.papers}


def test_a_paper_replaced_in_the_gap_is_news_on_its_first_day(upstreams: Upstreams) -> None:
    upstreams.announce(
        announced("2603.01001", THURSDAY, kind="replace", version=2, title="A better title")
    )
    paper = after_a_gap(upstreams)["2603.01001"]
    assert (paper.listed_on, paper.update_only) == (TUESDAY, False)
    assert (paper.title, paper.version) == ("A better title", 2)


def test_a_paper_replaced_on_the_day_of_the_feed_is_not_lost(upstreams: Upstreams) -> None:
    upstreams.announce(announced("2603.01001", FRIDAY, kind="replace", version=2))
    paper = after_a_gap(upstreams)["2603.01001"]
    assert (paper.listed_on, paper.update_only) == (TUESDAY, False)


def test_a_paper_known_before_the_gap_is_changed_only(upstreams: Upstreams) -> None:
    upstreams.announce(announced("2603.00001", WEDNESDAY, kind="replace", version=2))
    upstreams.announce(announced("2401.00001", WEDNESDAY, kind="replace", created="2024-01-01"))
    papers = after_a_gap(upstreams)
    assert papers["2603.00001"].update_only
    assert papers["2401.00001"].update_only


@pytest.mark.parametrize(("created", "is_news"), [("2026-02-20", True), ("2020-02-20", False)])
def test_what_changed_without_a_new_version_is_news_if_it_is_recent(
    upstreams: Upstreams, created: str, is_news: bool
) -> None:
    upstreams.announce(announced("2602.00001", WEDNESDAY, kind="cross", created=created))
    paper = after_a_gap(upstreams).get("2602.00001")
    assert (paper is not None) == is_news
    assert paper is None or paper.listed_on == WEDNESDAY


def test_papers_in_two_archives_come_once(upstreams: Upstreams) -> None:
    upstreams.announce(announced("2603.01009", TUESDAY, categories=["stat.ML", "cs.LG"]))
    (*_, last) = fetched(upstreams, MONDAY)
    upstreams.show(FRIDAY)
    with PoliteClient(StoppedClock(), "triage/test", 3.0) as gate:
        urls = (upstreams.rss_url, upstreams.api_url, upstreams.oai_url)
        source = Arxiv(gate, ["cs.LG", "stat.ML"], *urls, FRIDAY)
        batches = list(source.fetch(last.cursor))
    ids = [paper.source_id for batch in batches for paper in batch.papers]
    assert ids.count("2603.01009") == 1
    asked = {each.query.get("set") for each in upstreams.log if each.route == "oai"}
    assert asked >= {"cs", "stat"}


def test_what_was_missed_before_the_gap_is_found_by_the_overlap(upstreams: Upstreams) -> None:
    late = announced("2603.00009", MONDAY)
    (*_, last) = fetched(upstreams, MONDAY)
    upstreams.announce(late)
    batches = fetched(upstreams, FRIDAY, last.cursor)
    papers = {paper.source_id: paper for batch in batches for paper in batch.papers}
    assert papers["2603.00009"].listed_on == MONDAY
    days = {day.on: day for batch in batches for day in batch.days if not day.category}
    assert (days[MONDAY].got, days[MONDAY].expected) == (4, 4)


def test_every_page_is_asked_for_once(upstreams: Upstreams) -> None:
    upstreams.oai_page = 2
    (*_, last) = fetched(upstreams, MONDAY)
    fetched(upstreams, FRIDAY, last.cursor)
    asked = [tuple(each.query.items()) for each in upstreams.log if each.route == "oai"]
    # But for the first question, which tells what datestamps mean.
    assert len(asked) - len(set(asked)) <= 2


def test_a_fetch_cut_short_anywhere_leaves_no_day_untold(upstreams: Upstreams) -> None:
    (*_, last) = fetched(upstreams, MONDAY)
    whole = fetched(upstreams, FRIDAY, last.cursor)
    for n in range(1, len(whole)):
        batches = [*whole[:n], *fetched(upstreams, FRIDAY, whole[n - 1].cursor)]
        stand = {day.on: day.verdict for batch in batches for day in batch.days}
        assert {stand[on] for on in WEEK[1:]} == {Verdict.COMPLETE}


def test_a_list_that_was_not_whole_is_read_again_and_then_whole(upstreams: Upstreams) -> None:
    (*_, last) = fetched(upstreams, MONDAY)
    upstreams.oai_page = 2
    upstreams.fail("oai", Fault.MISCOUNTED, times=100)
    first = fetched(upstreams, FRIDAY, last.cursor)
    stand = {day.on: day for batch in first for day in batch.days if not day.category}
    assert stand[TUESDAY].note == "OAI-PMH gave 6 of 13 records"
    upstreams.recover()
    again = fetched(upstreams, FRIDAY, first[-1].cursor)
    stand |= {day.on: day for batch in again for day in batch.days if not day.category}
    assert {stand[on].verdict for on in WEEK[1:]} == {Verdict.COMPLETE}
    assert [paper for batch in again for paper in batch.papers] == []
