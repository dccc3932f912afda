"""The paper page, as a digest leads to it and as anybody may see it, with papers like it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from sqlalchemy import select

from tests.support.factories import DAY
from tests.support.web_world import World, add_papers, new_world, paper_row
from triage import store
from triage.domain.link_tokens import Purpose
from triage.domain.paper_outcome import DigestFilter, Outcome, PaperOutcome
from triage.domain.records import EventKind
from triage.store.tables import events, papers
from triage.subscribers.bibliography import entries
from triage.web.account.signup import PREVIEWS


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
    for n in range(70):
        assert f'href="/authors?name=Author%20Number%20{n}"' in page.text
    assert "50 more authors" in page.text
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


def test_a_link_of_a_digest_shows_the_same_page_as_the_papers_own_address(world: World) -> None:
    own, linked = (
        BeautifulSoup(world.client().get(path).text, "html.parser").main
        for path in ("/papers/2", "/p/" + world.token(Purpose.PAPER, 2))
    )
    assert own is not None
    assert linked is not None
    # Only the votes and the reasons are those of the digest.
    for part in linked.select("nav.votes, section.why"):
        part.decompose()
    assert own.get_text().split() == linked.get_text().split()
    # The token goes nowhere else, so that whoever logs in or shares a link does not pass it on.
    assert world.token(Purpose.PAPER, 2) not in str(linked)


def test_who_is_logged_in_sees_the_reasons_of_their_own_digest(world: World) -> None:
    with world.db.write() as conn:
        shown = store.tables.impressions
        conn.execute(
            shown.update()
            .where(shown.c.subscriber_id == 2)
            .values(reasons=[["words", "for the other one"]])
        )
    mine = world.logged_in().get("/papers/1").text
    assert "matches “speculative decoding”" in mine
    assert "for the other one" not in mine
    assert "for the other one" in world.logged_in(1).get("/papers/1").text
    assert "Why it was sent" not in world.logged_in(1).get("/papers/3").text
    assert "Why it was sent" not in world.client().get("/papers/1").text


def test_a_digests_link_leads_who_is_logged_in_to_the_papers_own_address(world: World) -> None:
    for reader in (0, 1):
        answer = world.logged_in(reader).get("/p/" + world.token(Purpose.PAPER, 3))
        assert answer.status_code == 303
        # The digest is that of the first one. The other one gets their own votes, and no reasons.
        page = world.logged_in(reader).get(answer.headers["location"])
        assert page.request.url.path == "/papers/3"
        assert ("matches “speculative decoding”" in page.text) == (reader == 0)
        assert "/v/" not in page.text
        assert page.text.count(world.readers[0].email) == (reader == 0)


def test_a_digests_link_to_a_paper_that_became_another_goes_on_working(world: World) -> None:
    with world.db.write() as conn:
        conn.execute(papers.update().where(papers.c.id == 1).values(merged_into=2))
    page = world.client().get("/p/" + world.token(Purpose.PAPER, 1))
    assert world.papers[1].title in page.text
    assert page.text.count('href="/v/') == 4


def test_looking_changes_nothing(world: World) -> None:
    ada, before = world.logged_in(), world.everything()
    for path in ("/papers/1", "/p/" + world.token(Purpose.PAPER), "/papers/1/cite.bib"):
        assert ada.get(path).status_code in {200, 303}
        assert world.client().get(path).status_code == 200
    assert world.everything() == before


def test_a_paper_that_has_only_a_title_is_shown(tmp_path: Path) -> None:
    world = new_world(
        tmp_path, abstract="", authors=[], categories=[], source="listing", source_id=None
    )
    page = world.client().get("/p/" + world.token(Purpose.PAPER))
    assert page.status_code == 200
    assert "no abstract" in page.text
    assert "Search for the paper" in page.text


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
        *("@inproceedings{lovelace2026speculative,", "TY  - CONF", '<dd><span dir="auto">ICML'),
        *('href="/papers/2"', 'href="/papers/3"', 'href="/login?next=/papers/1"'),
        *('href="/authors?name=Charles%20Babbage"', 'href="/?category=cs.CL"'),
    ):
        assert told in page.text
    assert "evil" not in page.text
    assert 'name="vote"' not in page.text
    for other in ("/", "/search?q=drafts"):
        assert 'href="/papers/1"' in world.client().get(other).text


def test_code_and_models_are_linked_wherever_they_are_named(tmp_path: Path) -> None:
    world = new_world(
        tmp_path,
        comment="Code: https://github.com/ada/engine",
        abstract="Weights at (huggingface.co/ada/gpt). Not javascript:alert(1) or http://10.0.0.1/.",
    )
    page = world.client().get("/papers/1").text
    for address, label in (
        ("https://github.com/ada/engine", "Code: ada/engine"),
        ("https://huggingface.co/ada/gpt", "Model: ada/gpt"),
    ):
        assert f'<a href="{address}" rel="noopener noreferrer">{label}</a>' in page
    assert 'href="javascript' not in page
    assert 'href="http:' not in page


def test_each_link_is_on_the_page_once(world: World) -> None:
    page = BeautifulSoup(world.client().get("/papers/1").text, "html.parser")
    addresses = [str(a["href"]) for a in page.select("article.paper a[href^=http]")]
    assert sorted(addresses) == [
        "https://arxiv.org/abs/2603.00001",
        "https://arxiv.org/html/2603.00001",
        "https://arxiv.org/pdf/2603.00001",
    ]


def test_links_of_authors_and_categories_lead_to_pages_with_the_paper(tmp_path: Path) -> None:
    world = new_world(
        tmp_path, authors=["Ada O'Neil-Łu & Co.", "王小明"], categories=["cell biology"]
    )
    page = BeautifulSoup(world.client().get("/papers/1").text, "html.parser")
    links = [str(a["href"]) for a in page.select(".authors a, a.category")]
    assert len(links) == 3
    for link in links:
        answer = world.client().get(link)
        assert answer.status_code == 200
        assert 'href="/papers/1"' in answer.text


@pytest.mark.parametrize(("ending", "kind"), [("bib", "x-bibtex"), ("ris", "x-research-info")])
def test_the_citation_is_a_field_to_copy_and_a_file(world: World, ending: str, kind: str) -> None:
    page = BeautifulSoup(world.client().get("/papers/2").text, "html.parser")
    field = page.select_one(f"textarea#cite-{ending}[readonly]")
    assert field is not None
    assert page.select_one(f"label[for=cite-{ending}]") is not None
    file = world.client().get(f"/papers/2/cite.{ending}")
    assert kind in file.headers["content-type"]
    assert file.headers["content-disposition"] == (
        f'attachment; filename="lovelace2026speculative.{ending}"'
    )
    for text in (field.get_text(), file.text):
        [entry] = entries.read(text)
        assert entry.ids == (("arxiv", "2603.00002"),)
    assert world.papers[1].abstract in file.text
    for path in ("/papers/2/cite.txt", f"/papers/77/cite.{ending}", f"/papers/x/cite.{ending}"):
        assert world.client().get(path).status_code == 404


def test_the_doi_of_a_citation_is_that_of_the_article(world: World) -> None:
    with world.db.write() as conn:
        keys = [(("doi", doi), 1) for doi in ("10.48550/arxiv.2603.00001", "10.5555/yarn")]
        store.papers.add_ids(conn, keys)
    text = world.client().get("/papers/1/cite.bib").text
    assert "doi = {10.5555/yarn}" in text
    assert "10.48550" not in text


def test_the_year_is_that_of_the_publication(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    [old] = add_papers(
        world.db,
        [paper_row(9, source_id="1706.03762", title="Attention", authors=["Ashish Vaswani"])],
    )
    page = world.client().get(f"/papers/{old.id}").text
    assert "vaswani2017attention" in page
    assert "<dd>June 2017</dd>" in page


def test_what_is_escaped_in_bibtex_cannot_leave_its_field(tmp_path: Path) -> None:
    world = new_world(tmp_path, title="</textarea><script>alert(1)</script>")
    assert "<script>" not in world.client().get("/papers/1").text


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
    assert "Similar papers" not in page.text


def test_who_is_logged_in_votes_changes_it_and_takes_it_back(world: World) -> None:
    ada = world.logged_in()
    page = ada.get("/papers/1")
    assert world.events() == []
    page = ada.submit(page, EventKind.SAVE)
    assert "Saved." in page.text
    assert page.text.count('aria-pressed="true"') == 1
    page = ada.submit(page, EventKind.VOTE_DOWN)
    assert world.events() == [(1, 1, EventKind.SAVE), (1, 1, EventKind.VOTE_DOWN)]
    assert "Not for me, 2026" in ada.get("/likes").text
    page = ada.submit(page, "none")
    assert "Your vote was removed" in page.text
    assert world.events() == [(1, 1, EventKind.SAVE)]
    assert "It is not saved any more" in ada.submit(page, "unsave").text
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
    assert "<script>" not in page.text
    assert world.everything() == before


def test_the_reasons_are_not_computed_for_a_crowd_of_requests(world: World) -> None:
    ada = world.logged_in()
    answers = [ada.get("/papers/1/why").status_code for _ in range(PREVIEWS.most + 2)]
    assert answers == [200] * PREVIEWS.most + [429, 429]
    refused = ada.get("/papers/1/why")
    assert refused.headers["retry-after"] == "60"
    assert "Please try again in 60 seconds." in refused.text
    world.clock.sleep(60)
    assert ada.get("/papers/1/why").status_code == 200
