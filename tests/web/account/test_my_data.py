"""My digests and my votes, for who is logged in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from bs4 import BeautifulSoup
from sqlalchemy import update

from tests.support.factories import NOON
from tests.support.web_world import Visitor, World, add_papers, new_world, paper_row
from triage import store
from triage.domain.records import EventKind
from triage.store.tables import impressions
from triage.subscribers import subscriptions
from triage.web.account.my_data import PAGE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


@pytest.fixture
def ada(world: World) -> Visitor:
    return world.logged_in()


def vote(world: World, position: int, kind: EventKind) -> None:
    world.client().post("/v/" + world.vote(kind, position), data={"vote": kind})


def test_my_digests_are_listed_and_lead_to_papers_and_votes(world: World, ada: Visitor) -> None:
    vote(world, 2, EventKind.SAVE)
    listed = ada.get("/digests").text
    assert 'href="/digests/2026-03-02">Monday, 2 March 2026</a>' in listed
    assert "3 papers" in listed
    page = ada.get("/digests/2026-03-02").text
    assert page.count('<article class="card"') == 3
    assert page.count('aria-pressed="true"') == 1
    assert 'href="/papers/1"' in page


def test_papers_that_a_vote_is_likely_for_say_so(world: World, ada: Visitor) -> None:
    assert "likely yours" not in ada.get("/digests/2026-03-02").text.lower()
    with world.db.write() as conn:
        conn.execute(update(impressions).values(prior=0.5))
        conn.execute(update(impressions).where(impressions.c.position == 2).values(score=0.1))
    page = ada.get("/digests/2026-03-02").text
    assert page.count("Very likely yours. ") == 2
    assert "very likely yours" in ada.get("/papers/1").text


def test_a_day_without_a_digest_and_what_is_no_day_are_not_there(ada: Visitor) -> None:
    for day in ("2026-03-03", "yesterday", "2026-13-01"):
        assert ada.get(f"/digests/{day}").status_code == 404


def section(page: httpx.Response, id: str) -> str:
    """Return the text of the section with this heading."""
    found = BeautifulSoup(page.text, "html.parser").find("section", {"aria-labelledby": id})
    assert found is not None
    return found.get_text()


def test_my_votes_are_listed_newest_first_apart_and_can_be_taken_back(
    world: World, ada: Visitor
) -> None:
    assert "None yet" in section(ada.get("/likes"), "likes")
    assert "None yet" in section(ada.get("/likes"), "dislikes")
    kinds = EventKind.VOTE_UP, EventKind.VOTE_UP, EventKind.LESS_LIKE_THIS
    for position, kind in enumerate(kinds, 1):
        vote(world, position, kind)
        world.clock.at += timedelta(minutes=1)
    page = ada.get("/likes")
    one, two, three = (paper.title for paper in world.papers)
    assert section(page, "likes").index(two) < section(page, "likes").index(one)
    assert three in section(page, "dislikes")
    assert "Less like this, 2026-03-02" in section(page, "dislikes")
    assert three not in section(page, "likes")
    page = ada.submit(page, str(world.papers[2].id))
    assert "Your vote was removed" in page.text
    assert "None yet" in section(page, "dislikes")
    page = ada.submit(page, str(world.papers[1].id))
    assert two not in page.text
    assert [row[1] for row in world.events()] == [1]
    vote(world, 2, EventKind.VOTE_UP)
    assert two in section(ada.get("/likes"), "likes")


def test_saved_papers_are_no_likes_of_the_list_but_of_the_files(world: World, ada: Visitor) -> None:
    vote(world, 1, EventKind.VOTE_UP)
    vote(world, 2, EventKind.SAVE)
    page = ada.get("/likes")
    assert world.papers[1].title not in page.text
    assert "One more paper that you like is saved" in " ".join(page.text.split()).replace(
        '<a href="/saved">', ""
    )
    for paper in world.papers[:2]:
        assert paper.title in ada.get("/mine/likes.ris").text


# -- forgetting ------------------------------------------------------------------------------------


def test_forgetting_my_votes_asks_first_and_can_be_undone_for_an_hour(
    world: World, ada: Visitor
) -> None:
    vote(world, 1, EventKind.VOTE_UP)
    vote(world, 2, EventKind.SAVE)
    before = world.events()
    assert 'href="/likes/forget">Forget my 2 votes…</a>' in ada.get("/preferences").text
    page = ada.get("/likes/forget")
    assert "Forget my votes?" in page.text
    assert world.events() == before
    page = ada.submit(page, "forget")
    assert page.request.url.path == "/preferences"
    assert "2 votes are forgotten" in page.text
    assert world.events() == []
    assert world.papers[1].title in ada.get("/saved").text
    world.clock.sleep(3599)
    page = ada.get("/preferences")
    assert "You can bring them back until 13:00 UTC" in page.text
    page = ada.submit(page, "undo")
    assert "Your votes are back." in page.text
    assert "Bring my votes back" not in page.text
    assert world.events() == before


def test_the_time_to_bring_votes_back_is_that_of_the_subscriber(world: World, ada: Visitor) -> None:
    subscriptions.change(world.db, world.readers[0].public_id, zone="Europe/Vienna")
    assert "bring them back" not in ada.submit(ada.get("/likes/forget"), "forget").text
    vote(world, 1, EventKind.VOTE_UP)
    page = ada.submit(ada.get("/likes/forget"), "forget")
    assert page.text.count("You can bring them back until 14:00 CET") == 2
    assert "1 vote is forgotten" in page.text


def test_after_an_hour_forgotten_votes_are_gone(world: World, ada: Visitor) -> None:
    vote(world, 1, EventKind.VOTE_UP)
    page = ada.submit(ada.get("/likes/forget"), "forget")
    world.clock.sleep(3600)
    assert "Bring my votes back" not in ada.get("/preferences").text
    assert "The hour is over" in ada.submit(page, "undo").text
    assert world.events() == []


@pytest.mark.parametrize("number", ["", "x", "٣", "-1", "9" * 40])
def test_what_is_no_paper_cannot_be_taken_back(world: World, ada: Visitor, number: str) -> None:
    vote(world, 1, EventKind.VOTE_UP)
    before = world.everything()
    assert ada.submit(ada.get("/likes"), "1", paper=number).status_code == 404
    assert ada.submit(ada.get("/likes"), "1", paper="77").status_code == 200
    assert world.everything() == before


def test_a_like_of_a_paper_that_became_another_can_be_taken_back(
    world: World, ada: Visitor
) -> None:
    vote(world, 1, EventKind.VOTE_UP)
    with world.db.write() as conn:
        conn.exec_driver_sql("UPDATE papers SET merged_into = 2 WHERE id = 1")
    ada.submit(ada.get("/likes"), "2")
    assert world.events() == []


def test_many_likes_come_in_pages(world: World, ada: Visitor) -> None:
    papers = add_papers(world.db, [paper_row(n) for n in range(100, 100 + PAGE + 3)])
    with world.db.write() as conn:
        for each in papers:
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=1,
                    paper_id=each.id,
                    kind=EventKind.VOTE_UP,
                    at=NOON,
                    recorded_at=NOON,
                ),
            )
    first, second = ada.get("/likes").text, ada.get("/likes?page=2").text
    assert (first.count(">Take back<"), second.count(">Take back<")) == (PAGE, 3)
    assert ada.get("/likes?page=3").status_code == 404
    assert ada.get("/likes?page=x").status_code == 404
