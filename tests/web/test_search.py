"""Search on the pages: by words and filters, in pages, and papers like those that are ticked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import DAY
from tests.support.web_world import World, add_papers, new_world, paper_row
from triage.web.search import MOST, PAGE, marked, snippet


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with three papers on drafts, and two of others on yarn."""
    world = new_world(tmp_path)
    yarn = {
        "abstract": "First of all, much is said of looms. " * 12 + "Then a yarn is knitted.",
        "authors": ["Joseph Marie Jacquard"],
        "categories": ["cs.RO"],
        "source": "biorxiv",
        "listed_on": DAY - timedelta(days=9),
        "upvotes": 7,
    }
    rows = [
        paper_row(n, title=title, title_key=title, **yarn)
        for n, title in ((8, "Knitted yarns"), (9, "Of yarn"))
    ]
    world.papers += add_papers(world.db, rows)
    return world


def found(page: httpx.Response) -> list[str]:
    assert page.status_code == 200
    html = BeautifulSoup(page.text, "html5lib")
    return [each.get_text().split(" ", 1)[0] for each in html.select(".card h3")]


def search(world: World, **asked: str | list[str]) -> httpx.Response:
    return world.client().get("/search", params=asked)


def test_words_find_papers_with_what_was_said_marked(world: World) -> None:
    page = search(world, q="yarn")
    assert sorted(found(page)) == ["Knitted", "Of"]
    assert "Of <mark>yarn</mark>" in page.text
    assert "<mark>yarns</mark>" in page.text
    assert "Then a <mark>yarn</mark> is knitted." in page.text
    assert "7 upvotes" in page.text
    assert f'href="/papers/{world.papers[4].id}"' in page.text


@pytest.mark.parametrize(
    ("narrow", "n"),
    [
        ({"since": str(DAY)}, 3),
        ({"until": str(DAY - timedelta(days=1))}, 2),
        ({"category": "cs"}, 5),
        ({"category": "cs.RO, cs.CL"}, 5),
        ({"category": "cs.RO"}, 2),
        ({"source": "biorxiv"}, 2),
        ({"author": "jacquard"}, 2),
        ({"author": "jacquard", "source": "arxiv"}, 0),
    ],
)
def test_filters_narrow_down_and_stand_without_words(
    world: World, narrow: dict[str, str], n: int
) -> None:
    page = search(world, **narrow)
    assert len(found(page)) == n
    html = BeautifulSoup(page.text, "html5lib")
    assert len(html.select(".chips a")) == len(narrow)
    for name, value in narrow.items():
        field = html.select_one(f"#{name}")
        assert field is not None
        chosen = field.select_one("option[selected]") or field
        assert chosen["value"] == value


def test_ticked_papers_find_papers_like_them(world: World) -> None:
    page = search(world, like=[str(world.papers[3].id)], source="biorxiv")
    assert found(page) == ["Of"]
    assert "Similar papers" in page.text
    many = search(world, like=[str(paper.id) for paper in world.papers])
    assert "You ticked 5 papers. Only the first 3 are used" in many.text
    assert search(world, like=["77", "x", "1"]).status_code == 200


def test_many_hits_come_in_pages_and_each_once(world: World) -> None:
    add_papers(world.db, [paper_row(n) for n in range(100, 100 + MOST)])
    pages = [search(world, q="decoding", page=str(n)) for n in range(1, MOST // PAGE + 1)]
    seen = [
        each["value"]
        for page in pages
        for each in BeautifulSoup(page.text, "html5lib").select("input[name=like]")
    ]
    assert len(seen) == len(set(seen)) == MOST
    assert "page=2" in pages[0].text
    for wrong in ("0", "6", "x", "9" * 40):
        assert search(world, q="decoding", page=wrong).status_code == 404


def test_nothing_found_says_what_may_help(world: World) -> None:
    page = search(world, q='"yarn drafts"', category="cs.CL", author="Ada")
    assert "Nothing found" in page.text
    links = [a["href"] for a in BeautifulSoup(page.text, "html5lib").select("main ul a")]
    assert "/search?q=%22yarn+drafts%22" in links
    assert "/search?q=%22yarn+drafts%22&author=Ada" in links
    assert "/search?q=yarn+drafts&category=cs.CL&author=Ada" in links


def test_a_search_for_nothing_explains_itself(world: World) -> None:
    page = search(world)
    assert found(page) == []
    assert "How to search" in page.text
    assert 'href="/search"' in world.client().get("/").text


def test_what_is_no_day_stands_beside_its_field(world: World) -> None:
    page = search(world, q="yarn", since="yesterday")
    assert page.status_code == 422
    assert 'id="since-wrong"' in page.text


def test_what_is_typed_is_text(world: World) -> None:
    hostile = '"><script>alert(1)</script>\0%_'
    page = search(world, q=hostile, author=hostile, source=hostile, category=hostile)
    assert page.status_code == 200
    assert "<script>" not in page.text


def test_looking_writes_nothing(world: World) -> None:
    before = world.everything()
    search(world, q="yarn", like=["1"])
    search(world, like=["1", "2"], author="Ada")
    assert world.everything() == before


@given(st.text(max_size=900), st.frozensets(st.sampled_from(["a", "x", "yarn", "0"])))
def test_snippets_are_parts_of_their_text(text: str, stems: frozenset[str]) -> None:
    assert "".join(piece for piece, _ in marked(text, stems)) == text
    cut = "".join(piece for piece, _ in snippet(text, stems, 280))
    assert cut.removeprefix("… ").removesuffix(" …") in text
    assert len(cut) <= 284
