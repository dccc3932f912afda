"""The papers by day: what anybody may see without saying who they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from bs4 import BeautifulSoup

from tests.support.factories import DAY
from tests.support.web_world import World, add_papers, new_world, paper_row
from triage import store
from triage.digest.day_ranking import PaperReason
from triage.domain.records import EventKind
from triage.store.tables import papers

YESTERDAY = DAY - timedelta(days=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world whose newest day has papers 1 to 3, and the day before it paper 9."""
    world = new_world(tmp_path)
    add_papers(world.db, [paper_row(9, listed_on=YESTERDAY, upvotes=40)])
    return world


def titles(world: World, path: str) -> list[str]:
    page = world.client().get(path)
    assert page.status_code == 200
    return [
        each.get_text(" ", strip=True)
        for each in BeautifulSoup(page.text, "html5lib").select(".card h2, .card h3")
    ]


def test_the_first_page_lists_the_newest_day(world: World) -> None:
    assert len(titles(world, "/")) == 3
    assert "9 drafts" not in " ".join(titles(world, "/"))


def test_a_day_leads_to_the_days_with_papers_around_it(world: World) -> None:
    add_papers(world.db, [paper_row(8, listed_on=DAY - timedelta(days=5))])
    page = BeautifulSoup(world.client().get(f"/days/{YESTERDAY}").text, "html5lib")
    before, after = page.select_one("a[rel=prev]"), page.select_one("a[rel=next]")
    assert before is not None
    assert before["href"] == f"/days/{DAY - timedelta(days=5)}"
    assert after is not None
    assert after["href"] == f"/days/{DAY}"


def test_most_upvotes_come_first_and_the_weeks_favourites_stand_above(world: World) -> None:
    add_papers(world.db, [paper_row(n, upvotes=n) for n in (14, 15)])
    assert [title.split()[3] for title in titles(world, "/")][:2] == ["15", "14"]
    page = BeautifulSoup(world.client().get("/").text, "html5lib")
    favourites = [item.get_text(" ", strip=True) for item in page.select(".trending li")]
    assert favourites[0] == "Speculative decoding with 9 drafts 40 upvotes"


def test_what_was_stored_in_the_last_day_is_marked_as_new(world: World) -> None:
    assert all(title.endswith("new") for title in titles(world, "/"))
    world.clock.sleep(2 * 86_400)
    assert not any(title.endswith("new") for title in titles(world, "/"))


def test_a_long_day_comes_in_pages_and_each_paper_once(world: World) -> None:
    day = DAY + timedelta(days=1)
    add_papers(world.db, [paper_row(n, listed_on=day) for n in range(100, 220)])
    pages = [titles(world, f"/days/{day}?page={n}") for n in (1, 2, 3)]
    assert [len(page) for page in pages] == [50, 50, 20]
    assert len({title for page in pages for title in page}) == 120
    assert titles(world, "/") == pages[0]


@pytest.mark.parametrize("path", ["/days/today", "/days/2026-3-2", "/days/2026-02-30", "/days/"])
def test_what_is_no_day_is_no_page(world: World, path: str) -> None:
    assert world.client().get(path).status_code == 404


@pytest.mark.parametrize("page", ["0", "2", "-1", "x", "9" * 5000, "١"])
def test_what_is_no_page_of_a_day_is_no_page(world: World, page: str) -> None:
    assert world.client().get(f"/days/{DAY}", params={"page": page}).status_code == 404


def test_a_day_without_papers_says_so(world: World) -> None:
    page = world.client().get(f"/days/{DAY + timedelta(days=9)}")
    assert page.status_code == 200
    assert "No papers were listed" in page.text


