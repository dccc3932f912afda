"""Feeds of every kind as sources: what is new, which paper it is, when it came, what to refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import SourceContract, error_text
from tests.support.emulator import Fault
from tests.support.feed_world import (
    MONDAY,
    TUESDAY,
    WEDNESDAY,
    World,
    entry,
    papers_of,
    rss,
    stored_id,
)
from tests.support.fixtures import recorded
from triage import store
from triage.domain.paper_ids import upstream_url
from triage.domain.records import Verdict
from triage.domain.source_records import FetchedPaper, SourceDay
from triage.errors import SourceError
from triage.papers.ingest import IngestReport, ingest
from triage.sources.feed import source as feeds
from triage.sources.feed.entries import own_site_url
from triage.sources.feed.source import FeedSource, parse

pytestmark = pytest.mark.any_database(
    "its papers and days go the way that test_ingest shows on each"
)

JOURNAL, BLOG = "feed_journal_rss10.xml", "feed_blog_rss20.xml"
GROUP, LINKS = "feed_group_atom10.xml", "feed_links_json11.json"


class TestAFeedKeepsTheContract(SourceContract):
    @pytest.fixture(autouse=True)
    def _world(self, world: World) -> None:
        self.world = world

    def source(self) -> FeedSource:
        self.world.show(rss(*(entry(n) for n in range(450)), entry(450, description="")))
        return self.world.source()

    def empty_source(self) -> FeedSource:
        self.world.show(rss())
        return self.world.source()


# -- the four forms --------------------------------------------------------------------------------


def test_a_journals_rss_1_is_known_by_its_dois() -> None:
    url = "https://www.journal.example/current.rss"
    first, second, news = papers_of(recorded(JOURNAL), url)
    assert isinstance(first, FetchedPaper)
    assert isinstance(second, FetchedPaper)
    assert isinstance(news, FetchedPaper)
    assert (first.source, first.source_id) == ("doi", "10.1234/s41000-026-00001-1")
    assert first.title == "Folding of de novo proteins & their limits"
    assert first.authors == ("Ada Lovelace", "Zoë Müller")
    assert first.abstract.endswith("and still fold, and find that CO₂ matters.")
    assert first.listed_on == MONDAY
    assert (second.source_id, second.listed_on) == (
        "10.1234/s41000-026-00002-2",
        date(2026, 2, 27),
    )
    assert (news.source, news.source_id) == (
        "feed:x",
        "https://www.journal.example/news/d41000-026-00003-3",
    )


def test_a_blogs_rss_2_is_read_with_its_oddities() -> None:
    own, arxiv, doi, photo, essay = papers_of(recorded(BLOG), "https://lab.example/blog/feed/")
    assert isinstance(own, FetchedPaper)
    # A guid that leads to the page, if by http; the day is that of the writer's clock.
    assert (own.source, own.source_id) == ("feed:x", "https://lab.example/blog/?p=1204")
    assert own.listed_on == MONDAY
    assert own.authors == ("Ada Lovelace", "Charles Babbage")
    assert own.categories == ("decoding", "language models")
    # The summary is a stump, so the content speaks: no script, no style, no comment, no image.
    assert own.abstract.startswith("Drafts of length k < 8 are best. We measured this on three mod")
    assert not re.search(r"track|color|more -->|<img", own.abstract)
    assert "<script>" in own.raw_abstract
    assert isinstance(arxiv, FetchedPaper)
    assert (arxiv.source, arxiv.source_id, arxiv.version) == ("arxiv", "2603.00002", None)
    assert arxiv.authors == ("Ada Lovelace",)
    assert isinstance(doi, FetchedPaper)
    assert (doi.source, doi.source_id) == ("doi", "10.1000/182")
    assert doi.authors == ()
    assert doi.listed_on == MONDAY  # not 1970
    assert isinstance(photo, FetchedPaper)
    assert photo.abstract == 'The group on its way to "the lake".'
    assert photo.listed_on == MONDAY  # not 2099
    assert isinstance(essay, FetchedPaper)
    assert essay.source_id == "guid:https://elsewhere.example/essay"
    links = [upstream_url(p.source, p.source_id, p.title) for p in (own, photo, essay)]
    assert links[:2] == [own.source_id, "https://lab.example/blog/2026/02/photo/"]
    assert "elsewhere" not in links[2]


def test_atom_tells_html_from_text_and_its_own_link_from_related_ones() -> None:
    first, second = papers_of(recorded(GROUP), "https://group.example/atom.xml")
    assert isinstance(first, FetchedPaper)
    assert isinstance(second, FetchedPaper)
    assert (first.source, first.source_id) == ("feed:x", "guid:tag:group.example,2026:posts/1")
    assert first.title == "Bounds on everything"
    assert first.abstract == "We bound everything that has a bound, if a < b."
    assert first.authors == ("Emmy Noether", "Sofja Kowalewskaja")
    assert first.listed_on == date(2026, 3, 1)
    assert second.title == "Nothing but a title's text <T>"
    assert second.abstract == "Plain text with a <b> that is mathematics."
    assert second.listed_on == date(2026, 2, 20)


def test_json_feeds_are_read_with_numbers_for_ids_and_pages_elsewhere() -> None:
    first, second, third = papers_of(recorded(LINKS), "https://links.example/feed.json")
    assert isinstance(first, FetchedPaper)
    assert isinstance(second, FetchedPaper)
    assert (first.source, first.source_id) == ("arxiv", "2603.00004")
    assert first.abstract == "They ask before they act."
    assert first.authors == ("Grace Hopper",)
    assert first.categories == ("agents", "cs.AI")
    assert (second.source, second.source_id) == ("feed:x", "guid:42")
    assert second.abstract.endswith("in plain text with <b> in it.")
    assert second.authors == ("Alan Turing",)
    assert second.listed_on == MONDAY
    assert third == "it has no title"


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (b'<rss version="0.91"><channel>%s</channel></rss>', "Old"),
        (b'<?xml version="1.0" encoding="iso-8859-1"?><rss><channel>%s</channel></rss>', "Old"),
        (b'\xef\xbb\xbf \n<rss version="2.0"><channel>%s</channel></rss>', "Old"),
    ],
)
def test_older_and_odder_rss_is_read_too(body: bytes, title: str) -> None:
    item = b"<item><title>Old</title><link>/1</link><description>A text.</description></item>"
    (paper,) = papers_of(
        body.replace(b"\xef\xbb\xbf \n", b"\xef\xbb\xbf") % item, "https://a.example/f"
    )
    assert isinstance(paper, FetchedPaper)
    assert (paper.title, paper.source_id) == (title, "https://a.example/1")


@pytest.mark.parametrize(
    ("published", "day"),
    [
        ("Mon, 02 Mar 2026 23:59:59 -0800", date(2026, 3, 2)),
        ("2026-03-02T23:59:59-08:00", date(2026, 3, 2)),
        ("2026-03-02", date(2026, 3, 2)),
        ("20260302", date(2026, 3, 2)),
        ("20260302T235959-0800", date(2026, 3, 2)),
        ("2026-03-02x", TUESDAY),
        ("Mon, 23 Feb 2026 08:00:00 GMT", date(2026, 2, 23)),
        ("Wed, 04 Mar 2026 00:00:00 GMT", TUESDAY),  # the future
        ("Thu, 01 Jan 1970 00:00:00 GMT", TUESDAY),
        ("0001-01-01T00:00:00Z", TUESDAY),
        ("yesterday", TUESDAY),
        ("2026-13-45", TUESDAY),
        ("99999999999999999999", TUESDAY),
        ("", TUESDAY),
    ],
)
def test_an_entry_is_listed_when_it_says_unless_that_cannot_be(published: str, day: date) -> None:
    (paper,) = papers_of(rss(entry(1, pubDate=published)), "https://lab.example/feed", TUESDAY)
    assert isinstance(paper, FetchedPaper)
    assert paper.listed_on == day


# -- which paper -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guid", "source", "source_id"),
    [
        ("https://arxiv.org/abs/2603.00002v3", "arxiv", "2603.00002"),
        ("10.1371/journal.pone.0300001", "doi", "10.1371/journal.pone.0300001"),
        ("http://dx.doi.org/10.1021/acs.1c001", "doi", "10.1021/acs.1c001"),
        ("https://pubs.example/doi/abs/10.1021/acs.1c001?af=R", "doi", "10.1021/acs.1c001"),
        ("https://feeds.lab.example/7", "feed:x", "https://feeds.lab.example/7"),
        ("https://lab.example/ä b", "feed:x", "https://lab.example/%C3%A4%20b"),
        ("https://evil-lab.example/7", "feed:x", "guid:https://evil-lab.example/7"),
        ("https://lab.example@evil.example/", "feed:x", "guid:https://lab.example@evil.example/"),
        ("https://lab.example:8443/7", "feed:x", "guid:https://lab.example:8443/7"),
        ("javascript:alert(1)", "feed:x", "guid:javascript:alert(1)"),
        ("urn:uuid:1", "feed:x", "guid:urn:uuid:1"),
    ],
)
def test_an_entry_is_the_paper_that_it_names(guid: str, source: str, source_id: str) -> None:
    (paper,) = papers_of(rss(entry(1, guid=guid)), "https://www.lab.example/feed")
    assert isinstance(paper, FetchedPaper)
    assert (paper.source, paper.source_id) == (source, source_id)


def test_ids_of_any_length_fit(world: World) -> None:
    long = [entry(n, guid=f"urn:{'x' * 3_000}{n}") for n in range(3)]
    world.show(rss(*long, entry(4, guid="https://lab.example/" + "ä" * 3_000)))
    assert world.fetch().stored == 4
    assert all(len(id or "") <= 200 for id in world.papers())


def test_an_entry_joins_the_work_that_another_source_knows(world: World) -> None:
    world.show(rss(entry(1, guid="https://arxiv.org/abs/2603.00002")))
    world.fetch()
    paper = FetchedPaper(
        "arxiv", "2603.00002", "Sorting", "All of it.", "Sorting", "All of it.", version=1,
        listed_on=MONDAY,
    )  # fmt: skip
    feed_says = world.papers()["2603.00002"]
    assert feed_says.version is None

    class One:
        name = "arxiv"

        def fetch(self, cursor: str | None) -> Iterator[Any]:
            from triage.domain.source_records import Batch

            yield Batch((paper,))

    (report,) = ingest(world.database, One(), world.clock, resume=True)
    assert (report.stored, report.known) == (0, 1)
    # Whose paper it is has the last word about its text.
    assert world.papers()["2603.00002"].title == "Sorting"


ADDRESS = st.from_regex(r"https?://(www\.|a\.)?lab\.example(:\d+)?/[ -~äöü]{0,30}", fullmatch=True)


@given(ADDRESS | st.text(max_size=60), st.text(max_size=60) | ADDRESS)
def test_only_pages_of_the_feeds_own_site_become_links(address: str, title: str) -> None:
    page = own_site_url(address, "https://www.lab.example/feed")
    if page is not None:
        assert page.startswith(("https://lab.example/", "https://www.lab.example/"))
        assert upstream_url("feed:x", page, title) == page


# -- news ------------------------------------------------------------------------------------------


def test_what_was_not_there_last_time_is_new_whatever_its_date(world: World) -> None:
    world.show(rss(entry(2), entry(1)))
    assert world.fetch().stored == 2
    late = entry(3, pubDate="Mon, 02 Feb 2026 08:00:00 GMT")
    world.show(rss(late, entry(2), entry(1)))
    assert world.fetch(TUESDAY).stored == 1
    assert world.days()[TUESDAY] == SourceDay("feed:lab", TUESDAY, Verdict.COMPLETE, 1, 1)
    # A newer date on what is known makes nothing new.
    world.show(rss(late, *(entry(n, pubDate="Wed, 04 Mar 2026 08:00:00 GMT") for n in (2, 1))))
    assert world.fetch(WEDNESDAY) == IngestReport()
    assert world.days()[WEDNESDAY] == SourceDay("feed:lab", WEDNESDAY, Verdict.COMPLETE, 0, 0)


@pytest.mark.parametrize("conditional", [True, False])
def test_fetched_again_nothing_changes(world: World, conditional: bool) -> None:
    world.upstreams.conditional = conditional
    world.show(rss(*(entry(n) for n in range(9)), entry(9, title="")))
    world.fetch()
    before = world.papers(), world.days()
    assert before[1][MONDAY] == SourceDay(
        "feed:lab", MONDAY, Verdict.COMPLETE, 10, 9, "1 kept aside: could not be used"
    )
    assert world.fetch() == IngestReport()
    assert (world.papers(), world.days()) == before
    if conditional:
        assert world.upstreams.log[-1].status == 304


def test_an_undated_entry_stays_on_the_day_that_it_was_first_seen(world: World) -> None:
    world.show(rss(entry(1, pubDate="")))
    world.fetch(MONDAY)
    world.show(rss(entry(2, pubDate=""), entry(1, pubDate="", title="Another title")))
    world.fetch(TUESDAY)
    listed = {id: paper.listed_on for id, paper in world.papers().items()}
    assert listed == {stored_id(1): MONDAY, stored_id(2): TUESDAY}


def test_an_edit_changes_the_paper_and_is_no_news(world: World) -> None:
    world.show(rss(entry(2), entry(1)))
    world.fetch()
    for n, title in enumerate(["Mended", "Mended again"], 1):
        world.show(rss(entry(2), entry(1, title=title)))
        report = world.fetch(MONDAY + timedelta(days=n))
        assert (report.stored, report.known) == (0, 1)
        assert world.papers()[stored_id(1)].title == title
    assert len(world.papers()) == 2


def test_an_edit_of_what_nobody_stored_is_nothing(world: World) -> None:
    world.show(rss(entry(2), entry(1)))
    (read,) = world.source().fetch(None)
    world.show(rss(entry(2), entry(1, title="Mended")))
    (changed,) = world.source().fetch(read.cursor)
    assert [paper.update_only for paper in (*read.papers, *changed.papers)] == [False, False, True]


@pytest.mark.parametrize("on", [MONDAY, TUESDAY])
def test_an_entry_that_gets_its_text_later_is_stored_then(world: World, on: date) -> None:
    others = [entry(n) for n in range(2, 9)]
    world.show(rss(entry(1, description=""), *others))
    assert world.fetch().stored == 7
    note = "1 kept aside: no abstract"
    assert world.days()[MONDAY] == SourceDay("feed:lab", MONDAY, Verdict.COMPLETE, 7, 7, note)
    world.show(rss(entry(1), *others))
    assert world.fetch(on).stored == 1
    got = 8 if on == MONDAY else 1
    assert world.days()[on] == SourceDay("feed:lab", on, Verdict.COMPLETE, got, got)


def test_the_same_entry_twice_is_one_paper(world: World) -> None:
    world.show(rss(entry(1), entry(1, title="A second time"), entry(2)))
    assert world.fetch().stored == 2
    assert world.papers()[stored_id(1)].title == "Note number 1"


def test_another_address_under_the_same_name_is_read_from_its_beginning(world: World) -> None:
    world.show(rss(entry(1)))
    world.fetch()
    world.url += "2"
    world.show(rss(entry(1), entry(2)))
    report = world.fetch()
    assert (report.stored, report.known) == (1, 1)
    assert "If-None-Match" not in world.upstreams.log[-1].headers


# -- trouble ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Fault.TOO_MANY, Fault.BROKEN, Fault.HTML, Fault.TRUNCATED, Fault.DROPPED, Fault.NOT_FOUND],
)
def test_a_feed_that_cannot_be_read_is_a_failed_day_until_it_can(
    world: World, fault: Fault
) -> None:
    world.show(rss(entry(1)))
    world.upstreams.fail("rss", fault, times=4)
    with pytest.raises(SourceError) as caught:
        world.fetch()
    assert world.days()[MONDAY] == SourceDay(
        "feed:lab", MONDAY, Verdict.FAILED, None, 0, error_text(caught.value)
    )
    world.upstreams.recover()
    assert world.fetch().stored == 1
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE
    # What was read on a day stays read.
    world.show(rss(entry(2), entry(1)))
    world.upstreams.fail("rss", fault, times=4)
    with pytest.raises(SourceError):
        world.fetch()
    assert world.days()[MONDAY].verdict is Verdict.COMPLETE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"<html><body>Feed moved</body></html>",
        b"<!DOCTYPE html><title>Log in</title>",
        b"<opml version='2.0'><body/></opml>",
        b'<rss version="2.0"><channel><item>',
        b'<!DOCTYPE rss [<!ELEMENT rss ANY>]><rss version="2.0"><channel/></rss>',
        b"{",
        b"{}",
        b'{"items": []}',
        b'{"version": "https://jsonfeed.org/version/2", "items": []}',
        b'{"version": "https://jsonfeed.org/version/1", "items": 3}',
        b"[]",
        b"\x00\xff",
    ],
)
def test_what_is_no_feed_is_an_error_for_people(body: bytes) -> None:
    with pytest.raises(SourceError) as caught:
        parse(body, "https://lab.example/feed")
    error_text(caught.value)


def test_a_feed_that_loses_all_its_entries_is_suspect_and_forgets_nothing(world: World) -> None:
    world.show(rss())
    world.fetch()
    assert world.days()[MONDAY] == SourceDay("feed:lab", MONDAY, Verdict.COMPLETE, 0, 0)
    world.show(rss(entry(1)))
    world.fetch(TUESDAY)
    world.show(rss())
    world.fetch(WEDNESDAY)
    assert world.days()[WEDNESDAY].verdict is Verdict.EMPTY_SUSPECT
    world.show(rss(entry(2), entry(1)))
    report = world.fetch(WEDNESDAY)
    assert (report.stored, report.known) == (1, 0)
    assert world.days()[WEDNESDAY].verdict is Verdict.COMPLETE


def test_a_fifth_of_unusable_entries_is_too_much(world: World) -> None:
    bad = [entry(n, title="") for n in range(3)]
    world.show(rss(*(entry(n) for n in range(3, 13)), *bad))
    with pytest.raises(SourceError) as caught:
        world.fetch()
    assert "3 of the 13 entries" in error_text(caught.value)
    assert world.days()[MONDAY].verdict is Verdict.FAILED
    assert len(world.papers()) == 10
    with world.database.read() as conn:
        assert len(store.sources.quarantined(conn, "feed:lab")) == 3
        cursor = store.sources.cursor(conn, "feed:lab")
    assert len(next(world.source().fetch(cursor)).rejected) == 3
    # It is read in full each time, until it is well again.
    with pytest.raises(SourceError):
        world.fetch()
    assert "If-None-Match" not in world.upstreams.log[-1].headers
    world.show(rss(*(entry(n) for n in range(13))))
    assert world.fetch().stored == 3
    assert world.days()[MONDAY] == SourceDay("feed:lab", MONDAY, Verdict.COMPLETE, 13, 13)


def test_entries_that_nothing_tells_apart_count_one_by_one(world: World) -> None:
    world.show(rss(*(entry(n) for n in range(5)), *([{"description": "Text."}] * 9)))
    with pytest.raises(SourceError, match="9 of the 14"):
        world.fetch()


@pytest.mark.parametrize("kind", ["xml", "json"])
def test_of_more_entries_than_are_read_the_newest_are_kept(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(feeds, "MOST_ENTRIES", 20)
    days = [date(2026, 2, 1) + timedelta(days=(7 * n) % 23) for n in range(23)]

    def body(n: int, *, dated: bool = True) -> bytes:
        dates = [day.isoformat() if dated else "" for day in days[:n]]
        if kind == "xml":
            return rss(*(entry(i, pubDate=day) for i, day in enumerate(dates)))
        items = [
            {"id": str(i), "title": f"Note number {i}", "content_text": "x", "date_published": day}
            for i, day in enumerate(dates)
        ]
        return json.dumps({"version": "https://jsonfeed.org/version/1.1", "items": items}).encode()

    def titles(body: bytes) -> tuple[list[str], int]:
        entries, n_total = parse(body, "https://lab.example/feed")
        return [each.title.value for each in entries], n_total

    assert titles(body(20)) == ([f"Note number {n}" for n in range(20)], 20)
    newest = [n for n in range(23) if days[n] >= date(2026, 2, 4)]
    assert titles(body(23)) == ([f"Note number {n}" for n in newest], 23)
    # Without dates, the first are the newest.
    assert titles(body(23, dated=False)) == ([f"Note number {n}" for n in range(20)], 23)


def test_a_feed_is_never_taken_for_an_address_or_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_bytes(rss(entry(1)))
    for body in (str(secret).encode(), secret.as_uri().encode()):
        with pytest.raises(SourceError):
            parse(body, "https://lab.example/feed")


# -- odd answers -----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(
    JSON,
    st.sampled_from(
        "id url external_url title content_html content_text summary date_published authors author"
        " tags".split()
    ),
)
def test_any_value_in_any_field_is_a_paper_or_a_rejected_record(value: Any, key: str) -> None:
    feed = json.loads(recorded(LINKS))
    feed["items"][0][key] = value
    feed["items"].append(value)
    papers = papers_of(json.dumps(feed).encode(), "https://links.example/feed.json")
    assert len(papers) == 4
    for paper in papers:
        assert isinstance(paper, str) or date(1999, 3, 1) <= (paper.listed_on or date.min) <= MONDAY


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@given(st.dictionaries(st.sampled_from(["guid", "title", "description", "pubDate", "link"]), TEXT))
def test_any_text_in_any_element_is_a_paper_or_a_rejected_record(fields: dict[str, str]) -> None:
    (paper,) = papers_of(rss(entry(1) | fields), "https://lab.example/feed")
    if isinstance(paper, FetchedPaper):
        assert paper.title == " ".join(paper.title.split())
        assert date(1999, 3, 1) <= (paper.listed_on or date.min) <= MONDAY
        link = upstream_url(paper.source, paper.source_id, paper.title)
        assert re.match(r"https://(lab\.example|arxiv\.org|doi\.org)/", link)


@pytest.mark.parametrize("ahead", [2, 40, 400])
def test_what_a_clock_ahead_has_read_is_of_the_day_on_which_it_is_seen_again(
    world: World, ahead: int
) -> None:
    """Else the papers would be kept for digests of a year later."""
    world.show(rss(entry(1, pubDate="")))
    world.fetch(MONDAY)
    world.show(rss(entry(1, pubDate=""), entry(2, pubDate="")))
    world.fetch(TUESDAY + timedelta(days=ahead))
    world.fetch(TUESDAY)
    papers = world.papers()
    assert papers.keys() == {stored_id(1), stored_id(2)}
    assert papers[stored_id(1)].listed_on == MONDAY
    assert papers[stored_id(2)].listed_on == TUESDAY
    assert world.days()[TUESDAY].verdict is Verdict.COMPLETE
    assert world.fetch(TUESDAY).read == 0
