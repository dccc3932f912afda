"""Which entries are one paper, in one fetch and from fetch to fetch, and that none is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.feed_world import MONDAY, TUESDAY, WEDNESDAY, World, entry, rss
from tests.support.fixtures import recorded
from triage.domain.records import Verdict
from triage.domain.source_records import SourceDay
from triage.sources.feed.entries import FeedEntry, Text, hash_text
from triage.sources.feed.identity import distinct_entries, page
from triage.sources.feed.source import parse

pytestmark = pytest.mark.any_database(
    "its papers and days go the way that test_ingest shows on each"
)

URL = "https://lab.example/feed"


def linked(n: int, **fields: str) -> dict[str, str]:
    """Return an entry whose guid and link are both of its own."""
    return entry(n, guid=f"lab-{n}", link=f"https://lab.example/{n}") | fields


def titles(world: World) -> list[str]:
    return sorted(paper.title for paper in world.papers().values())


# -- in one fetch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["feed_one_guid.xml", "feed_one_link.xml"])
def test_one_guid_or_link_for_all_does_not_make_one_paper_of_three(world: World, name: str) -> None:
    world.show(recorded(name))
    on = date(2026, 11, 24)
    assert world.fetch(on).stored == 3
    assert titles(world) == [f"A study of sorting number {n}" for n in (1, 2, 3)]
    assert world.days()[on] == SourceDay("feed:lab", on, Verdict.COMPLETE, 3, 3)
    assert world.fetch(on + timedelta(days=1)).stored == 0


@pytest.mark.parametrize(
    "entries",
    [
        # The guid is that of the issue, and so is its DOI.
        [linked(n, guid="https://doi.org/10.5555/issue.7") for n in range(3)],
        # All texts are alike.
        [linked(n, guid="0", description="Read more.") for n in range(3)],
        [linked(n, guid=f"0{n // 2}", description="Read more.") for n in range(3)],
        # The titles are alike.
        [linked(n, guid="0", title="Editorial") for n in range(3)],
        [entry(n, guid="", link="https://lab.example/", title="Editorial") for n in range(3)],
        # Guids differ in the part that no request sends.
        [entry(n, guid=f"https://lab.example/#{n}") for n in range(3)],
        # One of those without a text has the title of another one.
        [
            linked(1, guid="0", link="0"),
            linked(2, guid="0", link="0"),
            linked(3, guid="", link="", title="Note number 2"),
        ],
        # There is no guid and no link.
        [entry(n, guid="") for n in range(3)],
        [linked(n, guid=f"http{'s' * n}://lab.example/1", link="") for n in range(2)] + [linked(3)],
    ],
)
def test_papers_that_differ_are_all_stored_and_counted(
    world: World, entries: Sequence[dict[str, str]]
) -> None:
    world.show(rss(*entries))
    assert world.fetch().stored == 3
    assert world.days()[MONDAY] == SourceDay("feed:lab", MONDAY, Verdict.COMPLETE, 3, 3)
    world.show(rss(linked(9), *entries))
    assert world.fetch(TUESDAY).stored == 1


@pytest.mark.parametrize("name", ["feed_one_guid.xml", "feed_one_link.xml"])
def test_a_paper_has_the_same_id_wherever_it_stands_in_the_feed(world: World, name: str) -> None:
    def ids(body: bytes) -> set[str | None]:
        world.show(body)
        (batch,) = world.source().fetch(None)
        return {paper.source_id for paper in batch.papers}

    body = recorded(name)
    before, *items = body.partition(b"</channel>")[0].split(b"<item>")
    turned = b"<item>".join([before, *reversed(items)]) + b"</channel></rss>"
    assert len(ids(body)) == 3
    assert ids(turned) == ids(body)


@pytest.mark.parametrize(
    "other",
    [
        linked(1),
        linked(1, guid="another"),
        linked(1, guid="another", link="http://www.lab.example/1/?utm_source=rss#top"),
        linked(1, title="A second title for it"),
        linked(1, link="https://lab.example/moved"),
        linked(1, description="A corrected text."),
    ],
)
def test_the_same_entry_twice_is_one_paper(world: World, other: dict[str, str]) -> None:
    world.show(rss(linked(1), other, linked(2)))
    assert world.fetch().stored == 2
    assert titles(world) == ["Note number 1", "Note number 2"]
    assert (world.days()[MONDAY].expected, world.days()[MONDAY].got) == (2, 2)


def test_an_id_that_several_papers_have_is_of_none_of_them(world: World) -> None:
    world.show(rss(*(linked(n, **{"prism:doi": "10.5555/volume"}) for n in range(3)), linked(4)))
    assert world.fetch().stored == 4
    assert {paper.source for paper in world.papers().values()} == {"feed:lab"}


SHORT = st.sampled_from(["", "a", "b", "https://lab.example/", "https://lab.example/1"])


@given(st.lists(st.builds(FeedEntry, SHORT, SHORT, st.builds(Text, SHORT), st.builds(Text, SHORT))))
def test_of_entries_that_differ_in_title_and_link_and_text_none_is_dropped(
    entries: list[FeedEntry],
) -> None:
    kept = distinct_entries(entries)
    for one in entries:
        assert any(
            (one.title == other.title)
            + (one.text == other.text)
            + (page(one.link) in {page(other.link), ""} or not other.link)
            >= 2
            for other in kept
        ), one
    guids = [each.guid for each in kept if each.guid and each.title.value]
    assert len(guids) == len(set(guids))


# -- from fetch to fetch ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "again",
    [
        {"guid": "a-new-one"},
        {"guid": ""},
        {"guid": "a-new-one", "description": "The text was edited, too."},
        {"guid": "a-new-one", "title": "The title was edited, too"},
        {"link": "http://lab.example/1"},
        {"guid": "x", "link": "http://lab.example/1", "title": "The title was edited, too"},
        {"guid": "x", "link": "https://www.lab.example/1/", "title": "The title was edited, too"},
        {"guid": "x", "link": "https://lab.example/1?utm_source=rss&utm_medium=feed#more",
         "title": "The title was edited, too"},
        {"guid": "x", "link": "https://lab.example/1;jsessionid=0AF?af=R", "description": "New."},
        {"guid": "a-new-one", "link": "https://lab.example/another/place"},
        {"title": "Both were edited", "description": "Title and text."},
        {"title": "", "description": "The title was lost."},
        {"description": ""},
    ],
)  # fmt: skip
def test_a_paper_whose_guid_or_link_changes_is_the_same_paper(
    world: World, again: dict[str, str]
) -> None:
    others = [linked(n) for n in range(2, 9)]
    world.show(rss(linked(1), *others))
    assert world.fetch().stored == 8
    world.show(rss(linked(1) | again, *others))
    assert world.fetch(TUESDAY).stored == 0
    assert len(world.papers()) == 8
    # Nor is it news when it changes back.
    world.show(rss(linked(1), *others))
    assert world.fetch(WEDNESDAY).stored == 0
    assert len(world.papers()) == 8


def test_an_edit_under_a_new_guid_changes_the_stored_paper(world: World) -> None:
    world.show(rss(linked(1)))
    world.fetch()
    (id,) = world.papers()
    for n, on in enumerate((TUESDAY, WEDNESDAY)):
        world.show(rss(linked(1, guid=f"new-{n}", title=f"Edited {n}")))
        report = world.fetch(on)
        assert (report.stored, report.known) == (0, 1)
        assert {key: paper.title for key, paper in world.papers().items()} == {id: f"Edited {n}"}


def test_new_guids_at_each_fetch_do_not_hide_what_is_new(world: World) -> None:
    for k, on in enumerate((MONDAY, TUESDAY, WEDNESDAY)):
        world.show(rss(*(linked(n, guid=f"{k}-{n}") for n in range(k, k + 5))))
        assert world.fetch(on).stored == (1 if k else 5)
    assert len(world.papers()) == 7


@pytest.mark.parametrize("link", ["https://lab.example/", ""])
def test_a_guid_that_goes_to_another_paper_does_not_hide_it(world: World, link: str) -> None:
    one = {"guid": "https://lab.example/", "link": link}
    world.show(rss(linked(1) | one, linked(2) | one))
    assert world.fetch(MONDAY).stored == 2
    world.show(rss(linked(3) | one, linked(1) | one))
    assert world.fetch(TUESDAY).stored == 1
    assert len(world.papers()) == 3


@pytest.mark.parametrize("fields", [{"guid": "", "link": "https://lab.example/"}, {"guid": "x"}])
def test_a_feed_that_shows_one_paper_at_a_time_under_one_address(
    world: World, fields: dict[str, str]
) -> None:
    for n, on in enumerate((MONDAY, TUESDAY, WEDNESDAY)):
        world.show(rss(linked(n) | fields))
        assert world.fetch(on).stored == 1
    assert len(world.papers()) == 3


def test_a_feed_that_alternates_is_no_news(world: World) -> None:
    for k in range(4):
        shown = (1, 2) if k % 2 else (2, 3)
        world.show(rss(*(linked(n, guid=f"{k}-{n}") for n in shown)))
        assert world.fetch(MONDAY + timedelta(days=k)).stored == (2, 1, 0, 0)[k]


def test_what_nobody_can_use_is_kept_aside_once(world: World) -> None:
    world.show(rss(*(linked(n) for n in range(9)), {"description": "Text alone."}))
    assert world.fetch().quarantined == 1
    assert world.fetch().quarantined == 0
    assert (world.days()[MONDAY].expected, world.days()[MONDAY].got) == (10, 9)


# -- the day ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("published", ["", "soon", "2026-03", "Wed, 01 Apr 2026 08:00:00 GMT"])
def test_an_entry_without_a_day_keeps_the_day_on_which_it_was_first_seen(
    world: World, published: str
) -> None:
    world.show(rss(linked(1, pubDate=published)))
    (batch,) = world.source(TUESDAY).fetch(None)
    edits = [
        {"title": "Edited once"},
        {"title": "Edited twice", "guid": "new"},
        {"title": "Edited twice", "description": "A new text.", "pubDate": "soon"},
    ]
    for n, edit in enumerate(edits, 1):
        world.show(rss(linked(1, pubDate=published) | edit))
        (batch,) = world.source(TUESDAY + timedelta(days=n)).fetch(batch.cursor)
        (paper,) = batch.papers
        assert (paper.title, paper.listed_on) == (edit["title"], TUESDAY)


# -- cursors of form 1 -----------------------------------------------------------------------------


def cursor_of_form_1(world: World, body: bytes, on: date) -> str:
    """Return the cursor that a program before form 2 would have stored."""
    seen = {}
    for each in parse(body, world.url)[0]:
        text = "\0".join((each.title.value, each.summary.value, each.content.value))
        seen.setdefault(hash_text(each.guid or each.link or each.title.value), [hash_text(text), 1])
    content = {"form": 1, "url": hash_text(world.url), "on": on.isoformat()}
    counts = {"etag": "", "modified": "", "is_read": True, "got": len(seen), "n_bad": 0}
    return json.dumps(content | counts | {"seen": seen})


def test_a_cursor_of_form_1_is_read_and_no_paper_comes_twice(world: World) -> None:
    old = rss(*(linked(n) for n in range(5)), entry(6), entry(7, guid="", link="https://l.example"))
    cursor = cursor_of_form_1(world, old, MONDAY)
    world.show(old)
    (batch,) = world.source(MONDAY).fetch(cursor)
    assert (batch.papers, batch.days[0].got) == ((), 7)
    world.show(rss(linked(0, title="Edited"), *(linked(n) for n in range(1, 5)), linked(9)))
    (batch,) = world.source(TUESDAY).fetch(cursor)
    assert [(paper.title, paper.update_only) for paper in batch.papers] == [
        ("Edited", True),
        ("Note number 9", False),
    ]
    # Now the guids may change.
    world.show(rss(*(linked(n, guid=f"new-{n}") for n in range(1, 5))))
    (batch,) = world.source(WEDNESDAY).fetch(batch.cursor)
    assert batch.papers == ()


def test_papers_that_form_1_lost_to_one_guid_come_now_and_the_others_not_again(
    world: World,
) -> None:
    body = recorded("feed_one_guid.xml")
    on = date(2026, 11, 24)
    cursor = cursor_of_form_1(world, body, on)
    world.show(body)
    (batch,) = world.source(on).fetch(cursor)
    assert [paper.title for paper in batch.papers] == [
        "A study of sorting number 2",
        "A study of sorting number 3",
    ]


def test_one_guid_in_a_cursor_of_form_1_does_not_hide_other_papers(world: World) -> None:
    one = {"guid": "https://lab.example/", "link": ""}
    cursor = cursor_of_form_1(world, rss(linked(1) | one), MONDAY)
    world.show(rss(linked(2) | one, linked(3) | one))
    (batch,) = world.source(TUESDAY).fetch(cursor)
    assert [paper.update_only for paper in batch.papers] == [False, False]


@pytest.mark.parametrize("cursor", ["", "{}", "[]", '{"form":2}', '{"form":3,"url":"x"}', "null"])
def test_an_unreadable_cursor_starts_from_the_beginning(world: World, cursor: str) -> None:
    world.show(rss(linked(1)))
    (batch,) = world.source().fetch(cursor)
    assert len(batch.papers) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://www.lab.example/a/", "https://lab.example/a"),
        ("https://lab.example:443/a?utm_source=x&id=3", "https://LAB.example/a?id=3"),
        ("https://lab.example/a?id=3&source=rss", "https://lab.example/a?id=3"),
        ("https://lab.example/a;jsessionid=12?rss=1", "https://lab.example/a"),
    ],
)
def test_addresses_of_one_page_are_the_same(one: str, other: str) -> None:
    assert page(one) == page(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://lab.example/a", "https://lab.example/b"),
        ("https://lab.example/?p=1", "https://lab.example/?p=2"),
        ("https://lab.example/a#1", "https://lab.example/a#2"),
        ("https://lab.example:8443/a", "https://lab.example/a"),
        ("urn:a/", "urn:a"),
    ],
)
def test_addresses_of_two_pages_are_not(one: str, other: str) -> None:
    assert page(one) != page(other)
