"""The paper page: everything that the mail had no room for."""

from __future__ import annotations

import re
from pathlib import Path

from tests.web_world import new_world
from triage.records import EventKind
from triage.tokens import Purpose


def test_the_whole_paper_is_shown_with_its_reasons_and_its_own_page(tmp_path: Path) -> None:
    abstract = "A first sentence. " + "And more of it. " * 300 + "The very last sentence."
    names = [f"Author Number {n}" for n in range(70)]
    world = new_world(tmp_path, abstract=abstract, authors=names, comment="14 pages", upvotes=1)
    page = world.client().get("/p/" + world.token(Purpose.PAPER, 2))
    assert page.status_code == 200
    assert abstract in page.text
    assert "Author Number 59" in page.text
    assert "and 10 more" in page.text
    assert "matches “speculative decoding”" in page.text
    assert 'href="https://arxiv.org/abs/2603.00002"' in page.text
    assert "14 pages" in page.text
    assert "1 upvote\n" in page.text.replace("</span>", "\n")
    assert page.text.count("<h1") == 1


def test_its_vote_links_lead_to_the_vote_pages_of_the_same_paper(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    page = world.client().get("/p/" + world.token(Purpose.PAPER, 2))
    tokens = re.findall(r'href="/v/([^"]+)"', page.text)
    found = [world.keyring.verify(token, Purpose.VOTE, world.clock.now()) for token in tokens]
    assert {each.action for each in found} == set(EventKind)
    assert {each.position for each in found} == {2}
    for token in tokens:
        assert world.client().get(f"/v/{token}").status_code == 200
    assert world.events() == []


def test_a_page_gives_votes_no_longer_life_than_the_digest_gave(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    path = "/p/" + world.token(Purpose.PAPER)
    issued_at = world.clock.at
    world.clock.sleep(100 * 86_400)
    token = re.findall(r'href="/v/([^"]+)"', world.client().get(path).text)[0]
    assert world.keyring.verify(token, Purpose.VOTE, world.clock.now()).issued_at == issued_at


def test_a_paper_that_has_only_a_title_is_shown(tmp_path: Path) -> None:
    world = new_world(
        tmp_path, abstract="", authors=[], categories=[], source="listing", source_id=None
    )
    page = world.client().get("/p/" + world.token(Purpose.PAPER))
    assert page.status_code == 200
    assert "no abstract" in page.text
