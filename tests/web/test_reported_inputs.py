"""Files and feeds that users of other programs reported, as the pages show them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import fetched, take_in
from tests.support.paths import DATA
from tests.support.web_world import Visitor, World, new_world
from tests.web.account.test_library_upload import bring
from triage.domain.source_records import Batch
from triage.papers.ingest import ingest
from triage.sources.feed.source import FeedSource
from triage.sources.files.detect import open_source
from triage.sources.http.client import Answer
from triage.web.browse import CACHE_FOR

URL = "https://journal.example/feed"
SEEDS = (
    ("arxiv", "2401.00011", "β-VAE-Net: Learning α-divergence bounds in O(n log n) time"),
    ("arxiv", "2401.00012", "A second paper of everybody"),
    ("biorxiv", "10.1101/2024.01.02.573999", "Gene drives in mosquitoes of the laboratory"),
    ("doi", "10.1145/3292500.3330701", "A framework for tuning of everything"),
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


@pytest.fixture
def ada(world: World) -> Visitor:
    return world.logged_in()


@pytest.fixture
def seeded(world: World) -> None:
    papers = [
        fetched(n, source=source, source_id=id, title=title, raw_title=title, abstract=f"Text {n}.")
        for n, (source, id, title) in enumerate(SEEDS, 50)
    ]
    take_in(world.db, papers)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("mathematics.bib", ("1 new like", "1 is a paper that this site does not have yet")),
        ("dressed_dois.bib", ("2 new likes", "4 had a vote of yours already")),
        ("dates.ris", ("No new likes", "3 are papers that this site does not have yet")),
        ("loose.ris", ("1 is a paper that this site", "A title that is long enough")),
        ("ty_late.ris", ("2 are papers", "Habitat use of baboons number 1")),
        ("remarks.bib", ("2 new likes", "1 is a paper", "A third paper of mine")),
        ("aps.bib", ("1 is a paper", "Testing ⁴He at √s=13 TeV with Bi₂Se₃")),
        ("list_invisible.txt", ("2 new likes",)),
        ("list_links.txt", ("2 new likes", "1 is a paper")),
        ("list_powershell.txt", ("2 new likes",)),
        ("list_stamps.txt", ("2 new likes",)),
    ],
)
def test_a_reported_library_is_read_by_the_import_page(
    ada: Visitor, file: str, said: tuple[str, ...]
) -> None:
    page = bring(ada, (DATA / "libraries" / file).read_bytes())
    assert page.status_code == 200
    for each in said:
        assert each in page.text


@pytest.mark.parametrize(
    ("file", "n_papers", "titles"),
    [
        ("feed_html_entities.xml", 3, ["A study of sorting number 2"]),
        ("feed_bare_ampersand.xml", 3, ["&amp;"]),
        ("feed_undeclared_prefix.xml", 2, ["Ada Lovelace"]),
        ("feed_gb2312.xml", 1, ["排序网络研究"]),
        ("feed_wrong_coding.xml", 1, []),
        ("feed_one_guid.xml", 3, []),
        ("feed_one_link.xml", 3, []),
        ("feed_highwire.xml", 1, []),
        ("feed_links_of_publishers.xml", 8, []),
        ("feed_author_atom.xml", 1, ["Ada Lovelace"]),
        ("feed_author.json", 1, ["Ada Lovelace"]),
        ("feed_dates.xml", 5, []),
        ("feed_without_abstracts.xml", 9, []),
        ("feed_twice_escaped.xml", 1, ["E. coli sorting in CO₂"]),
        ("feed_doctype.xml", 1, []),
    ],
)
def test_the_papers_of_a_reported_feed_are_on_their_pages(
    world: World, ada: Visitor, file: str, n_papers: int, titles: list[str]
) -> None:
    class Client:
        def get(self, *_: object, **__: object) -> Answer:
            return Answer(200, (DATA / file).read_bytes())

    source = FeedSource(Client(), "journal", URL, DAY)  # type: ignore[arg-type]
    found: list[Batch] = []
    fetch = source.fetch
    source.fetch = lambda cursor: (found.append(each) or each for each in fetch(cursor))  # type: ignore[method-assign,func-returns-value]
    for _ in ingest(world.db, source, StoppedClock(NOON), resume=True):
        pass
    papers = [paper for batch in found for paper in batch.papers]
    assert len(papers) == n_papers
    world.clock.sleep(CACHE_FOR.total_seconds())
    pages = {day: ada.get(f"/days/{day}").text for day in {paper.listed_on for paper in papers}}
    for paper in papers:
        assert paper.title.partition("&")[0] in pages[paper.listed_on]
    for title in titles:
        assert any(title in text for text in pages.values())


def test_the_papers_of_a_dump_are_on_the_pages_of_their_own_days(
    world: World, ada: Visitor
) -> None:
    dump = open_source(DATA / "dump_kaggle_paperscraper.jsonl", DAY)
    for _ in ingest(world.db, dump, StoppedClock(NOON), resume=False):
        pass
    assert "Calculation of cross sections at colliders" in ada.get("/days/2007-04-02").text
    assert "A preprint on gene drives" in ada.get(f"/days/{date(2024, 1, 2)}").text
