"""The pages of a feed: well-formed, harmless, and gone when revoked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import feedparser
import httpx
import pytest
from defusedxml.ElementTree import fromstring

from tests.support.web_world import World, add_papers, new_world, paper_row
from triage import store
from triage.domain.link_tokens import Claims, Purpose, redact
from triage.domain.records import Paper
from triage.subscribers import collections, digest_feed, subscriptions
from triage.subscribers.digest_feed import FeedLinks
from triage.web.account import feed

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
    atom, json_feed = asked(world, own.atom), asked(world, own.json)
    assert atom.headers["content-type"].startswith("application/atom+xml")
    assert json_feed.headers["content-type"].startswith("application/feed+json")
    shown = world.slates[0].impressions
    parsed = feedparser.parse(atom.content)
    assert not parsed.bozo
    assert [entry.title for entry in parsed.entries] == [each.paper.title for each in shown]
    items = json_feed.json()["items"]
    assert [item["title"] for item in items] == [each.paper.title for each in shown]
    for entry, item, each in zip(parsed.entries, items, shown, strict=True):
        assert entry.link == item["url"]
        assert entry.link.startswith("https://arxiv.org/abs/")
        assert entry.id == item["id"]
        assert entry.content[0].value == item["content_text"]
        for reason in each.reasons:
            assert reason.text in item["content_text"]
    assert len({item["id"] for item in items}) == len(items)
    assert json_feed.json()["feed_url"] == own.json


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
            assert page.headers["cache-control"] == "no-cache"
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


# -- of collections, searches and categories -------------------------------------------------------


def collection(world: World, name: str = "Thesis", query: str = "", reader: int = 0) -> FeedLinks:
    """Create a collection or a saved search, and return the addresses of its feed."""
    person = world.readers[reader]
    id = collections.create(world.db, world.clock, person, name, query)
    for paper in (1, 2) if not query else ():
        collections.save(world.db, world.clock, person, paper, id)
        world.clock.sleep(60)
    with world.db.read() as conn:
        found = store.collections.find(conn, person.id, id)
    assert found is not None
    claims = Claims(person.public_id, found.created_at, found.public_id)
    return digest_feed.links(world.keyring, claims, world.site.base_url)


def check_feeds(world: World, own: FeedLinks, title: str, papers: list[Paper]) -> None:
    """Check an Atom feed against RFC 4287, and a JSON feed against JSON Feed 1.1."""
    atom, json_feed = asked(world, own.atom), asked(world, own.json)
    assert atom.headers["content-type"].startswith("application/atom+xml")
    assert json_feed.headers["content-type"].startswith("application/feed+json")
    root = fromstring(atom.text)
    for needed in ("id", "title", "updated"):
        assert len(root.findall(f"{ATOM}{needed}")) == 1
    relations = {each.get("rel"): each.get("href") for each in root.findall(f"{ATOM}link")}
    assert relations["self"] == root.findtext(f"{ATOM}id") == own.atom
    parsed = feedparser.parse(atom.content)
    assert not parsed.bozo
    assert parsed.feed.title == f"{title} · {world.site.name}"
    document = json_feed.json()
    assert document["version"] == "https://jsonfeed.org/version/1.1"
    assert (document["title"], document["feed_url"]) == (parsed.feed.title, own.json)
    assert relations["alternate"] == document["home_page_url"]
    assert [entry.title for entry in parsed.entries] == [paper.title for paper in papers]
    for entry, item, paper in zip(parsed.entries, document["items"], papers, strict=True):
        assert entry.id == item["id"] == f"{world.site.base_url}/papers/{paper.id}"
        assert entry.link == item["url"]
        assert entry.updated == item["date_published"]
        assert entry.content[0].value == item["content_text"] == paper.abstract
        assert [each["name"] for each in item["authors"]] == list(paper.authors)
        assert item["tags"] == [tag["term"] for tag in entry.tags] == list(paper.categories)


def test_a_collection_is_a_feed_of_its_papers_newest_first(world: World) -> None:
    own = collection(world)
    check_feeds(world, own, "Thesis", [world.papers[1], world.papers[0]])
    updated = feedparser.parse(asked(world, own.atom).content).feed.updated
    assert updated == "2026-03-02T12:01:00Z"


def test_a_saved_search_is_a_feed_of_its_newest_matches(world: World) -> None:
    own = collection(world, "Three", "q=%22with+3+drafts%22")
    check_feeds(world, own, "Three", [world.papers[2]])


def test_an_empty_feed_is_one(world: World) -> None:
    check_feeds(world, collection(world, "Nothing", "q=zzzz"), "Nothing", [])


def test_the_feed_of_a_collection_says_nothing_of_the_person_and_changes_nothing(
    world: World,
) -> None:
    own = collection(world)
    before = world.everything()
    for url in (own.atom, own.json):
        page = asked(world, url)
        assert "set-cookie" not in page.headers
        assert world.readers[0].email not in page.text
        assert world.readers[0].public_id not in page.text
        assert redact(urlsplit(url).path) == "/f/[token]"
    assert world.everything() == before


def test_a_feed_ends_with_its_collection_and_with_its_subscriber(world: World) -> None:
    own, other = collection(world), collection(world, "Other")
    with world.db.read() as conn:
        [(first, _), *_] = store.collections.of(conn, world.readers[0].id)
    collections.delete(world.db, world.readers[0], first.id, unsaves=True)
    answers = [asked(world, each.atom).status_code for each in (own, other)]
    assert sorted(answers) == [200, 404]
    subscriptions.erase(world.db, world.readers[0].email)
    assert {asked(world, each.json).status_code for each in (own, other)} == {410}


def test_the_feed_of_one_subscriber_opens_none_of_another(world: World) -> None:
    own = collection(world)
    token = own.atom.rpartition("/")[2].removesuffix(".atom")
    claims = world.keyring.verify(token, Purpose.FEED, world.clock.now())
    stolen = replace(claims, subscriber=world.readers[1].public_id)
    url = digest_feed.links(world.keyring, stolen, world.site.base_url).atom
    assert asked(world, url).status_code == 404


@pytest.mark.parametrize(("category", "n"), [("cs.CL", 3), ("cs", 3), ("math.AG", 0), ("cs.LG", 3)])
def test_every_category_has_a_public_feed(world: World, category: str, n: int) -> None:
    newest = list(reversed(world.papers))[:n]
    check_feeds(world, feed.category_links(world.site.base_url, category), category, newest)


def test_categories_of_other_archives_have_feeds_if_papers_are_in_them(world: World) -> None:
    row = paper_row(70, source="biorxiv", categories=["cell biology"])
    [paper] = add_papers(world.db, [row])
    own = feed.category_links(world.site.base_url, "cell biology")
    check_feeds(world, own, "cell biology", [paper])


@pytest.mark.parametrize(
    "category", ["cs.XX", "cs.cl", "biology", "cell", "%00", "%2e%2e", "'", "x" * 300, "c.s.CL"]
)
def test_an_unknown_category_has_no_feed(world: World, category: str) -> None:
    add_papers(world.db, [paper_row(70, categories=["cell biology"])])
    for kind in ("atom", "json"):
        assert world.client().get(f"/categories/{category}.{kind}").status_code == 404


def test_papers_that_only_people_named_are_in_no_public_feed(world: World) -> None:
    add_papers(world.db, [paper_row(60, is_listed=False, categories=["cs.IR"])])
    own = feed.category_links(world.site.base_url, "cs.IR")
    assert asked(world, own.json).json()["items"] == []


def test_the_page_of_a_category_names_its_feed(world: World) -> None:
    for path in ("/days/2026-03-02?category=cs.CL", "/search?category=cs.CL"):
        page = world.client().get(path).text
        assert 'rel="alternate" type="application/atom+xml"' in page
        assert 'href="/categories/cs.CL.atom"' in page
    for path in (
        "/days/2026-03-02", "/days/2026-03-02?category=cs.XX", "/search?category=cs.XX",
        "/search?q=drafts&category=cs.CL", "/search?category=cs.CL+cs.LG",
    ):  # fmt: skip
        assert 'rel="alternate"' not in world.client().get(path).text
