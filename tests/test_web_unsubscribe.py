"""Leaving takes one click of a person, or one POST of a mail program (RFC 8058)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.web_world import World, new_world
from triage import store
from triage.records import SubscriberState
from triage.tokens import Purpose

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
        states = [(row["subscriber"], row["state"]) for row in store.messages.listing(conn)]
        assert sorted(states) == [
            ("ada.reader@example.org", "cancelled"),
            ("other@example.org", "rendered"),
        ]
        assert [each.slate_id for each in store.messages.waiting(conn, world.clock.now())] == [2]


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
