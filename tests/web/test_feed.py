"""The pages of a feed: well-formed, harmless, and gone when revoked."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import feedparser
import httpx
import pytest
from defusedxml.ElementTree import fromstring

from tests.support.web_world import World, new_world
from triage.domain.link_tokens import Purpose, redact
from triage.subscribers import digest_feed
from triage.subscribers.digest_feed import FeedLinks

HOSTILE = '<script>alert(1)</script> & "\x00\x0b]]>\u202e'
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def links(world: World, reader: int = 0) -> FeedLinks:
    person = world.readers[reader]
    return digest_feed.get_or_create_feed(
        world.db, world.clock, world.keyring, person, world.site.base_url
    )


def asked(world: World, url: str, method: str = "GET") -> httpx.Response:
    return world.client().request(method, urlsplit(url).path)


def test_atom_and_json_hold_the_papers_with_their_reasons(world: World) -> None:
    own = links(world)
    atom, feed = asked(world, own.atom), asked(world, own.json)
    assert atom.headers["content-type"].startswith("application/atom+xml")
    assert feed.headers["content-type"].startswith("application/feed+json")
    shown = world.slates[0].impressions
    parsed = feedparser.parse(atom.content)
    assert not parsed.bozo
    assert [entry.title for entry in parsed.entries] == [each.paper.title for each in shown]
    items = feed.json()["items"]
    assert [item["title"] for item in items] == [each.paper.title for each in shown]
    for entry, item, each in zip(parsed.entries, items, shown, strict=True):
        assert entry.link == item["url"]
        assert entry.link.startswith("https://arxiv.org/abs/")
        assert entry.id == item["id"]
        assert entry.content[0].value == item["content_text"]
        for reason in each.reasons:
            assert reason.text in item["content_text"]
    assert len({item["id"] for item in items}) == len(items)
    assert feed.json()["feed_url"] == own.json


def test_a_feed_holds_no_link_that_acts_and_nothing_of_the_person(world: World) -> None:
    for url in (links(world).atom, links(world).json):
        page = asked(world, url)
        rest = page.text.replace(url, "")
        assert "/v/" not in rest
        assert "/u/" not in rest
        assert "v1." not in rest.replace(links(world).atom, "")
        assert world.readers[0].email not in page.text


def test_reading_a_feed_changes_nothing_and_sets_no_cookie(world: World) -> None:
    own = links(world)
    before = world.everything()
    for url in (own.atom, own.json):
        for method in ("GET", "HEAD"):
            page = asked(world, url, method)
            assert page.status_code == 200
            assert "set-cookie" not in page.headers
            assert page.headers["cache-control"] == "no-store"
        for method in ("POST", "PUT", "DELETE"):
            assert asked(world, url, method).status_code in {403, 405}
    assert world.everything() == before


def test_a_revoked_feed_leads_nowhere(world: World) -> None:
    own = links(world)
    digest_feed.revoke(world.db, world.readers[0])
    assert asked(world, own.atom).status_code == 404
    assert asked(world, own.json).status_code == 404
    assert asked(world, links(world).atom).status_code == 200


def test_no_other_token_opens_a_feed_and_a_feed_opens_nothing_else(world: World) -> None:
    own = links(world)
    token = own.atom.rpartition("/")[2].removesuffix(".atom")
    for purpose in Purpose:
        if purpose is not Purpose.FEED:
            assert asked(world, f"/f/{world.token(purpose)}.atom").status_code == 404
    for page in ("v", "u", "p", "c", "l"):
        assert asked(world, f"/{page}/{token}").status_code in {404, 410}
    assert asked(world, own.atom.replace(token, token[:-2] + "zz")).status_code == 404
    assert asked(world, own.atom.removesuffix(".atom")).status_code == 404


def test_the_address_stands_in_no_log(world: World) -> None:
    path = urlsplit(links(world).atom).path
    assert redact(path) == "/f/[token]"


def test_whatever_stands_in_a_paper_the_feed_is_well_formed(tmp_path: Path) -> None:
    world = new_world(tmp_path, title=HOSTILE, abstract=HOSTILE, authors=[HOSTILE])
    own = links(world)
    root = fromstring(asked(world, own.atom).text)
    titles = [each.findtext(f"{ATOM}title") for each in root.iter(f"{ATOM}entry")]
    assert titles
    assert all(title.startswith("<script>alert(1)</script> & ") for title in titles)
    assert json.loads(asked(world, own.json).content)["items"][0]["title"].startswith("<script>")
