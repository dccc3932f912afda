"""The vote page: it shows the paper and one button, and only the button votes."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.support.web_world import World, new_world
from triage.domain.link_tokens import Purpose
from triage.domain.records import EventKind


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def press(world: World, page: httpx.Response, path: str, button: int = 0) -> httpx.Response:
    """Press the nth button of a page as a browser does, without scripts."""
    action, content = re.findall(
        r'<form method="post"(?: action="([^"]+)")?>(.*?)</form>', page.text, re.DOTALL
    )[button]
    field = re.search(r'<button class="\w+" name="([^"]+)" value="([^"]+)">', content)
    assert field is not None
    return world.client().post(action or path, data={field[1]: field[2]})


@pytest.mark.parametrize("kind", EventKind)
def test_a_link_shows_the_paper_and_its_one_button_votes_once(
    world: World, kind: EventKind
) -> None:
    path = "/v/" + world.vote(kind, position=2)
    page = world.client().get(path)
    assert page.text.count("<button") == 1
    assert world.papers[1].title in page.text
    assert world.events() == []
    for _ in range(3):
        done = press(world, page, path)
        assert done.status_code == 200
        assert world.papers[1].title in done.text
        assert world.events() == [(1, 2, kind)]


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
    assert answer.text.count("<button") == 1
    assert world.events() == []


def test_both_encodings_of_a_form_vote(world: World) -> None:
    client = world.client()
    client.post("/v/" + world.vote(position=1), data={"vote": "vote_up"})
    client.post("/v/" + world.vote(position=2), files={"vote": (None, "vote_up")})
    assert world.events() == [(1, 1, "vote_up"), (1, 2, "vote_up")]


def test_the_thanks_offer_the_other_choices_and_the_last_one_counts(world: World) -> None:
    path = "/v/" + world.vote(EventKind.VOTE_UP)
    thanks = press(world, world.client().get(path), path)
    assert thanks.text.count("<button") == 3
    changed = press(world, thanks, path, button=1)
    assert changed.status_code == 200
    assert world.events() == [(1, 1, "vote_up"), (1, 1, "vote_down")]


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
    client = world.client()
    for page in (
        client.get("/v/" + world.vote()),
        client.get("/p/" + world.token(Purpose.PAPER)),
        client.post("/v/" + world.vote(), data={"vote": "vote_up"}),
    ):
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "<b " not in page.text
        assert "&lt;script&gt;alert(1)" in page.text
        assert "{{7*7}}" in page.text


def test_the_vote_of_one_subscriber_is_not_shown_to_another(world: World) -> None:
    client = world.client()
    client.post("/v/" + world.vote(), data={"vote": "vote_up"})
    other = world.keyring.sign(Purpose.VOTE, world.claims(1, EventKind.VOTE_UP, reader=1))
    assert "Noted" not in client.get("/v/" + other).text
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