def test_an_empty_database_has_a_first_page(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    with world.db.write() as conn:
        conn.execute(papers.delete())
    page = world.client().get("/")
    assert page.status_code == 200
    assert "every morning" in page.text


@pytest.mark.parametrize("column", ["withdrawn_at", "merged_into"])
def test_withdrawn_and_merged_papers_are_not_listed(world: World, column: str) -> None:
    value = world.clock.now() if column == "withdrawn_at" else world.papers[1].id
    with world.db.write() as conn:
        changed = papers.update().where(papers.c.id == world.papers[0].id)
        conn.execute(changed.values({column: value}))
    assert len(titles(world, "/")) == 2


def test_titles_cannot_bring_markup_or_addresses_of_their_own(tmp_path: Path) -> None:
    world = new_world(tmp_path, title="<script>1</script>", source_id="javascript:alert(1)")
    page = world.client().get("/")
    assert "<script>" not in page.text
    assert "javascript:" not in page.text


def test_looking_writes_nothing(world: World) -> None:
    before = world.everything()
    for path in ("/", f"/days/{DAY}", f"/days/{YESTERDAY}"):
        world.client().get(path)
    assert world.everything() == before


# -- for who is logged in --------------------------------------------------------------------------


@dataclass(frozen=True)
class Ranked:
    """A ranking that gives these papers the ranks from 1 on."""

    ids: tuple[int, ...]

    @property
    def ranks(self) -> dict[int, int]:
        return {id: rank for rank, id in enumerate(self.ids, 1)}

    def explain(self, ids: Sequence[int]) -> dict[int, PaperReason]:
        return {id: PaperReason("likely yours", (f"rank {self.ranks[id]}",)) for id in self.ids}


def cards(page: httpx.Response) -> list[str]:
    """Return the ids of the cards of a page, in their order."""
    return [str(each["id"]) for each in BeautifulSoup(page.text, "html5lib").select(".card")]


def test_a_subscriber_sees_the_whole_day_in_their_order_with_reasons(world: World) -> None:
    world.ranking = Ranked((3, 1))
    page = world.logged_in().get("/")
    assert cards(page) == ["paper-3", "paper-1", "paper-2"]
    assert page.text.count("Likely yours. Rank ") == 2
    assert "Papers of" in page.text
    assert "No account, no password" not in page.text


def test_two_subscribers_see_their_own_orders(world: World) -> None:
    ada, other = world.logged_in(), world.logged_in(reader=1)
    world.clock.sleep(3600)
    world.ranking = Ranked((3, 1, 2))
    assert cards(ada.get("/"))[0] == "paper-3"
    world.ranking = Ranked((2, 1, 3))
    assert cards(other.get("/"))[0] == "paper-2"
    # Votes do not move the cards under the reader's eyes.
    assert cards(ada.get("/"))[0] == "paper-3"


def test_cards_tell_different_reasons_where_they_have_them(world: World) -> None:
    class Alike(Ranked):
        def explain(self, ids: Sequence[int]) -> dict[int, PaperReason]:
            return {id: PaperReason("", ("close to what you liked", f"by {id}")) for id in self.ids}

    world.ranking = Alike((1, 2, 3))
    page = BeautifulSoup(world.logged_in().get("/").text, "html5lib")
    told = [each.get_text(strip=True) for each in page.select(".card .reason")]
    assert told == ["Close to what you liked", "By 2", "By 3"]


def test_a_subscriber_chooses_another_order(world: World) -> None:
    world.ranking = Ranked((3, 1))
    [added] = add_papers(world.db, [paper_row(7, upvotes=70)])
    ada = world.logged_in()
    world.clock.sleep(60)
    assert cards(ada.get("/?sort=upvotes"))[0] == f"paper-{added.id}"
    assert cards(ada.get("/?sort=newest"))[0] == f"paper-{added.id}"
    assert cards(ada.get("/?sort=rank"))[0] == "paper-3"
    assert cards(ada.get("/?sort=nonsense"))[0] == "paper-3"
    assert "For you" not in world.client().get("/").text


def test_one_press_on_a_card_votes_and_leads_back_to_the_card(world: World) -> None:
    ada = world.logged_in()
    page = ada.get("/?sort=newest")
    voted = ada.submit(page, EventKind.VOTE_UP)
    [answer] = voted.history
    first = cards(page)[0]
    assert answer.headers["location"] == f"/?sort=newest#{first}"
    card = BeautifulSoup(voted.text, "html5lib").find(id=first)
    assert card is not None
    assert "You like this paper." in card.get_text()
    assert [each.get_text() for each in card.select("[aria-pressed=true]")] == ["Like"]
    undone = ada.submit(voted, "none")
    assert "Your vote was removed" in undone.text
    assert world.events() == []


def test_a_notice_is_shown_once(world: World) -> None:
    ada = world.logged_in()
    ada.submit(ada.get("/"), EventKind.VOTE_UP)
    assert "You like this paper." not in ada.get("/").text


def test_a_notice_that_is_not_ours_is_not_shown(world: World) -> None:
    ada = world.logged_in()
    ada.submit(ada.get("/"), EventKind.VOTE_UP, back="/nowhere")
    forged = {"flash": "CkJ1eSBub3c.abc"}
    page = world.client().get("/", headers={"cookie": "flash=" + forged["flash"]})
    assert "Buy now" not in page.text


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_a_vote_leads_to_no_other_site(world: World, back: str) -> None:
    ada = world.logged_in()
    page = ada.get("/papers/1")
    [answer] = ada.submit(page, EventKind.VOTE_UP, back=back).history
    assert answer.headers["location"] == "/papers/1#paper-1"


def test_what_was_in_a_digest_is_marked(world: World) -> None:
    with world.db.write() as conn:
        assert store.slates.shown_papers(conn, 1) == {1, 2, 3}
    add_papers(world.db, [paper_row(7)])
    page = BeautifulSoup(world.logged_in().get("/").text, "html5lib")
    marked = [str(each["id"]) for each in page.select(".card") if each.select(".seen")]
    assert sorted(marked) == ["paper-1", "paper-2", "paper-3"]


def test_a_category_is_chosen_by_its_chip(world: World) -> None:
    [added] = add_papers(world.db, [paper_row(7, categories=("math.CO", "cs.DM"))])
    page = BeautifulSoup(world.client().get("/").text, "html5lib")
    [chip] = [each for each in page.select(".chips a") if "math.CO" in each.get_text()]
    assert chip.get_text(" ", strip=True) == "math.CO 1"
    assert cards(world.client().get(str(chip["href"]))) == [f"paper-{added.id}"]
    assert "No papers of this category" in world.client().get("/?category=math.NT").text


def test_a_week_has_the_papers_of_its_seven_days(world: World) -> None:
    add_papers(world.db, [paper_row(8, listed_on=DAY - timedelta(days=7))])
    assert len(cards(world.client().get(f"/weeks/{DAY}"))) == 4
    assert len(cards(world.client().get(f"/weeks/{YESTERDAY}"))) == 2
    assert world.client().get("/weeks/2026-02-30").status_code == 404


def test_the_date_picker_leads_to_a_day(world: World) -> None:
    answer = world.client().get("/days?on=2026-03-01")
    assert (answer.status_code, answer.headers["location"]) == (303, "/days/2026-03-01")
    assert world.client().get("/days?on=x").headers["location"] == "/"
