"""Keys, dates and names of citations."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import paper
from triage.subscribers.bibliography.citation import (
    NameParts,
    citation_keys,
    is_conference,
    published,
    split_name,
)


def key(author: str = "Ada Lovelace", title: str = "Engines", **fields: Any) -> str:
    authors = (author,) if author else ()
    return citation_keys([paper(authors=authors, title=title, **fields)])[0]


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Ashish Vaswani", ("Vaswani", "Ashish", "")),
        ("J. R. R. Tolkien", ("Tolkien", "J. R. R.", "")),
        ("Jan van der Berg", ("van der Berg", "Jan", "")),
        ("van der Berg, Jan", ("van der Berg", "Jan", "")),
        ("van der Berg", ("van der Berg", "", "")),
        ("Santiago Ramón y Cajal", ("Ramón y Cajal", "Santiago", "")),
        ("bell hooks", ("hooks", "bell", "")),
        ("sangkeun Jung", ("Jung", "sangkeun", "")),
        ("Qingyao Ai", ("Ai", "Qingyao", "")),
        ("Martin Luther King Jr.", ("King", "Martin Luther", "Jr.")),
        ("Martin Luther King, Jr.", ("King", "Martin Luther", "Jr.")),
        ("King, Jr., Martin Luther", ("King", "Martin Luther", "Jr.")),
        ("King, Martin Luther, III", ("King", "Martin Luther", "III")),
        ("Ada Lovelace, PhD", ("Lovelace", "Ada", "")),
        ("Lovelace A.", ("Lovelace", "A.", "")),
        ("Plato", ("Plato", "", "")),
        ("ATLAS Collaboration", ("ATLAS Collaboration", "", "")),
        ("The LIGO Scientific Collaboration", ("The LIGO Scientific Collaboration", "", "")),
        ("Research and Co, Inc", ("Research and Co, Inc", "", "")),
        ("Meta AI", ("Meta AI", "", "")),
        ("王小明", ("王小明", "", "")),
        ("山田 太郎", ("山田 太郎", "", "")),
        ("a, b, c, d", ("a, b, c, d", "", "")),
        ("", ("", "", "")),
    ],
)
def test_a_name_has_a_family_name_a_given_name_and_a_suffix(
    name: str, parts: tuple[str, str, str]
) -> None:
    assert split_name(name) == NameParts(*parts)


@given(st.lists(st.sampled_from(["Ada", "van", "J.", "Jr.", ",", " ", "of", "王", "y", "-"])))
def test_no_word_of_a_name_is_lost_but_degrees(words: list[str]) -> None:
    name = " ".join(words)
    found = " ".join(split_name(name)).replace(",", " ").split()
    assert sorted(found) == sorted(name.replace(",", " ").split())


# -- dates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source_id": "1706.03762"}, "2017-06"),
        ({"source_id": "hep-th/9901001"}, "1999-01"),
        ({"source_id": "1706.03762", "venue": "Drafting"}, "2017-06"),
        ({"source_id": "1706.03762", "venue": "NIPS 2017"}, "2017-06"),
        ({"source_id": "1706.03762", "venue": "Proceedings of Drafting 2018"}, "2018"),
        ({"source_id": "0704.0001", "venue": "Phys.Rev.D76:013009,2007"}, "2007-04"),
        ({"source_id": "0704.0001", "venue": "Adv. Phys. 58 (2009) 1960-1999"}, "2009"),
        ({"source_id": "1706.03762", "venue": "NIPS 2017, pages 1998-2008"}, "2017-06"),
        ({"source_id": "1706.03762", "venue": "J. Drafts 12, 2013-2020, 2018"}, "2018"),
        # A page, and not a year that has not come yet.
        ({"source_id": "1706.03762", "venue": "Drafts 7, 2080"}, "2017-06"),
        ({"source": "biorxiv", "source_id": "10.1101/2020.01.30.927871"}, "2020-01"),
        ({"source": "biorxiv", "source_id": "10.1101/339747"}, "2026-03"),
        ({"source": "listing", "source_id": None}, "2026-03"),
    ],
)
def test_a_paper_is_of_the_year_of_its_publication_and_not_of_its_listing(
    fields: dict[str, Any], expected: str
) -> None:
    assert str(published(paper(listed_on=date(2026, 3, 2), **fields))) == expected


@pytest.mark.parametrize(
    ("venue", "expected"),
    [
        ("Nature", False),
        ("Proceedings of the National Academy of Sciences", False),
        ("Neural Information Processing Systems", True),
        ("2023 IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)", True),
        ("ICML 2025", True),
        ("Journal of Machine Learning Research", False),
        ("", False),
    ],
)
def test_conferences_are_known_by_their_names(venue: str, expected: bool) -> None:
    assert is_conference(venue) is expected


# -- keys ------------------------------------------------------------------------------------------


def test_a_key_is_last_name_year_and_first_word() -> None:
    assert key("Ashish Vaswani", "Attention Is All You Need", source_id="1706.03762") == (
        "vaswani2017attention"
    )


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        ("Jan van der Berg", "vanderberg"),
        ("Martin Luther King Jr.", "king"),
        ("Søren Ørsted-Łukasz", "orstedlukasz"),
        ("Jürgen Groß", "gross"),
        ("Conan O'Neil", "oneil"),
        ("ATLAS Collaboration", "atlas"),
        ("The LIGO Scientific Collaboration", "ligo"),
        ("the CMS and ATLAS Collaborations", "cms"),
        ("Gemini Team", "gemini"),
        ("Collaboration, CMS", "cms"),
        ("The Collaboration", "thecollaboration"),
        ("Plato", "plato"),
        ("王小明", ""),
        ("Wang Xiaoming (王小明)", "xiaoming"),
        ("Иван Петров", ""),
        ("", ""),
    ],
)
def test_the_name_in_a_key_is_in_ascii(author: str, expected: str) -> None:
    assert key(author) == f"{expected}2026engines"


@pytest.mark.parametrize(
    ("title", "word"),
    [
        ("The Art of Engines", "art"),
        ("On the Towards", "on"),
        ("How to Build an Engine", "build"),
        ("U-Net: Convolutions", "unet"),
        ("β-VAE", "vae"),
        ("2026 Engines", "engines"),
        ("1984", "1984"),
        ("3D engines", "3d"),
        ("发动机 engines", "engines"),
        ("Supercalifragilistic" * 9, ("supercalifragilistic" * 2)),
    ],
)
def test_the_first_word_in_a_key_is_one_that_tells_something(title: str, word: str) -> None:
    assert key(title=title) == f"lovelace2026{word}"


def test_a_paper_in_another_script_has_a_key_all_the_same() -> None:
    assert key("王小明", "发动机", id=7) == "2026paper7"


def test_equal_keys_get_letters_by_the_ids_of_papers_and_not_by_their_order() -> None:
    several = [paper(n, title=f"Drafts {n}") for n in range(1, 30)]
    keys = citation_keys(several)
    assert keys[:3] == ["lovelace2026drafts", "lovelace2026draftsa", "lovelace2026draftsb"]
    assert keys[26:28] == ["lovelace2026draftsz", "lovelace2026draftsaa"]
    assert citation_keys(several[::-1]) == keys[::-1]
    assert citation_keys([several[0], several[0]]) == [keys[0], keys[0]]


def test_a_letter_makes_no_key_that_another_paper_has() -> None:
    titles = ("Draft", "Draft", "Drafta", "Drafta", "Draft")
    keys = citation_keys([paper(n, title=title) for n, title in enumerate(titles, 1)])
    assert len(set(keys)) == 5


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_every_key_is_unique_and_plain(papers: list[tuple[str, str]]) -> None:
    several = [paper(n, authors=(name,), title=title) for n, (name, title) in enumerate(papers)]
    keys = citation_keys(several)
    assert len(set(keys)) == len(papers)
    for each in keys:
        assert each.isascii()
        assert each.isalnum()
        assert len(each) <= 90
