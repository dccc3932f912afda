"""Papers that visitors name and that are not stored: what the pages promise, and what follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from bs4 import BeautifulSoup

from tests.subscribers.test_named_papers import Archive
from tests.support.factories import DAY
from tests.support.installation import fetched, rows, take_in
from tests.support.web_world import Visitor, World, new_world
from tests.web.account.test_library_upload import bring
from tests.web.account.test_signup import NEW, form_after_a_moment
from triage.digest.preview import Preview
from triage.domain.source_records import FetchedPaper
from triage.subscribers.named_papers import fetch_waiting
from triage.web import create_app


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


@pytest.fixture
def ada(world: World) -> Visitor:
    return world.logged_in()


def archive(*numbers: int) -> Archive:
    return Archive(papers={f"2509.{n:05d}": paper(n) for n in numbers})


def paper(n: int) -> FetchedPaper:
    return fetched(n, source_id=f"2509.{n:05d}", title=f"A named paper {n}", named=True)


def ask(world: World, arxiv: Archive) -> None:
    """Do what the scheduler does, a day later."""
    world.clock.at += timedelta(hours=25)
    fetch_waiting(world.db, [arxiv], world.clock)


def words(page: httpx.Response) -> str:
    main = BeautifulSoup(page.text, "html.parser").main
    assert main is not None
    return " ".join(main.get_text(" ").split())


def paste(ada: Visitor, text: str) -> str:
    return words(ada.submit(ada.get("/import"), "Import", text=text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "2509.00001",
            "Of 1 entry, 1 was recognised. 1 is a paper that this site does not have yet. It asks"
            " the archives for it within minutes, and your next digest says what was found.",
        ),
        (
            "2509.00001 2509.00002 2603.00001",
            "Of 3 entries, 3 were recognised. 2 are papers that this site does not have yet. It"
            " asks the archives for them within minutes, and your next digest says what was found.",
        ),
        ("2603.00001", "Of 1 entry, 1 was recognised."),
    ],
)
def test_an_import_says_what_will_follow(ada: Visitor, text: str, told: str) -> None:
    said = paste(ada, text)
    assert told in said
    assert ("does not have" in said) == ("2509" in text)


def test_what_nobody_can_be_asked_for_is_not_promised(world: World) -> None:
    told = {}
    for n, schemes in enumerate((("arxiv",), ())):
        app = create_app(
            world.db, world.keyring, world.clock, world.site, world.enrolment,
            named_schemes=schemes,
        )  # fmt: skip
        known = world.site, world.keyring
        world._clients[known] = replace(world.client(), app=app)
        told[n] = paste(world.logged_in(), "2509.00001 10.5555/1 10.5555/2")
    assert "1 is a paper that this site does not have yet. It asks" in told[0]
    assert (
        "2 are papers that this site does not have and cannot ask for. They become likes if they"
        " arrive in another way."
    ) in told[0]
    assert "within minutes" not in told[1]
    assert "3 are papers that this site does not have and cannot ask for." in told[1]


@pytest.mark.parametrize(
    ("named", "has", "told"),
    [
        ((1,), (1,), "1 was found since and is a like."),
        ((1, 2), (1, 2), "2 were found since and are likes."),
        ((1,), (), "1 was not found."),
        ((1, 2, 3), (1,), "1 was found since and is a like. 2 were not found."),
    ],
)
def test_the_page_says_what_was_found(
    world: World, ada: Visitor, named: tuple[int, ...], has: tuple[int, ...], told: str
) -> None:
    paste(ada, " ".join(f"2509.{n:05d}" for n in named))
    ask(world, archive(*has))
    page = words(ada.get("/import"))
    assert f"that this site did not have {told}" in page
    likes = ada.get("/likes").text
    assert all(f"A named paper {n}" in likes for n in has)


def test_the_page_says_what_still_waits(world: World, ada: Visitor) -> None:
    assert "did not have" not in words(ada.get("/import"))
    paste(ada, "2509.00001")
    assert "did not have 1 still waits for an answer of the archives." in words(ada.get("/import"))
    paste(ada, "2509.00002")
    assert "2 still wait for an answer of the archives." in words(ada.get("/import"))


def test_a_title_that_was_not_found_is_listed_as_text(world: World, ada: Visitor) -> None:
    entry = b"@misc{a, eprint={2509.00001}, title={Of <script>alert(1)</script> mice}}"
    bring(ada, entry)
    ask(world, archive())
    page = ada.get("/import")
    assert "1 was not found." in words(page)
    assert "<script>alert" not in page.text


def test_a_named_paper_of_today_is_not_on_the_page_of_today(world: World, ada: Visitor) -> None:
    take_in(world.db, [fetched(7, title="A hidden paper", listed_on=DAY, named=True)])
    for path in ("/", f"/days/{DAY}"):
        page = ada.get(path)
        assert page.status_code == 200
        assert world.papers[0].title in page.text
        assert "A hidden paper" not in page.text
    assert "A hidden paper" in ada.get("/search?q=hidden").text


# -- subscribing -----------------------------------------------------------------------------------


def test_nothing_is_asked_before_the_address_is_confirmed(world: World) -> None:
    visitor, arxiv = world.visitor(), archive(1)
    visitor.submit(
        form_after_a_moment(world, visitor), "subscribe", email=NEW, interests="yarn",
        likes="2509.00001 2509.00002 2603.00001",
    )  # fmt: skip
    [note] = world.answers()
    fetch_waiting(world.db, [arxiv], world.clock)
    assert arxiv.asked == rows(world.db, "named_papers") == []
    visitor.submit(visitor.get(note.path))
    fetch_waiting(world.db, [arxiv], world.clock)
    assert arxiv.asked == [["2509.00001", "2509.00002"]]
    events = rows(world.db, "events")
    assert [row["evidence"] for row in events] == [{"method": "like given at the start"}] * 2


@pytest.mark.parametrize(
    ("likes", "told", "not_told"),
    [
        (
            "2509.00001",
            "1 of these is a paper that we do not have yet. We fetch it when you have confirmed.",
            "not a paper",
        ),
        (
            "2509.00001 10.5555/1 2603.00001",
            "2 of these are papers that we do not have yet. We fetch them when you have confirmed.",
            "not papers",
        ),
        ("2603.00001", "", "of these"),
        ("my cat\nmy dog", "2 of these are not papers that we have.", "We fetch"),
    ],
)
def test_the_preview_counts_what_is_fetched_later(
    world: World, likes: str, told: str, not_told: str
) -> None:
    world.shown = Preview((), 5, (DAY,))
    visitor = world.visitor()
    page = words(
        visitor.submit(
            form_after_a_moment(world, visitor), "preview", interests="yarn", likes=likes
        )
    )
    assert told in page
    assert not_told not in page
    assert rows(world.db, "named_papers") == []


def test_the_answer_to_a_subscription_is_the_same_whatever_was_named(world: World) -> None:
    pages = set()
    for n, likes in enumerate(("", "2509.00001", "nonsense")):
        visitor = world.visitor()
        page = form_after_a_moment(world, visitor)
        sent = visitor.submit(page, "subscribe", email=f"n{n}@example.org", likes=likes)
        pages.add(words(sent))
    assert len(pages) == 1
