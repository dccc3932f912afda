"""What the records of one work say together."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import DAY
from tests.support.installation import fetched, unnamed
from triage.domain.source_records import FetchedPaper
from triage.papers.merge_records import merge_records
from triage.sources.text.cleaning import normalise
from triage.sources.text.withdrawal import says_withdrawn

ONE_DAY = timedelta(days=1)
LONG = "Drafts of any length make decoding faster at no loss, which we show in nine experiments."


def test_the_newest_version_in_the_foremost_archive_speaks() -> None:
    published = fetched(9, source="doi", source_id="10.1/x", version=None, title="Final")
    known = merge_records([published, fetched(1), unnamed(1), fetched(1, version=3, title="Third")])
    assert (known["source"], known["source_id"], known["version"]) == ("arxiv", "2603.00001", 3)
    assert (known["title"], known["title_key"]) == ("Third", "third")


def test_others_fill_its_gaps_and_counts_are_the_largest() -> None:
    known = merge_records(
        [
            fetched(1, authors=(), categories=("cs.CL", "cs.AI"), upvotes=3),
            unnamed(1, tldr="Drafts help.", upvotes=31, categories=("cs.LG",), citations=2),
            fetched(1, version=None, venue="Drafting", listed_on=DAY - ONE_DAY, upvotes=0),
        ]
    )
    assert known["authors"] == ["Ada Lovelace"]
    assert known["categories"] == ["cs.CL", "cs.AI", "cs.LG"]
    assert (known["tldr"], known["venue"]) == ("Drafts help.", "Drafting")
    assert (known["upvotes"], known["citations"]) == (31, 2)
    assert known["listed_on"] == DAY - ONE_DAY


def test_a_record_without_a_title_only_adds() -> None:
    deleted = fetched(1, version=None, title="", abstract="", withdrawn=True)
    known = merge_records([deleted, fetched(1)])
    assert known["title"] == fetched(1).title
    assert known["withdrawn"]


def test_a_paper_is_withdrawn_as_long_as_its_newest_version_is() -> None:
    withdrawn = fetched(1, version=2, withdrawn=True)
    assert merge_records([fetched(1), withdrawn])["withdrawn"]
    assert not merge_records([fetched(1), withdrawn, fetched(1, version=3)])["withdrawn"]


def test_a_version_that_says_something_else_is_a_revision_of_its_day() -> None:
    first = fetched(1, abstract=LONG)
    typo = fetched(1, version=2, abstract=LONG.replace("nine", "ten"), listed_on=DAY + ONE_DAY)
    major = fetched(1, version=3, abstract="Drafts do harm.", listed_on=DAY + 2 * ONE_DAY)
    renamed = fetched(1, version=2, abstract=LONG, title="No drafts", listed_on=DAY + ONE_DAY)
    assert merge_records([first])["revised_on"] is None
    assert merge_records([first, typo])["revised_on"] is None
    half = fetched(1, version=2, abstract=LONG[:40], listed_on=DAY + ONE_DAY)
    assert merge_records([first, half])["revised_on"] == DAY + ONE_DAY
    assert merge_records([first, renamed])["revised_on"] == DAY + ONE_DAY
    assert merge_records([major, typo, first])["revised_on"] == DAY + 2 * ONE_DAY
    again = fetched(1, version=4, abstract="Drafts do harm.", listed_on=DAY + 9 * ONE_DAY)
    assert merge_records([first, typo, major, again])["revised_on"] == DAY + 2 * ONE_DAY


@st.composite
def records(draw: st.DrawFn) -> list[FetchedPaper]:
    """Return records that may say anything, the same version in different words for one."""

    def word() -> str:
        return draw(st.sampled_from(["", "a", "b", "A b", "c d e"]))

    return [
        fetched(
            1,
            source=draw(st.sampled_from(["arxiv", "doi", "feed:x"])),
            source_id=draw(st.sampled_from([None, "1", "2"])),
            version=draw(st.sampled_from([None, 1, 2])),
            title=word(),
            abstract=word(),
            authors=tuple(draw(st.lists(st.sampled_from("AB"), max_size=2))),
            categories=tuple(draw(st.sets(st.sampled_from("xyz")))),
            comment=word(),
            tldr=word(),
            venue=word(),
            upvotes=draw(st.sampled_from([None, 0, 3])),
            withdrawn=draw(st.booleans()),
            listed_on=DAY + draw(st.integers(0, 3)) * ONE_DAY,
        )
        for _ in range(draw(st.integers(1, 5)))
    ]


@given(st.data())
def test_the_order_of_records_does_not_matter_nor_how_often_they_come(data: st.DataObject) -> None:
    said = data.draw(records())
    again = data.draw(st.permutations(said + said[:2]))
    assert merge_records(said) == merge_records(again)


@pytest.mark.parametrize(
    ("abstract", "comment"),
    [
        ("", "This paper has been withdrawn by the authors due to an error in Lemma 2"),
        ("", "Withdrawn due to a crucial sign error in equation 1"),
        ("", "9 pages. This submission has been withdrawn by arXiv administrators"),
        ("", "The authors have decided to withdraw this paper"),
        ("", "withdrawn"),
        ("This paper has been withdrawn by the author.", ""),
        ("The article was temporarily withdrawn because of a gap in the proof.", ""),
        ("", "This paper's ground truth data contains errors and needs to be withdrawn"),
    ],
)
def test_a_record_says_that_its_paper_was_withdrawn(abstract: str, comment: str) -> None:
    assert says_withdrawn(abstract, comment)


def test_every_source_hears_it() -> None:
    told = {"source": "arxiv", "source_id": "2603.00001", "title": "Drafts", "abstract": "Of them."}
    assert not normalise(FetchedPaper(**told)).withdrawn
    assert normalise(
        FetchedPaper(**told, comment="This paper has been withdrawn by the author")
    ).withdrawn


@pytest.mark.parametrize(
    ("abstract", "comment"),
    [
        ("", ""),
        ("We study why papers are withdrawn.", "9 pages, data withdrawn from the archive"),
        ("Drugs that have been withdrawn are listed. This paper tells why.", ""),
        ("The work has been drawn from many sources.", "Drawn with care"),
        ("", "Withdrawn from another venue, now at this one"),
    ],
)
def test_what_speaks_of_withdrawing_is_not_withdrawn(abstract: str, comment: str) -> None:
    assert not says_withdrawn(abstract, comment)
