"""The page of an author: exactly their papers, and a button to follow them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.factories import DAY
from tests.support.web_world import ADDRESS, World, add_papers, new_world, paper_row
from triage.subscribers import subscriptions
from triage.subscribers.preferences import MOST_NAMES

ADA = "/authors?name=Ada+Lovelace"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def followed(world: World) -> tuple[str, ...]:
    return subscriptions.find(world.db, ADDRESS).followed_authors


def test_an_author_has_a_page_with_exactly_their_papers_newest_first(world: World) -> None:
    rows = [
        paper_row(7, title="By her", listed_on=DAY + timedelta(days=1)),
        paper_row(8, title="By another Lovelace", authors=["Byron Ada Lovelace"]),
        paper_row(9, title="Of another spelling", authors=["LOVELACE, Ada"]),
    ]
    add_papers(world.db, rows)
    page = world.client().get(ADA).text
    assert '<h1 dir="auto">Ada Lovelace</h1>' in page
    assert "5 papers" in page
    assert "By another Lovelace" not in page
    assert page.index("By her") < page.index("Of another spelling")
    assert 'href="/search?author=Lovelace"' in page
    assert (
        f'href="/login?next={ADA.replace("?", "%3F").replace("=", "%3D").replace("+", "%2B")}"'
        in page
    )


@pytest.mark.parametrize(
    "query", ["", "?name=", "?name=Nobody+Here", "?name=%00", "?name=Lovelace", "?name=a%27--"]
)
def test_what_is_no_author_has_no_page(world: World, query: str) -> None:
    answer = world.client().get(f"/authors{query}")
    assert answer.status_code == 404
    assert "Nobody Here" not in answer.text


def test_a_long_list_has_pages(world: World) -> None:
    add_papers(world.db, [paper_row(n, authors=["A. Turing"]) for n in range(10, 40)])
    first = world.client().get("/authors?name=A.+Turing").text
    assert "30 papers" in first
    assert first.count('<article class="card"') == 20
    assert 'href="/authors?name=A.+Turing&amp;page=2"' in first
    assert world.client().get("/authors?name=A.+Turing&page=2").text.count("<article") == 10
    assert world.client().get("/authors?name=A.+Turing&page=3").status_code == 404


def test_an_author_is_followed_and_unfollowed_with_one_press(world: World) -> None:
    ada = world.logged_in()
    before = world.everything()
    page = ada.get(ADA)
    assert world.everything() == before
    page = ada.submit(page, "follow")
    assert page.history[0].status_code == 303
    assert page.request.url.path == "/authors"
    assert "You follow Ada Lovelace now" in page.text
    assert followed(world) == ("Ada Lovelace",)
    assert "Unfollow" in ada.get(ADA).text
    page = ada.submit(ada.get(ADA), "unfollow")
    assert "You no longer follow Ada Lovelace" in page.text
    assert followed(world) == ()


def test_one_who_is_followed_under_another_spelling_is_followed(world: World) -> None:
    public_id = world.readers[0].public_id
    subscriptions.change(world.db, public_id, followed_authors=["Grace Hopper", "lovelace, ada"])
    page = world.logged_in().get(ADA)
    assert "Unfollow" in page.text
    ada = world.logged_in()
    ada.submit(ada.get(ADA), "unfollow")
    assert followed(world) == ("Grace Hopper",)


def test_who_has_no_paper_yet_can_be_unfollowed(world: World) -> None:
    subscriptions.change(world.db, world.readers[0].public_id, followed_authors=["Grace Hopper"])
    ada = world.logged_in()
    page = ada.get("/authors?name=Grace+Hopper")
    assert "No stored paper" in page.text
    page = ada.submit(page, "unfollow")
    assert "You no longer follow Grace Hopper" in page.text
    assert page.status_code == 200
    assert followed(world) == ()


def test_more_than_the_most_are_refused_with_what_to_do(world: World) -> None:
    names = [f"Author {n}" for n in range(MOST_NAMES)]
    subscriptions.change(world.db, world.readers[0].public_id, followed_authors=names)
    ada = world.logged_in()
    page = ada.submit(ada.get(ADA), "follow")
    assert f"You follow {MOST_NAMES} authors" in page.text
    assert followed(world) == tuple(names)


def test_nobody_follows_without_a_form_of_their_own(world: World) -> None:
    ada, before = world.logged_in(), world.everything()
    body = {"name": "Ada Lovelace", "do": "follow"}
    for visitor in (ada, world.visitor()):
        assert visitor.post("/authors", data=body).status_code in {303, 403}
    assert world.everything() == before


def test_what_databases_reject_is_not_asked_of_them(world: World) -> None:
    assert world.client().get("/authors?name=Ada%00Lovelace").status_code == 200


def test_a_name_is_shown_as_text(world: World) -> None:
    add_papers(world.db, [paper_row(9, authors=['<b>Ada</b> & "Co"'])])
    page = world.client().get("/authors?name=%3Cb%3EAda%3C/b%3E+%26+%22Co%22").text
    assert "<b>" not in page
