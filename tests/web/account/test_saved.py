"""Saved papers, collections and saved searches: pages, files, and who may see them."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from bs4 import BeautifulSoup

from tests.support.web_world import Visitor, World, add_papers, new_world, paper_row
from triage import store
from triage.domain.records import EventKind
from triage.store.collections import Collection
from triage.subscribers import collections
from triage.web.account.saved import PAGE

SAVE = EventKind.SAVE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


@pytest.fixture
def ada(world: World) -> Visitor:
    return world.logged_in()


def save(world: World, paper: int, collection: int | None = None, reader: int = 0) -> None:
    collections.save(world.db, world.clock, world.readers[reader], paper, collection)


def new(world: World, name: str, query: str = "", reader: int = 0) -> int:
    return collections.create(world.db, world.clock, world.readers[reader], name, query)


def listed(world: World, reader: int = 0) -> list[tuple[Collection, int]]:
    with world.db.read() as conn:
        return store.collections.of(conn, world.readers[reader].id)


def names(world: World) -> dict[str, int]:
    return {each.name: n for each, n in listed(world)}


def titles(page: httpx.Response) -> list[str]:
    html = BeautifulSoup(page.text, "html.parser")
    return [
        str(each.get_text()) for each in html.select("article.card h2 > a, article.card h3 > a")
    ]


def vote_of(world: World, paper: int) -> EventKind | None:
    with world.db.read() as conn:
        vote = store.events.last_vote(conn, world.readers[0].id, paper)
    return vote.kind if vote else None


# -- the pages -------------------------------------------------------------------------------------


def test_saved_papers_are_listed_newest_first_apart_from_likes(world: World, ada: Visitor) -> None:
    assert "No papers yet" in ada.get("/saved").text
    assert listed(world) == []
    for paper in (1, 2):
        save(world, paper)
        world.clock.sleep(60)
    page = ada.get("/saved")
    assert titles(page) == [world.papers[1].title, world.papers[0].title]
    assert world.papers[0].title not in ada.get("/likes").text
    page = ada.submit(page, "unsave")
    assert titles(page) == [world.papers[0].title]


def test_the_navigation_leads_to_saved_papers(ada: Visitor) -> None:
    assert '<a href="/saved">Saved</a>' in ada.get("/").text


def test_a_collection_is_made_renamed_and_listed(world: World, ada: Visitor) -> None:
    page = ada.submit(ada.get("/saved"), "Create", name="  My\n thesis ")
    assert "Created." in page.text
    assert page.request.url.path.startswith("/saved/")
    page = ada.submit(page, "rename", name="Quasi-Monte-Carlo ∞")
    assert "Renamed." in page.text
    assert names(world) == {"Quasi-Monte-Carlo ∞": 0}
    assert "Quasi-Monte-Carlo ∞" in ada.get("/saved").text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "Write a name."),
        (" \u202e\n ", "Write a name."),
        ("x" * 81, "at most 80"),
        ("saved", "already"),
        ("THÉSIS", "already"),
    ],
)
def test_names_that_cannot_be_are_refused_and_kept_in_the_form(
    world: World, ada: Visitor, name: str, why: str
) -> None:
    id = new(world, "Thesis")
    other = new(world, "Other")
    before = world.everything()
    for page in (
        ada.submit(ada.get("/saved"), "Create", name=name),
        ada.submit(ada.get(f"/saved/{other}"), "rename", name=name),
    ):
        assert page.status_code == 422
        assert why in page.text
        assert world.everything() == before
    assert ada.submit(ada.get(f"/saved/{id}"), "rename", name="thesis").status_code == 200


def test_there_is_a_limit_to_collections(
    world: World, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collections, "MOST", 1)
    new(world, "One")
    page = ada.submit(ada.get("/saved"), "Create", name="Two")
    assert page.status_code == 422
    assert "Delete one first" in page.text
    assert names(world) == {"One": 0}


def test_a_long_collection_comes_in_pages(world: World, ada: Visitor) -> None:
    id = new(world, "Long")
    papers = add_papers(world.db, [paper_row(n) for n in range(100, 100 + PAGE + 3)])
    with world.db.write() as conn:
        at = world.clock.now()
        several = {paper.id: at + timedelta(seconds=paper.id) for paper in papers}
        store.collections.put_all(conn, id, several)
    first, second = ada.get(f"/saved/{id}"), ada.get(f"/saved/{id}?page=2")
    assert titles(first) + titles(second) == [paper.title for paper in reversed(papers)]
    assert ada.get(f"/saved/{id}?page=3").status_code == 404


@pytest.mark.parametrize("id", ["0", "999", "x", "٣", "9" * 40])
@pytest.mark.parametrize("rest", ["", "/delete", "/papers.bib"])
def test_what_is_no_collection_is_not_there(ada: Visitor, id: str, rest: str) -> None:
    assert ada.get(f"/saved/{id}{rest}").status_code == 404


def test_nobody_sees_or_changes_a_collection_of_somebody_else(world: World, ada: Visitor) -> None:
    theirs = new(world, "Secret plans", reader=1)
    mine = new(world, "Mine")
    save(world, 1, theirs, reader=1)
    before = world.everything()
    own = ada.get(f"/saved/{mine}")
    for path, button, fields in (
        (f"/saved/{theirs}", "rename", {"name": "Stolen"}),
        (f"/saved/{theirs}", "renew", {}),
        (f"/saved/{theirs}/delete", "rename", {"do": "unsave"}),
        ("/papers/1/save", "rename", {"collection": str(theirs)}),
    ):
        assert ada.get(path).status_code in {404, 200 if path.startswith("/papers") else 404}
        html = BeautifulSoup(own.text, "html.parser")
        seal = str(html.select_one("input[name=seal]")["value"])  # type: ignore[index]
        answer = ada.post(path, data={"seal": seal, "do": button} | fields)
        assert answer.status_code == 404, path
        assert "Secret plans" not in answer.text
    for file in ("bib", "csv"):
        assert ada.get(f"/saved/{theirs}/papers.{file}").status_code == 404
    assert world.everything() == before


def test_strangers_are_sent_to_the_login_and_files_answer_401(world: World) -> None:
    id = new(world, "Thesis")
    stranger = world.visitor()
    for path in ("/saved", f"/saved/{id}", f"/saved/{id}/delete", "/papers/1/save"):
        answer = world.client().get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?next=")
        assert stranger.post(path, data={"name": "x"}).status_code == 403
    assert world.client().get(f"/saved/{id}/papers.bib").status_code == 401


def test_looking_changes_nothing(world: World, ada: Visitor) -> None:
    id = new(world, "Thesis")
    search = new(world, "Drafts", "q=drafts")
    save(world, 1, id)
    before = world.everything()
    for path in (
        "/saved", f"/saved/{id}", f"/saved/{search}", f"/saved/{id}/delete", "/papers/2/save",
        f"/saved/{id}/papers.csv", "/likes", "/likes/forget",
    ):  # fmt: skip
        for method in ("GET", "HEAD"):
            assert ada.ask(method, path).status_code == 200
    assert world.everything() == before


def test_names_are_text_and_never_markup(world: World, ada: Visitor) -> None:
    id = new(world, "<script>alert(1)</script>")
    for path in ("/saved", f"/saved/{id}", f"/saved/{id}/delete", "/papers/1/save"):
        page = ada.get(path).text
        assert "<script>" not in page
        assert "&lt;script&gt;" in page


# -- save to ---------------------------------------------------------------------------------------


def test_save_to_leads_from_every_card_and_back(world: World, ada: Visitor) -> None:
    new(world, "Thesis")
    link = BeautifulSoup(ada.get("/digests/2026-03-02").text, "html.parser").select_one(
        'a[href^="/papers/1/save?"]'
    )
    assert link is not None
    page = ada.get(str(link["href"]))
    ids = {each.name: str(each.id) for each, _ in listed(world)}
    page = ada.submit(page, "Save", collection=["0", ids["Thesis"]])
    assert page.request.url.path == "/digests/2026-03-02"
    assert "Saved in: Saved, Thesis." in page.text
    assert names(world) == {"Saved": 1, "Thesis": 1}
    assert vote_of(world, 1) is SAVE


def test_one_press_saves_to_the_default_collection(world: World, ada: Visitor) -> None:
    ada.submit(ada.get("/papers/1/save"), "Save")
    assert names(world) == {"Saved": 1}


def test_a_paper_is_saved_to_a_new_collection_and_moved(world: World, ada: Visitor) -> None:
    page = ada.submit(ada.get("/papers/1/save"), "Save", name="Thesis")
    assert "Saved in: Thesis." in page.text
    assert names(world) == {"Thesis": 1}
    page = ada.get("/papers/1/save")
    page = ada.submit(page, "Save", collection=["0"])
    assert names(world) == {"Saved": 1, "Thesis": 0}
    assert [row[2] for row in world.events()] == [SAVE]
    page = ada.submit(ada.get("/papers/1/save"), "Save", collection=[])
    assert "not saved any more" in page.text
    assert names(world) == {"Saved": 0, "Thesis": 0}
    assert world.events() == []


def test_one_press_never_takes_a_paper_out_of_a_named_collection(
    world: World, ada: Visitor
) -> None:
    thesis = new(world, "Thesis")
    save(world, 1, thesis)
    before = world.everything()
    page = ada.submit(ada.get(f"/saved/{thesis}"), "unsave")
    assert page.request.url.path == "/papers/1/save"
    assert "in these collections" in page.text
    assert world.everything() == before
    page = ada.submit(page, "Save", collection=[])
    assert page.request.url.path == f"/saved/{thesis}"
    assert names(world) == {"Thesis": 0}


def test_a_name_that_is_taken_saves_nothing_yet_and_loses_no_tick(
    world: World, ada: Visitor
) -> None:
    thesis = str(new(world, "Thesis"))
    before = world.everything()
    page = ada.get("/papers/1/save?next=/likes")
    page = ada.submit(page, "Save", collection=[thesis], name="thesis")
    assert page.status_code == 422
    assert "already" in page.text
    assert world.everything() == before
    page = ada.submit(page, "Save", name="Other")
    assert page.request.url.path == "/likes"
    assert names(world) == {"Other": 1, "Thesis": 1}


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_save_to_leads_to_no_other_site(ada: Visitor, next: str) -> None:
    page = ada.get("/papers/1/save", params={"next": next})
    assert "evil" not in page.text
    assert ada.submit(page, "Save").request.url.path == "/papers/1"


# -- deleting --------------------------------------------------------------------------------------


def test_deleting_a_collection_asks_and_keeps_its_papers_if_wished(
    world: World, ada: Visitor
) -> None:
    id, other = new(world, "Thesis"), new(world, "Other")
    save(world, 1, id)
    save(world, 2, id)
    save(world, 2, other)
    page = ada.get(f"/saved/{id}/delete")
    assert "One paper is in no other collection" in page.text
    page = ada.submit(page, "keep")
    assert "Deleted: Thesis." in page.text
    assert names(world) == {"Saved": 1, "Other": 1}
    assert titles(page) == [world.papers[0].title]
    assert (vote_of(world, 1), vote_of(world, 2)) == (SAVE, SAVE)


def test_deleting_a_collection_unsaves_its_papers_if_wished(world: World, ada: Visitor) -> None:
    id, other = new(world, "Thesis"), new(world, "Other")
    save(world, 1, id)
    save(world, 2, id)
    save(world, 2, other)
    ada.submit(ada.get(f"/saved/{id}/delete"), "unsave")
    assert names(world) == {"Other": 1}
    assert (vote_of(world, 1), vote_of(world, 2)) == (None, SAVE)


def test_the_default_collection_can_be_neither_renamed_nor_deleted(
    world: World, ada: Visitor
) -> None:
    save(world, 1)
    [(saved, _)] = listed(world)
    other = new(world, "Other")
    page = ada.get("/saved").text
    assert "Rename" not in page
    assert f"/saved/{saved.id}/delete" not in page
    assert ada.get(f"/saved/{saved.id}/delete").status_code == 404
    html = BeautifulSoup(ada.get(f"/saved/{other}").text, "html.parser")
    seal = str(html.select_one("input[name=seal]")["value"])  # type: ignore[index]
    before = world.everything()
    for path, fields in ((f"/saved/{saved.id}", {"name": "X"}), (f"/saved/{saved.id}/delete", {})):
        assert ada.post(path, data={"seal": seal, "do": "keep"} | fields).status_code == 404
    assert world.everything() == before


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "media_type", "part"),
    [
        ("bib", "application/x-bibtex", "2603.00001"),
        ("ris", "application/x-research-info-systems", "TI  - Speculative decoding with 1 drafts"),
        ("json", "application/vnd.citationstyles.csl+json", '"note": "saved 2026-03-02"'),
        ("csv", "text/csv; charset=utf-8", "saved_on,title"),
    ],
)
def test_a_collection_is_a_file_for_other_programs(
    world: World, ada: Visitor, ending: str, media_type: str, part: str
) -> None:
    id = new(world, 'Thèse: "Café"/../x')
    save(world, 1, id)
    save(world, 2)
    answer = ada.get(f"/saved/{id}/papers.{ending}")
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-disposition"] == (
        f'attachment; filename="these-cafe-x.{ending}"'
    )
    assert part in answer.text
    assert "with 2 drafts" not in answer.text
    assert f'href="/saved/{id}/papers.{ending}"' in ada.get(f"/saved/{id}").text


def test_a_file_of_no_known_kind_is_not_there(world: World, ada: Visitor) -> None:
    id = new(world, "研究")
    assert ada.get(f"/saved/{id}/papers.exe").status_code == 404
    answer = ada.get(f"/saved/{id}/papers.bib")
    assert answer.headers["content-disposition"] == 'attachment; filename="collection.bib"'


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path: Path) -> None:
    world = new_world(tmp_path, title='=HYPERLINK("http://evil")', authors=["+A", "@B"])
    save(world, 1)
    [(saved, _)] = listed(world)
    answer = world.logged_in().get(f"/saved/{saved.id}/papers.csv")
    cells = [cell for row in csv.reader(io.StringIO(answer.text)) for cell in row]
    assert '\'=HYPERLINK("http://evil")' in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


# -- saved searches --------------------------------------------------------------------------------


def test_a_search_is_saved_from_its_page_and_lists_new_matches_first(
    world: World, ada: Visitor
) -> None:
    page = ada.get("/search?q=decoding+drafts&category=cs.CL&page=1")
    page = ada.submit(page, "Save", name="Drafts")
    assert page.request.url.path.startswith("/saved/")
    assert titles(page) == [paper.title for paper in reversed(world.papers)]
    assert page.text.count('<span class="new">') == 3
    assert 'href="/search?q=decoding+drafts&amp;category=cs.CL"' in page.text
    world.clock.sleep(8 * 86_400)
    later = world.clock.now()
    rows = [paper_row(50, listed_on=later.date(), first_seen_at=later), paper_row(51, abstract="-")]
    rows[1] |= {"title": "Nothing of the kind", "listed_on": later.date()}
    add_papers(world.db, rows)
    page = ada.get(page.request.url.path)
    assert titles(page)[0] == "Speculative decoding with 50 drafts"
    assert page.text.count('<span class="new">') == 1
    assert "Nothing of the kind" not in page.text
    assert listed(world)[0][0].query == "q=decoding+drafts&category=cs.CL"


def test_papers_that_only_people_named_are_no_news(world: World, ada: Visitor) -> None:
    id = new(world, "Drafts", "q=drafts")
    add_papers(world.db, [paper_row(60, is_listed=False)])
    assert "with 60 drafts" not in ada.get(f"/saved/{id}").text


def test_a_saved_search_without_matches_says_so(world: World, ada: Visitor) -> None:
    id = new(world, "Nothing", "q=zzzz")
    assert "No paper has all these words yet" in ada.get(f"/saved/{id}").text
    assert ada.get(f"/saved/{id}/papers.bib").text == ""


def test_nothing_can_be_saved_to_a_search(world: World, ada: Visitor) -> None:
    id = new(world, "Drafts", "q=drafts")
    assert "Drafts" not in ada.get("/papers/1/save").text
    assert ada.submit(ada.get("/papers/1/save"), "Save", collection=[str(id)]).status_code == 404


def test_a_taken_name_keeps_the_search_in_the_form(world: World, ada: Visitor) -> None:
    new(world, "Thesis")
    page = ada.submit(ada.get("/search?q=drafts"), "Save", name="thesis")
    assert page.status_code == 422
    page = ada.submit(page, "Save", name="Drafts")
    assert [each.query for each, _ in listed(world)] == ["", "q=drafts"]


def test_only_a_search_that_means_something_is_offered_to_be_saved(
    world: World, ada: Visitor
) -> None:
    offer = "Save this search"
    assert offer in ada.get("/search?q=drafts").text
    assert offer in ada.get("/search?author=Lovelace").text
    for path in ("/search", "/search?like=1", "/search?q=drafts&since=soon"):
        assert offer not in ada.get(path).text
    assert offer not in world.client().get("/search?q=drafts").text


# -- feeds -----------------------------------------------------------------------------------------


def feeds(page: httpx.Response) -> list[str]:
    html = BeautifulSoup(page.text, "html.parser")
    return [urlsplit(str(each["href"])).path for each in html.select("link[rel=alternate]")]


def test_a_collection_has_a_feed_whose_address_can_be_replaced(world: World, ada: Visitor) -> None:
    save(world, 1)
    [(saved, _)] = listed(world)
    page = ada.get(f"/saved/{saved.id}")
    before = feeds(page)
    assert [path.rpartition(".")[2] for path in before] == ["atom", "json"]
    assert all(world.client().get(path).status_code == 200 for path in before)
    page = ada.submit(page, "renew")
    assert "do not work any more" in page.text
    assert all(world.client().get(path).status_code == 404 for path in before)
    assert all(world.client().get(path).status_code == 200 for path in feeds(page))
