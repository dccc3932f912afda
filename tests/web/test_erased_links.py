"""Old links of somebody who was erased: one page says so, and one-click answers 200."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.web_world import ADDRESS, INTERESTS, World, new_world
from triage.domain.link_tokens import LIFETIMES, Purpose
from triage.domain.records import EventKind
from triage.subscribers import digest_feed, subscriptions

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
SAYS = "<h1>This subscription was deleted</h1>"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def old_links(world: World, reader: int = 0) -> dict[str, str]:
    """Return the path of a link of each kind."""
    person = world.readers[reader]
    visitor = world.visitor()
    visitor.submit(visitor.get("/login"), email=person.email)
    [login] = world.answers()
    feed = digest_feed.get_or_create_feed(
        world.db, world.clock, world.keyring, person, world.site.base_url
    )
    return {
        "vote": "/v/" + world.token(Purpose.VOTE, 1, EventKind.SAVE, reader),
        "paper": "/p/" + world.token(Purpose.PAPER, reader=reader),
        "unsubscribe": "/u/" + world.token(Purpose.UNSUBSCRIBE, reader=reader),
        "confirm": "/c/" + world.token(Purpose.CONFIRM, reader=reader),
        "login": login.path,
        "atom": urlsplit(feed.atom).path,
        "json": urlsplit(feed.json).path,
    }


KINDS = ("vote", "paper", "unsubscribe", "confirm", "login", "atom", "json")


def test_every_old_link_leads_to_one_page_that_says_so(world: World) -> None:
    links = old_links(world)
    assert tuple(links) == KINDS
    for kind, path in links.items():
        assert SAYS not in world.client().get(path).text, kind
    subscriptions.erase(world.db, ADDRESS)
    before = world.everything()
    pages = {path: world.client().get(path) for path in links.values()}
    for path, page in pages.items():
        assert page.status_code == 410
        assert SAYS in page.text
        for word in (ADDRESS, INTERESTS, path, world.papers[0].title):
            assert word not in page.text
        assert world.client().request("HEAD", path).status_code == 410
    assert len({page.text.replace(page.url.path, "") for page in pages.values()}) == 1
    assert world.everything() == before


@pytest.mark.parametrize(
    ("kind", "pressed"),
    [("vote", {"vote": "save"}), ("confirm", {"do": "confirm"}), ("login", {"do": "enter"}),
     ("unsubscribe", {"something": "else"})],
)  # fmt: skip
def test_a_button_on_a_page_that_was_open_before_says_so_too(
    world: World, kind: str, pressed: dict[str, str]
) -> None:
    path = old_links(world)[kind]
    subscriptions.erase(world.db, ADDRESS)
    before = world.everything()
    answer = world.client().post(path, data=pressed)
    assert (answer.status_code, SAYS in answer.text) == (410, True)
    assert world.everything() == before


def test_a_mail_program_that_unsubscribes_hears_that_it_is_done(world: World) -> None:
    path = old_links(world)["unsubscribe"]
    subscriptions.erase(world.db, ADDRESS)
    before = world.everything()
    for send in ({"data": ONE_CLICK}, {"files": {"List-Unsubscribe": (None, "One-Click")}}):
        answer = world.client().post(path, **send)
        assert (answer.status_code, SAYS in answer.text) == (200, True)
        assert "location" not in answer.headers
    assert world.everything() == before


def test_a_link_that_is_too_old_as_well_says_that_nobody_is_there(world: World) -> None:
    links = old_links(world)
    world.clock.sleep((LIFETIMES[Purpose.VOTE] + timedelta(days=1)).total_seconds())
    assert "This link is too old" in world.client().get(links["vote"]).text
    subscriptions.erase(world.db, ADDRESS)
    for kind in KINDS:
        assert SAYS in world.client().get(links[kind]).text, kind


def test_a_forged_link_is_answered_alike_before_and_after(world: World) -> None:
    links = {path[:-2] + "xx" for kind, path in old_links(world).items() if kind[-1] not in "mn"}
    before = {path: world.client().get(path) for path in links}
    subscriptions.erase(world.db, ADDRESS)
    for path, answer in before.items():
        again = world.client().get(path)
        assert (answer.status_code, answer.text) == (404, again.text)


def test_the_links_of_others_work_on(world: World) -> None:
    links = old_links(world, reader=1)
    subscriptions.erase(world.db, ADDRESS)
    for kind, path in links.items():
        assert world.client().get(path).status_code == 200, kind


def test_nobody_learns_from_the_forms_that_somebody_was_erased(world: World) -> None:
    """After erasure, an address is like one that was never known."""
    subscriptions.erase(world.db, ADDRESS)
    world.notes()
    visitor = world.visitor()
    pages = []
    for email in (ADDRESS, "nobody@example.org"):
        pages.append(visitor.submit(visitor.get("/login"), email=email).text)
        assert world.answers() == []
    assert [len(page) for page in pages] == [len(pages[0])] * 2
