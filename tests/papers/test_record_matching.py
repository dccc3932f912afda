"""Which records are of one work though no id says so, and which only look like it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.identity import judged, scores
from benchmarks.pairs import PAPERS, corpus, pairs
from tests.support.installation import fetched, installed
from triage.domain.source_records import FetchedPaper
from triage.papers.record_matching import RecordTraits, match_reason

TITLE = "LinguaLinked: Distributed Inference of Large Language Models on Phones"
ABSTRACT = (
    "Deploying large language models locally on mobile devices is hard because of their memory"
    " requirements. We introduce a system for distributed inference on several trusted devices."
    " It segments models to fit each device, moves data between segments in order, and balances"
    " the load while it runs. Measured on old and new phones it is faster than the baseline."
)
OTHER_ABSTRACT = (
    "We study how often two coins that are tossed by strangers agree. A bound is given that no"
    " earlier proof reached, and three examples show that it is tight wherever it matters to us."
)
AUTHORS = ("Junchen Zhao", "Yurun Song", "Ian G. Harris", "Sangeetha Abdu Jyothi")


def preprint(**fields: object) -> FetchedPaper:
    return fetched(1, **({"title": TITLE, "abstract": ABSTRACT, "authors": AUTHORS} | fields))


def article(**fields: object) -> FetchedPaper:
    """Return the same work as another archive has it."""
    defaults = {"source": "feed:journal", "source_id": "https://journal.example/7", "version": None}
    return preprint(**(defaults | fields))


def why(one: FetchedPaper, other: FetchedPaper) -> str:
    """Return the reason, which must be the same from both sides; with one there is a mark."""
    first, second = RecordTraits(one), RecordTraits(other)
    told = match_reason(first, second)
    assert told == match_reason(second, first)
    assert not told or first.blocking_keys & second.blocking_keys
    return told


@pytest.mark.parametrize(
    "authors",
    [
        AUTHORS,
        ("Zhao, J.", "Song, Y.", "Harris, I. G.", "Abdu Jyothi, S."),
        ("Zhao J", "Song Y", "Harris IG", "Abdu Jyothi S"),
        ("J. Zhao", "Y. Song", "I. Harris", "S. Jyothi"),
        tuple(reversed(AUTHORS)),
        ("Junchen Zhao", "et al."),
        ("Zhao, J. et al.",),
        ("Zhao", "Song", "Harris", "Jyothi"),
    ],
)
def test_authors_are_the_same_in_every_form(authors: tuple[str, ...]) -> None:
    assert why(preprint(), article(authors=authors))


@pytest.mark.parametrize(
    "title",
    [
        TITLE.upper(),
        "LinguaLinked",
        "LinguaLinked: Distributed Inference of $\\textbf{Large}$ Language Models on Phones",
        "LinguaLinked: Distributed Inference of Large Language Models on Mobile Phones and Tablets",
        "Distributed Inference of Large Language Models on Phones",
        "LinguaLinked — Distribüted Inference of Large Language Models on Phones",
    ],
)
def test_a_title_may_be_edited(title: str) -> None:
    assert why(preprint(), article(title=title))


def test_an_abstract_may_be_edited_and_wrapped() -> None:
    edited = ABSTRACT.replace("We introduce", "Here we present").replace(" old and new", "")
    assert why(preprint(), article(abstract=edited.replace(" ", "\n")))


def test_what_has_another_title_needs_the_same_abstract_and_authors() -> None:
    renamed = "Phones Together: LinguaLinked Runs What One Device Cannot"
    assert why(preprint(), article(title=renamed))
    assert not why(preprint(), article(title=renamed, authors=AUTHORS[:2]))
    assert not why(preprint(), article(title=renamed, abstract=OTHER_ABSTRACT))


def test_title_and_authors_are_enough_where_there_is_no_abstract_for_a_few_years() -> None:
    bare = article(abstract="", listed_on=date(2026, 4, 1))
    assert why(preprint(), bare)
    assert not why(preprint(listed_on=date(2019, 4, 1)), bare)
    assert not why(preprint(), article(abstract="", title=TITLE + " and Tablets"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Biothreat Benchmarks I: Architecture", "Biothreat Benchmarks II: Generation"),
        ("EuroLLM-9B: Technical Report", "EuroLLM-22B: Technical Report"),
        ("The Third Challenge on Night Vision", "The Fourth Challenge on Night Vision"),
        ("Report of the Year 2025", "Report of the Year 2026"),
        (TITLE, f"Erratum: {TITLE}"),
        (TITLE, f"Reply to “{TITLE}”"),
        (TITLE, f"Comment on {TITLE}"),
    ],
)
def test_parts_of_a_series_and_what_is_about_a_paper_are_other_works(one: str, other: str) -> None:
    assert not why(preprint(title=one), article(title=other))


def test_the_same_title_by_others_is_another_work() -> None:
    others = ("Ada Lovelace", "Charles Babbage")
    assert not why(preprint(), article(authors=others))
    assert not why(preprint(), article(authors=others, abstract=""))
    assert not why(preprint(), preprint(source_id=None, authors=others))


def test_the_same_authors_have_written_something_else() -> None:
    title = "LinguaLinked Revisited: Distributed Training of Small Vision Models on Phones"
    assert not why(preprint(), article(title=title, abstract=OTHER_ABSTRACT))


def test_two_ids_of_one_archive_are_two_works_however_alike() -> None:
    assert not why(preprint(), preprint(source_id="2603.00002"))
    doi = {"source": "doi", "version": None}
    assert not why(preprint(**doi, source_id="10.1000/a"), preprint(**doi, source_id="10.1000/b"))
    assert why(preprint(**doi, source_id="10.1000/a"), preprint(**doi, source_id="10.2000/b"))


def test_one_doi_is_one_work_whoever_says_so() -> None:
    doi = "10.1000/x"
    renamed = article(title="Final", abstract=OTHER_ABSTRACT, doi=doi)
    assert why(preprint(doi=doi), renamed) == "both are DOI 10.1000/x"
    assert why(preprint(), article(doi="10.48550/arXiv.2603.00001")) == "both are arXiv 2603.00001"
    server = {"source": "biorxiv", "source_id": "10.1101/2026.01.01.1", "version": 1}
    named = {"source": "doi", "source_id": "10.1101/2026.01.01.1", "version": None}
    assert why(preprint(**server), preprint(**named, title="Another", authors=()))


def test_a_volumes_doi_joins_none_of_its_papers() -> None:
    doi = "10.1000/volume"
    other = article(title="On Coins", abstract=OTHER_ABSTRACT, authors=("Ada Lovelace",), doi=doi)
    assert not why(preprint(doi=doi), other)
    first = preprint(title=f"{TITLE} I", doi=doi)
    second = preprint(title=f"{TITLE} II", abstract=OTHER_ABSTRACT, doi=doi, source_id="2603.00002")
    assert not why(first, second)


def test_a_record_without_an_id_is_known_by_its_title() -> None:
    listed = preprint(source="listing", source_id=None, version=None, authors=())
    assert why(preprint(abstract=OTHER_ABSTRACT), listed) == "the same title"
    assert not why(preprint(title=f"{TITLE} II"), listed)


@pytest.mark.skipif(not PAPERS.exists(), reason="there is no listings-2026 beside the checkout")
def test_on_pairs_of_known_truth_it_is_hardly_ever_wrong(tmp_path: Path) -> None:
    papers = corpus(limit=2500)
    with installed(tmp_path) as database:
        told = scores(judged(database, pairs(papers, 240, seed=3), papers[:500]))
    assert told["wrong"] == 0
    assert told["recall"] >= 0.98


def test_two_authors_of_one_name_need_two_in_the_other_record() -> None:
    twice = ("Li Wang", "Lei Wang", "Yurun Song")
    assert why(preprint(authors=twice), article(authors=("L. Wang", "Wang", "Y. Song")))
    assert not why(preprint(authors=twice[:2]), article(authors=("Li Wang", "Yurun Song")))


NAMES = st.lists(st.sampled_from(["0", "00", "A 0", "B 0", "A 00", "0, B"]), max_size=5)


@given(NAMES, NAMES, st.sampled_from([TITLE, "LinguaLinked", "On Coins"]), st.booleans())
@example(["0", "0"], ["0", "00"], TITLE, False)
def test_authors_are_compared_from_both_sides_alike(
    authors: list[str], authors2: list[str], title: str, without_abstract: bool
) -> None:
    other = article(title=title, authors=tuple(authors2))
    one = RecordTraits(preprint(authors=tuple(authors)))
    two = RecordTraits(replace(other, abstract="") if without_abstract else other)
    assert match_reason(one, two) == match_reason(two, one)


TEXT = st.text(max_size=60)


@given(TEXT, TEXT, st.lists(TEXT, max_size=3), TEXT, TEXT, st.lists(TEXT, max_size=3))
def test_any_text_is_compared_and_from_both_sides_alike(
    title: str, abstract: str, authors: list[str], title2: str, abstract2: str, authors2: list[str]
) -> None:
    one = preprint(title=title, abstract=abstract, authors=tuple(authors))
    other = article(title=title2, abstract=abstract2, authors=tuple(authors2))
    why(one, other)
    assert all(len(mark) <= 510 for mark in RecordTraits(one).blocking_keys)
