"""The paper page, as a digest leads to it and as anybody may see it, with papers like it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.support.factories import DAY
from tests.support.web_world import World, add_papers, new_world, paper_row
from triage import store
from triage.domain.link_tokens import Purpose
from triage.domain.paper_outcome import DigestFilter, Outcome, PaperOutcome
from triage.domain.records import EventKind
from triage.store.tables import events, papers
from triage.web.signup import PREVIEWS_A_MINUTE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


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


# -- as anybody may see it -------------------------------------------------------------------------


def test_anybody_sees_the_paper_where_it_stands_and_what_is_like_it(world: World) -> None:
    with world.db.write() as conn:
        told = {"tldr": "Shorter.", "venue": "ICML", "citations": 3, "upvotes": 12}
        store.works.save(conn, [(1, told)])
        store.papers.add_ids(conn, [(("doi", "10.5555/yarn"), 1), (("doi", "../evil"), 1)])
    page = world.client().get("/papers/1")
    assert page.status_code == 200
    for told in (
        *("Shorter.", "ICML", "3 times", "12 upvotes", world.papers[0].abstract),
        *('href="https://arxiv.org/abs/2603.00001"', 'href="https://arxiv.org/pdf/2603.00001"'),
        *('href="https://doi.org/10.5555/yarn"', 'href="https://huggingface.co/papers/2603.00001"'),
        *("@article{arxiv:2603.00001", 'href="/papers/2"', 'href="/papers/3"', 'href="/login"'),
    ):
        assert told in page.text
    assert "evil" not in page.text
    assert 'name="vote"' not in page.text
    for other in ("/", "/search?q=drafts"):
        assert 'href="/papers/1"' in world.client().get(other).text


@pytest.mark.parametrize("number", ["0", "77", "x", "-1", "1.0", "٣", "9" * 19, "1%00"])
def test_what_is_no_paper_is_no_page(world: World, number: str) -> None:
    assert world.client().get(f"/papers/{number}").status_code == 404


def test_a_paper_that_became_another_is_shown_as_that(world: World) -> None:
    with world.db.write() as conn:
        conn.execute(papers.update().where(papers.c.id == 1).values(merged_into=2))
    page = world.client().get("/papers/1").text
    assert world.papers[1].title in page
    assert 'href="https://arxiv.org/pdf/2603.00001"' in page


def test_a_withdrawn_paper_says_so(world: World) -> None:
    with world.db.write() as conn:
        store.works.save(conn, [(1, {"withdrawn_at": world.clock.now()})])
    page = world.client().get("/papers/1")
    assert "was withdrawn" in page.text
    assert "like this one" not in page.text


def test_who_is_logged_in_votes_changes_it_and_takes_it_back(world: World) -> None:
    ada = world.logged_in()
    page = ada.get("/papers/1")
    assert world.events() == []
    page = ada.submit(page, EventKind.SAVE)
    assert "Saved." in page.text
    assert page.text.count('aria-pressed="true"') == 1
    page = ada.submit(page, EventKind.VOTE_DOWN)
    assert world.events() == [(1, 1, EventKind.SAVE), (1, 1, EventKind.VOTE_DOWN)]
    assert world.papers[0].title not in ada.get("/likes").text
    assert "Your vote was removed" in ada.submit(page, "none").text
    assert world.events() == []


def test_a_vote_counts_for_the_digest_that_showed_the_paper(world: World) -> None:
    [other] = add_papers(world.db, [paper_row(9)])
    ada = world.logged_in()
    for id in (2, other.id):
        ada.submit(ada.get(f"/papers/{id}"), EventKind.VOTE_UP)
    with world.db.read() as conn:
        stored = [tuple(row) for row in conn.execute(select(events.c.paper_id, events.c.slate_id))]
        [evidence] = conn.scalars(select(events.c.evidence).where(events.c.paper_id == other.id))
    assert stored == [(2, 1), (other.id, None)]
    assert evidence["method"] == "paper page"


@pytest.mark.parametrize("vote", ["", "click", "VOTE_UP"])
def test_what_is_no_vote_changes_nothing(world: World, vote: str) -> None:
    ada = world.logged_in()
    page, before = ada.get("/papers/1"), world.everything()
    assert "Saved." not in ada.submit(page, EventKind.SAVE, vote=vote).text
    assert world.everything() == before


# -- why it was or was not in a digest -------------------------------------------------------------


def test_only_who_is_logged_in_is_led_to_the_reasons(world: World) -> None:
    link = 'href="/papers/1/why"'
    assert link not in world.client().get("/papers/1").text
    assert link in world.logged_in().get("/papers/1").text
    assert world.client().get("/papers/1/why").status_code == 303
    assert world.logged_in().get("/papers/99/why").status_code == 404


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (
            PaperOutcome(Outcome.SHOWN, DAY, score=0.5, reasons=("by Ada Lovelace",)),
            ('href="/digests/2026-03-02"', "2 March 2026", "Why it was sent", "By Ada Lovelace."),
        ),
        (PaperOutcome(Outcome.SHOWN, DAY), ("papers that you had missed",)),
        (
            PaperOutcome(Outcome.RANKED, DAY, 57, 1812, 0.0314, ("by Ada Lovelace",)),
            ("57 of 1,812", "0.031", "By Ada Lovelace."),
        ),
        (
            PaperOutcome(
                Outcome.FILTERED, DAY, reasons=("it has <b>",), filter=DigestFilter.KEYWORD
            ),
            ("could not be in your digest of 2 March", "It has &lt;b&gt;.", "/preferences"),
        ),
        (
            PaperOutcome(
                Outcome.FILTERED, reasons=("it was withdrawn",), filter=DigestFilter.WITHDRAWN
            ),
            ("could not be in any digest", "It was withdrawn."),
        ),
        (PaperOutcome(Outcome.UNKNOWN, DAY), ("cannot say yet",)),
    ],
)
def test_the_page_says_why(world: World, outcome: PaperOutcome, told: tuple[str, ...]) -> None:
    world.outcome = outcome
    ada, before = world.logged_in(), world.everything()
    page = ada.get("/papers/1/why")
    assert page.status_code == 200
    assert world.papers[0].title in page.text
    for each in told:
        assert each in page.text
    assert "<script" not in page.text
    assert world.everything() == before


def test_the_reasons_are_not_computed_for_a_crowd_of_requests(world: World) -> None:
    ada = world.logged_in()
    answers = [ada.get("/papers/1/why").status_code for _ in range(PREVIEWS_A_MINUTE + 2)]
    assert answers == [200] * PREVIEWS_A_MINUTE + [429, 429]
    world.clock.sleep(60)
    assert ada.get("/papers/1/why").status_code == 200
