"""Leaving takes one click of a person, or one POST of a mail program (RFC 8058)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.web_world import ADDRESS, World, new_world
from triage import store
from triage.domain.link_tokens import Purpose
from triage.domain.records import SubscriberState

ENCODINGS: list[dict[str, Any]] = [
    {"data": {"List-Unsubscribe": "One-Click"}},
    {"files": {"List-Unsubscribe": (None, "One-Click")}},
    {"content": b"List-Unsubscribe=One-Click"},
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


@pytest.mark.parametrize("send", ENCODINGS)
def test_one_click_stops_all_mail_and_may_be_repeated(world: World, send: dict[str, Any]) -> None:
    path = "/u/" + world.token(Purpose.UNSUBSCRIBE)
    first = world.client().post(path, **send)
    after = world.everything()
    world.clock.sleep(3600)
    second = world.client().post(path, **send)
    for answer in (first, second):
        assert answer.status_code == 200
        assert "location" not in answer.headers
        assert "set-cookie" not in answer.headers
        assert "You are unsubscribed" in answer.text
    assert world.everything() == after
    assert world.state() is SubscriberState.UNSUBSCRIBED
    assert world.state(reader=1) is SubscriberState.ACTIVE
    with world.db.read() as conn:
        waiting = store.messages.waiting(conn, world.clock.now())
    assert [(each.recipient, each.kind) for each in waiting] == [
        (ADDRESS, "goodbye"),
        ("other@example.org", "digest"),
    ]


@pytest.mark.parametrize(
    "send",
    [
        {},
        {"content": b""},
        {"data": {"List-Unsubscribe": "one click"}},
        {"data": {"vote": "vote_up"}},
        {"content": b"List-Unsubscribe=One-Click", "headers": {"content-type": "text/html"}},
        {"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}},
    ],
)
def test_a_post_without_the_field_shows_the_page_and_changes_nothing(
    world: World, send: dict[str, Any]
) -> None:
    before = world.everything()
    answer = world.client().post("/u/" + world.token(Purpose.UNSUBSCRIBE), **send)
    assert answer.status_code == 200
    assert 'name="List-Unsubscribe" value="One-Click"' in answer.text
    assert world.everything() == before


def test_the_page_looks_the_same_before_and_after(world: World) -> None:
    path = "/u/" + world.token(Purpose.UNSUBSCRIBE)
    before = world.client().get(path).text
    world.client().post(path, **ENCODINGS[0])
    assert world.client().get(path).text == before


def test_a_cookie_or_a_foreign_origin_makes_no_difference(world: World) -> None:
    headers = {"cookie": "session=1", "origin": "https://mail.example", "sec-fetch-site": "none"}
    path = "/u/" + world.token(Purpose.UNSUBSCRIBE)
    assert world.client().post(path, **ENCODINGS[0], headers=headers).status_code == 200
    assert world.state() is SubscriberState.UNSUBSCRIBED


def test_a_slip_is_undone_on_the_page_or_from_the_mail(world: World) -> None:
    stranger = world.visitor()
    path = "/u/" + world.token(Purpose.UNSUBSCRIBE)
    for _ in range(2):
        left = stranger.submit(stranger.get(path))
        assert world.state() is SubscriberState.UNSUBSCRIBED
        assert "You are subscribed" in stranger.submit(left, "confirm").text
        assert world.state() is SubscriberState.ACTIVE
    stranger.submit(stranger.get(path))
    [goodbye] = world.notes()
    assert (goodbye.recipient, goodbye.kind) == (ADDRESS, "goodbye")
    world.clock.at += timedelta(days=1)
    back = stranger.submit(stranger.get("/u/" + world.token(Purpose.UNSUBSCRIBE)))
    assert "Undo" not in back.text


def test_the_mail_that_says_goodbye_brings_back(world: World) -> None:
    reader = world.visitor()
    reader.submit(reader.get("/u/" + world.token(Purpose.UNSUBSCRIBE)))
    [goodbye] = world.notes()
    reader.submit(reader.get(goodbye.path))
    assert world.state() is SubscriberState.ACTIVE
    assert reader.submit(reader.get(goodbye.path)).status_code == 200
    reader.submit(reader.get("/u/" + world.token(Purpose.UNSUBSCRIBE)))
    assert reader.post(goodbye.path, data={"do": "confirm"}).status_code == 410
    assert world.state() is SubscriberState.UNSUBSCRIBED


def test_an_old_link_does_not_bring_back_who_has_left(world: World) -> None:
    forwarded = "/u/" + world.token(Purpose.UNSUBSCRIBE)
    world.client().post(forwarded, **ENCODINGS[0])
    answer = world.client().post(forwarded, **ENCODINGS[0])
    assert "/c/" not in answer.text
    assert "You are unsubscribed" in answer.text
