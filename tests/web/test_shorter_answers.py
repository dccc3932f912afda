"""What is sent: compressed where the size tells nobody anything, and nothing that a client has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.web_world import Visitor, World, new_world
from triage.domain.link_tokens import Purpose

GZIP = {"accept-encoding": "gzip"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def feed_of(ada: Visitor) -> str:
    """Return the path of a secret feed."""
    page = ada.submit(ada.get("/preferences"), "feed")
    if page.status_code == 303:
        page = ada.get("/preferences")
    return "/f/" + page.text.partition('href="https://triage.example/f/')[2].partition('"')[0]


def public(world: World) -> list[str]:
    return ["/", "/days/2026-03-02", "/papers/1", "/search?q=drafts", feed_of(world.logged_in())]


def test_who_has_a_public_page_gets_304_and_no_body(world: World) -> None:
    client = world.client()
    for path in public(world):
        first = client.get(path)
        tag = first.headers["etag"]
        assert first.headers["cache-control"] == "no-cache"
        assert "Cookie" in first.headers["vary"]
        for known in (tag, f'"another", {tag}', tag.removeprefix("W/"), "*"):
            again = client.get(path, headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b""), (path, known)
            assert again.headers["etag"] == tag
            assert again.headers["content-security-policy"]
            assert "content-length" not in again.headers
        for other in ('"another"', tag[:-2] + '"', "", "W/"):
            again = client.get(path, headers={"if-none-match": other})
            assert (again.status_code, again.content) == (200, first.content)


def test_another_page_has_another_tag_and_a_changed_one_too(world: World) -> None:
    client = world.client()
    tags = {client.get(f"/papers/{n}").headers["etag"] for n in (1, 2, 3)}
    assert len(tags) == 3
    feed = feed_of(ada := world.logged_in())
    before = client.get(feed).headers["etag"]
    world.site = type(world.site)(name="Evening papers")
    assert world.client().get(feed).headers["etag"] != before
    assert ada.get(feed).status_code == 200


def test_what_is_known_of_somebody_is_never_kept(world: World) -> None:
    ada = world.logged_in()
    tag = world.client().get("/").headers["etag"]
    linked = ["/v/" + world.vote(), "/p/" + world.token(Purpose.PAPER)]
    for path in ("/", "/preferences", "/papers/1"):
        answer = ada.get(path, headers={"if-none-match": tag})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers
    for path in linked:
        answer = world.client().get(path, headers={"if-none-match": "*"})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"


def test_a_page_that_does_not_exist_is_not_kept(world: World) -> None:
    answer = world.client().get("/papers/999", headers={"if-none-match": "*"})
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"


def test_pages_feeds_and_files_are_compressed_for_who_can_read_that(world: World) -> None:
    client = world.client()
    for path in [*public(world), "/style.css"]:
        short, long = (
            client.get(path, headers=GZIP),
            client.get(path, headers={"accept-encoding": "x"}),
        )
        assert short.headers["content-encoding"] == "gzip", path
        assert "Accept-Encoding" in short.headers["vary"]
        assert "content-encoding" not in long.headers
        # The client has decompressed it.
        assert short.content == long.content
        assert int(short.headers["content-length"]) < len(long.content)
        assert short.headers.get("etag") == long.headers.get("etag")


def test_no_page_with_a_secret_and_something_that_others_choose_is_compressed(world: World) -> None:
    ada = world.logged_in()
    for path in ("/search?q=drafts", "/?category=cs.LG", "/papers/1?x=y"):
        page = ada.get(path, headers=GZIP)
        assert 'name="seal"' in page.text
        assert "content-encoding" not in page.headers, path
    assert ada.get("/", headers=GZIP).headers["content-encoding"] == "gzip"
    answer = ada.post("/preferences", data={"do": "x" * 2_000}, headers=GZIP)
    assert "content-encoding" not in answer.headers
