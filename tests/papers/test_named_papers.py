"""A paper that came because somebody named it is no news, until a list has it, too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.factories import DAY
from tests.support.installation import fetched, installed, rows, stored_papers, take_in
from triage import store
from triage.domain.source_records import FetchedPaper
from triage.papers.search import Search
from triage.store import Database

OLD = date(2017, 6, 12)
NAMED = fetched(1, named=True, listed_on=OLD)
LISTED = fetched(1)
REPLACED = fetched(1, version=2, update_only=True)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def come(database: Database, *papers: FetchedPaper) -> None:
    """Take papers in, one batch each, by the source that such records come from."""
    for paper in papers:
        take_in(database, [paper], origin="named:arxiv" if paper.named else "arxiv")


def news(database: Database, on: date = DAY) -> list[str | None]:
    """Return the ids of what is news of a day, after all that lists it has said the same."""
    with database.read() as conn:
        papers = store.papers.listed_between(conn, on, on)
        page = store.listing_days.papers_between(conn, on, on)
        assert [each.paper for each in page] == papers
        assert sum(store.papers.counts_by_source(conn, on, on).values()) == len(papers)
        assert (store.listing_days.newest(conn) == on) == bool(papers)
        week = store.listing_days.trending(conn, on, on, 100)
        assert {paper.id for paper in week} <= {paper.id for paper in papers}
    return [paper.source_id for paper in papers]


def test_a_named_paper_of_today_is_no_news(database: Database) -> None:
    come(database, fetched(1, named=True, upvotes=99))
    assert news(database) == []
    with database.read() as conn:
        around = store.listing_days.around(conn, DAY - timedelta(days=1))
    assert (around.before, around.after) == (None, None)


def test_a_named_paper_is_found_by_search_and_by_its_id(database: Database) -> None:
    come(database, NAMED)
    [hit] = Search(database).find("speculative decoding")
    assert hit.paper.source_id == NAMED.source_id
    with database.read() as conn:
        assert store.papers.resolve(conn, "arXiv:2603.00001v1") == hit.paper.id


@pytest.mark.parametrize("order", [[NAMED, LISTED], [LISTED, NAMED]])
def test_what_a_list_brings_too_is_news_of_the_lists_day(
    database: Database, order: list[FetchedPaper]
) -> None:
    come(database, *order)
    assert news(database) == ["2603.00001"]
    [paper] = stored_papers(database)
    assert paper.listed_on == DAY


@pytest.mark.parametrize("order", [[NAMED, LISTED], [LISTED, NAMED]])
def test_the_same_words_from_the_same_source_are_two_records(
    database: Database, order: list[FetchedPaper]
) -> None:
    take_in(database, order, origin="one")
    assert news(database) == ["2603.00001"]
    assert len(rows(database, "paper_records")) == 2


@pytest.mark.parametrize("order", [[NAMED, REPLACED], [REPLACED, NAMED]])
def test_a_new_version_makes_no_news_of_an_old_paper(
    database: Database, order: list[FetchedPaper]
) -> None:
    come(database, *order)
    assert news(database) == []
    [paper] = stored_papers(database)
    assert paper.listed_on == OLD


def test_a_named_paper_takes_the_new_version_and_says_when(database: Database) -> None:
    come(database, NAMED, replace(REPLACED, title="All new words here", abstract="Other text."))
    [paper] = stored_papers(database)
    assert (paper.version, paper.title) == (2, "All new words here")
    with database.read() as conn:
        [(_, day)] = store.papers.revised(conn, [paper.id], OLD, DAY)
    assert day == DAY


def test_the_article_of_a_named_preprint_is_one_work_with_it(database: Database) -> None:
    article = fetched(
        1, source="doi", source_id="10.1000/x", version=None, listed_on=DAY, named=True,
        abstract="", venue="Letters",
    )  # fmt: skip
    come(database, replace(NAMED, doi="10.1000/x"), article)
    [paper] = stored_papers(database)
    assert (paper.source_id, paper.venue, paper.abstract) == (
        "2603.00001", "Letters", NAMED.abstract,
    )  # fmt: skip
    assert news(database) == []
    come(database, fetched(1, source="feed:letters", source_id="g1", version=None, doi="10.1000/x"))
    assert news(database) == ["2603.00001"]


def test_a_paper_without_an_abstract_gets_that_of_another_source(database: Database) -> None:
    bare = fetched(1, source="doi", source_id="10.1000/x", version=None, abstract="", named=True)
    come(database, bare)
    assert stored_papers(database)[0].abstract == ""
    come(database, fetched(1, doi="10.1000/x"))
    [paper] = stored_papers(database)
    assert paper.abstract == LISTED.abstract


RECORDS = (
    NAMED,
    replace(NAMED, source="doi", source_id="10.1000/x", version=None, listed_on=date(2018, 1, 1)),
    replace(NAMED, version=3, title="Other words", raw_title="Other words"),
    replace(LISTED, doi="10.1000/x"),
    replace(LISTED, listed_on=DAY - timedelta(days=3), categories=("cs.LG",)),
    REPLACED,
)


@settings(max_examples=25)
@given(st.permutations(RECORDS), st.integers(1, len(RECORDS)))
def test_the_order_of_records_does_not_decide_what_is_news(
    order: list[FetchedPaper], n: int
) -> None:
    come_first = order[:n]
    with TemporaryDirectory() as folder, installed(Path(folder)) as database:
        come(database, *come_first)
        papers = stored_papers(database)
        lists = [each.listed_on for each in come_first if not each.named and not each.update_only]
        with database.read() as conn:
            listed = store.papers.listed_between(conn, OLD, DAY)
        if lists:
            assert {each.listed_on for each in listed} == {min(filter(None, lists))}
        else:
            assert listed == []
            assert all(each.listed_on < DAY for each in papers)
