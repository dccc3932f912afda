"""Bodies as they arrive: within a size and a time, and used whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from tests.support.web_world import World, new_world
from triage.domain.records import EventKind
from triage.web import middleware
from triage.web.middleware import BODY_LIMITS, BodyLimit

FORM = b"application/x-www-form-urlencoded"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def send_form(
    world: World,
    path: str,
    pieces: list[bytes],
    then: Callable[[], Any] = never,
    headers: dict[bytes, bytes] | None = None,
) -> tuple[int, str, list[int]]:
    """Post the pieces of a body; return the status, the text, and how many pieces had been read at
    each message of the answer.

    Args:
        then: gives what comes after the pieces.
    """
    n_read, seen = 0, []
    status, text = 0, b""

    async def receive() -> Message:
        nonlocal n_read
        if n_read == len(pieces):
            return await then()
        n_read += 1
        return {"type": "http.request", "body": pieces[n_read - 1], "more_body": True}

    async def send(message: Message) -> None:
        nonlocal status, text
        seen.append(n_read)
        status = message.get("status", status)
        text += message.get("body", b"")

    fields = {b"host": b"triage.example", b"content-type": FORM, b"transfer-encoding": b"chunked"}
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"", "scheme": "https", "client": ("192.0.2.1", 1), "http_version": "1.1",
        "server": ("triage.example", 443), "headers": [*(fields | (headers or {})).items()],
    }  # fmt: skip
    asyncio.run(world.client().app(scope, receive, send))
    return status, text.decode(), seen


async def ended() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def gone() -> Message:
    return {"type": "http.disconnect"}


def test_a_body_in_pieces_is_read_whole(world: World) -> None:
    path = "/v/" + world.vote()
    status, _, _ = send_form(world, path, [b"vo", b"te=vote", b"_up"], ended)
    assert status < 400
    assert [kind for _, _, kind in world.events()] == [EventKind.VOTE_UP]


def test_a_body_that_does_not_end_in_time_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "BODY_LIMIT", BodyLimit(seconds=0))
    status, text, _ = send_form(world, "/v/" + world.vote(), [b"vote=vote_up"])
    assert status == 408
    assert "took too long" in text
    assert world.events() == []


def test_whoever_leaves_in_the_middle_of_a_form_changes_nothing(world: World) -> None:
    send_form(world, "/v/" + world.vote(), [b"vote=vote_up&and="], gone)
    assert world.events() == []


@pytest.mark.parametrize("limit", [BodyLimit(), BODY_LIMITS["/import"]])
def test_too_large_a_form_is_answered_with_a_page_that_says_the_limit(
    world: World, limit: BodyLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "BODY_LIMIT", limit)
    path = "/v/" + world.vote()
    declared = {b"content-length": b"%d" % (limit.size + 1)}
    half = b"x" * (limit.size // 2 + 1)
    for pieces, headers in (([b"vote=vote_up"], declared), ([half, half, half], {})):
        status, text, _ = send_form(world, path, pieces, ended, headers)
        assert status == 413
        assert str(limit) in text
        assert "<html" in text
    assert world.events() == []


def test_the_client_gets_the_answer_before_the_rest_is_read_and_the_end_after_it(
    world: World,
) -> None:
    """A client that is still sending when the connection is closed does not see the answer."""
    pieces = [b"x" * 40_000] * 10
    status, _, seen = send_form(world, "/v/" + world.vote(), pieces, ended)
    assert status == 413
    begin, body, end = seen
    assert begin == body < len(pieces) == end


def test_the_rest_of_a_body_is_not_awaited_for_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "LINGER_S", 0)
    status, _, _ = send_form(world, "/v/" + world.vote(), [b"x" * 40_000] * 3)
    assert status == 413


def test_a_stranger_s_library_is_refused_before_it_is_read(world: World) -> None:
    status, _, seen = send_form(world, "/import", [b"x" * 40_000] * 10, ended)
    assert status == 403
    assert seen[0] == 0


def test_a_page_without_a_form_does_not_mind_a_body(world: World) -> None:
    answer = world.client().request("GET", "/", content=b"x" * 100_000)
    assert answer.status_code == 200
