"""The votes page: it shows all papers of a digest, and only its buttons vote."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from bs4 import BeautifulSoup

from tests.support.factories import NOON
from tests.support.web_world import World, new_world
from triage import store
from triage.domain.link_tokens import Purpose
from triage.domain.records import EventKind
from triage.domain.vote_texts import VOTE_TEXTS
from triage.subscribers.votes import BURST
from triage.web.visit import LIFETIME, MOST_VISITS
from triage.web.vote import Link, RecentLinks

UP, DOWN, SAVE, LESS = (
    EventKind.VOTE_UP,
    EventKind.VOTE_DOWN,
    EventKind.SAVE,
    EventKind.LESS_LIKE_THIS,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def digest_page(world: World, reader: int = 0) -> str:
    return "/d/" + world.token(Purpose.DIGEST, 0, reader=reader)


def papers_on(page: httpx.Response) -> list[str]:
    return re.findall(r'<article class="card" id="paper-(\d+)"', page.text)


def pressed_on(page: httpx.Response) -> dict[str, str]:
    """Return what is written on the pressed button of each card, by the id of the card."""
    found = BeautifulSoup(page.text, "html.parser").select('.card button[aria-pressed="true"]')
    cards = [(each.find_parent("article"), each.get_text()) for each in found]
    return {str(card["id"]): text for card, text in cards if card}


def button_of(page: httpx.Response, paper: int, kind: EventKind) -> tuple[str, dict[str, str]]:
    """Return where a button of a card posts, and what."""
    html = BeautifulSoup(page.text, "html.parser")
    [button] = [
        each
        for each in html.select(f"#paper-{paper} button")
        if each.get_text() == VOTE_TEXTS[kind].link
    ]
    form = button.find_parent("form")
    assert form is not None
    fields = {str(each["name"]): str(each["value"]) for each in form.select("input")}
    return str(button["formaction"]), fields | {"vote": str(button["value"])}


@pytest.mark.parametrize("kind", EventKind)
def test_a_link_shows_its_digest_and_proposes_its_button_and_only_a_press_votes(
    world: World, kind: EventKind
) -> None:
    person, path = world.visitor(), "/v/" + world.vote(kind, position=2)
    page = person.get(path)
    assert papers_on(page) == ["2", "1", "3"]
    proposed = BeautifulSoup(page.text, "html.parser").select(".proposed")
    assert [each["value"] for each in proposed] == [kind]
    assert pressed_on(page) == {}
    assert world.events() == []
    for n_earlier in range(3):
        done = person.submit(page, kind)
        assert [each.status_code for each in done.history] == [303]
        assert done.history[0].headers["location"] == f"{path}#paper-2"
        assert VOTE_TEXTS[kind].done in done.text
        assert pressed_on(done) == {"paper-2": VOTE_TEXTS[kind].link}
        assert world.events() == [(1, 2, kind)], n_earlier
    assert "notice" not in person.get(path).text


@pytest.mark.parametrize("starts_with_a_vote", [True, False])
def test_three_votes_are_three_presses_on_one_page(world: World, starts_with_a_vote: bool) -> None:
    person = world.visitor()
    path = "/v/" + world.vote(UP, position=2) if starts_with_a_vote else digest_page(world)
    page = person.get(path)
    for paper, kind in ((1, SAVE), (2, LESS), (3, UP)):
        action, fields = button_of(page, paper, kind)
        answer = person.post(action, data=fields)
        assert answer.headers["location"] == f"{path}#paper-{paper}"
        page = person.get(answer.headers["location"])
    assert pressed_on(page) == {"paper-1": "Save", "paper-2": "Less like this", "paper-3": "Like"}
    assert world.events() == [(1, 1, "save"), (1, 2, "less_like_this"), (1, 3, "vote_up")]


def test_the_page_of_a_digest_proposes_nothing_and_keeps_the_order(world: World) -> None:
    page = world.client().get(digest_page(world))
    assert papers_on(page) == ["1", "2", "3"]
    assert "proposed" not in page.text


def test_another_press_changes_the_vote_and_the_last_one_counts(world: World) -> None:
    person = world.visitor()
    first = person.submit(person.get("/v/" + world.vote(UP)), UP)
    changed = person.submit(first, DOWN)
    assert pressed_on(changed) == {"paper-1": "Not for me"}
    assert world.events() == [(1, 1, "vote_up"), (1, 1, "vote_down")]


def test_a_second_press_takes_back_what_this_visit_did_and_nothing_older(world: World) -> None:
    world.client().post("/v/" + world.vote(SAVE), data={"vote": "save"})
    world.clock.sleep(60)
    person = world.visitor()
    changed = person.submit(person.submit(person.get("/v/" + world.vote(UP)), UP), DOWN)
    assert len(world.events()) == 3
    undone = person.submit(changed, "none")
    assert "Taken back." in undone.text
    assert pressed_on(undone) == {}
    assert world.events() == [(1, 1, "save")]


def test_a_save_that_is_taken_back_leaves_the_collection_and_an_older_one_stays(
    world: World,
) -> None:
    def saved() -> set[int]:
        with world.db.read() as conn:
            return store.collections.saved_among(conn, world.readers[0].id, {1, 2})

    world.client().post("/v/" + world.vote(SAVE, position=2), data={"vote": "save"})
    world.clock.sleep(60)
    person = world.visitor()
    for position in (1, 2):
        page = person.submit(person.get("/v/" + world.vote(SAVE, position)), SAVE)
        assert position in saved()
        person.submit(page, "none")
        assert saved() == {2}


def test_who_pressed_nothing_here_cannot_take_anything_back(world: World) -> None:
    path, person = "/v/" + world.vote(UP), world.visitor()
    person.submit(person.get(path), UP)
    [(name, value)] = [each for each in person.cookies.items() if each[0].startswith("votes-")]
    forged = ["", "x", value[:-1], "1.10.x", value.replace(".", ".20.", 1)]
    for cookie in forged:
        headers = {"cookie": f"{name}={cookie}"}
        assert pressed_on(world.client().get(path, headers=headers)) == {}
        answer = world.client().post(path, data={"vote": "none"}, headers=headers)
        assert answer.status_code == 303
    assert world.events() == [(1, 1, "vote_up")]


def test_earlier_votes_are_not_shown(world: World) -> None:
    path, person = "/v/" + world.vote(UP), world.visitor()
    person.submit(person.get(path), UP)
    for address in (path, digest_page(world)):
        assert pressed_on(person.get(address)) == {"paper-1": "Like"}
        assert pressed_on(world.visitor().get(address)) == {}
        assert pressed_on(world.logged_in().get(address)) == {}
    assert pressed_on(person.get(digest_page(world, reader=1))) == {}
    world.clock.sleep(LIFETIME.total_seconds())
    assert pressed_on(person.get(path)) == {}


def test_a_browser_keeps_the_last_twenty_digests_that_were_voted_on(world: World) -> None:
    person = world.visitor()
    old = [f"votes-{n:020x}" for n in range(1000, 1040)]
    for name in old:
        person.cookies[name] = "1.10.seal"
    path = "/v/" + world.vote(UP)
    assert pressed_on(person.submit(person.get(path), UP)) == {"paper-1": "Like"}
    kept = [name for name in person.cookies if name.startswith("votes-")]
    assert len(kept) == MOST_VISITS
    assert set(old) - set(kept) == set(old[: 41 - MOST_VISITS])


def test_to_open_a_page_sets_no_cookie(world: World) -> None:
    for path in ("/v/" + world.vote(), digest_page(world)):
        for method in ("GET", "HEAD"):
            assert "set-cookie" not in world.client().request(method, path).headers


@pytest.mark.parametrize("back", ["", "//evil.example", "https://evil.example", "/\\evil.example"])
def test_a_press_leads_to_no_other_site(world: World, back: str) -> None:
    path = "/v/" + world.vote()
    answer = world.client().post(path, data={"vote": "vote_up", "back": back})
    assert answer.headers["location"] == f"{path}#paper-1"


def test_an_old_page_of_a_digest_says_that_it_is_too_old(world: World) -> None:
    path = digest_page(world)
    world.clock.sleep(180 * 24 * 3600)
    assert world.client().get(path).status_code == 410


@pytest.mark.parametrize(
    "send",
    [
        {},
        {"data": {"vote": "vote_down"}},
        {"data": {"other": "vote_up"}},
        {"data": {"List-Unsubscribe": "One-Click"}},
        {"content": b"vote=vote_up", "headers": {"content-type": "application/json"}},
        {"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"vote", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"\xff\xfe\x00", "headers": {"content-type": "text/plain"}},
    ],
)
def test_a_post_that_is_not_the_button_shows_the_page_and_votes_nothing(
    world: World, send: dict[str, object]
) -> None:
    answer = world.client().post("/v/" + world.vote(), **send)
    assert answer.status_code == 200
    assert papers_on(answer) == ["1", "2", "3"]
    assert world.events() == []


def test_both_encodings_of_a_form_vote(world: World) -> None:
    client = world.client()
    client.post("/v/" + world.vote(position=1), data={"vote": "vote_up"})
    client.post("/v/" + world.vote(position=2), files={"vote": (None, "vote_up")})
    assert world.events() == [(1, 1, "vote_up"), (1, 2, "vote_up")]


def test_a_paper_text_cannot_become_markup(tmp_path: Path) -> None:
    evil = "</h2><script>alert(1)</script>{{7*7}}<b onclick=x>"
    world = new_world(
        tmp_path,
        title=evil,
        abstract=evil,
        authors=[evil],
        categories=[evil],
        comment=evil,
        tldr=evil,
        source="feed:" + evil,
    )
    person = world.visitor()
    votes = person.get("/v/" + world.vote())
    for page in (votes, person.get("/p/" + world.token(Purpose.PAPER)), person.submit(votes)):
        assert page.status_code == 200
        assert "<script>" not in page.text
        assert "<b " not in page.text
        assert "&lt;script&gt;alert(1)" in page.text
        assert "{{7*7}}" in page.text


def test_the_vote_of_one_subscriber_is_not_shown_to_another(world: World) -> None:
    client = world.client()
    client.post("/v/" + world.vote(), data={"vote": "vote_up"})
    other = world.keyring.sign(Purpose.VOTE, world.claims(1, EventKind.VOTE_UP, reader=1))
    assert pressed_on(client.get("/v/" + other)) == {}
    client.post("/v/" + other, data={"vote": "vote_up"})
    assert world.events() == [(1, 1, "vote_up"), (2, 1, "vote_up")]


def test_what_is_kept_of_a_request_is_coarse(world: World) -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0.7339.81"
    world.client().post(
        "/v/" + world.vote(),
        data={"vote": "vote_up"},
        headers={"user-agent": agent, "sec-fetch-user": "?1", "sec-fetch-site": "same-origin"},
    )
    everything = world.everything()
    assert "'agent': 'browser'" in everything
    assert "'user_gesture': True" in everything
    assert "140.0" not in everything


# -- what was opened and pressed lately ------------------------------------------------------------


def changes(presses: list[tuple[int, EventKind]], pause: timedelta = timedelta(0)) -> int:
    """Return how many votes seem to be changed after some presses on one digest."""
    recent, now, n_changed = RecentLinks(), NOON, 0
    for position, kind in presses:
        counted = recent.count("a slate", Link(position, kind, is_pressed=True), now)
        assert counted["links_opened"] == counted["papers_contradicted"] == 0
        n_changed, now = counted["votes_changed"], now + pause
    return n_changed


def test_votes_on_many_papers_of_one_page_are_no_changes() -> None:
    assert changes([(n, (UP, DOWN, SAVE, LESS)[n % 4]) for n in range(1, 31)]) == 0
    assert changes([(1, UP), (1, UP), (1, UP)]) == 0


def test_all_buttons_of_one_paper_are_two_changes_and_those_of_two_are_four() -> None:
    assert changes([(1, kind) for kind in EventKind]) == 2
    assert changes([(n, kind) for n in (1, 2) for kind in EventKind]) == 4


def test_one_wrong_press_for_six_papers_is_no_change() -> None:
    ten = [(n, UP) for n in range(1, 11)]
    assert changes([*ten, (4, DOWN)]) == 0
    assert changes([*ten, (4, DOWN), (5, DOWN)]) == 1


def test_presses_count_for_ten_minutes_and_opened_links_for_one() -> None:
    both = [(n, kind) for n in (1, 2) for kind in (UP, DOWN)]
    assert changes(both, BURST / 4) == 2
    assert changes(both, BURST / 2) == 1
    recent = RecentLinks()
    for kind in (UP, DOWN):
        counted = recent.count("a slate", Link(1, kind), NOON)
    assert counted == {"links_opened": 2, "papers_contradicted": 1, "votes_changed": 0}
    counted = recent.count("a slate", Link(2, UP), NOON + timedelta(seconds=60))
    assert counted == {"links_opened": 1, "papers_contradicted": 0, "votes_changed": 0}
