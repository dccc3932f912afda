"""Ids and links: strangers' text goes in, only validated parts come out."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.paper_ids import (
    identify,
    parse_arxiv,
    parse_doi,
    source_name,
    title_key,
    upstream_url,
)

ANY_TEXT = st.text(st.characters(), max_size=300)
TEXT = st.text(max_size=300)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2401.00001", ("2401.00001", None)),
        (" 2401.00001v3\n", ("2401.00001", 3)),
        ("arXiv:2401.00001v12", ("2401.00001", 12)),
        ("ARXIV: 2401.00001", ("2401.00001", None)),
        ("arXiv:2401.00001v3 [cs.CL]", ("2401.00001", 3)),
        ("0704.0001", ("0704.0001", None)),
        ("1412.9999v1", ("1412.9999", 1)),
        ("hep-th/9901001", ("hep-th/9901001", None)),
        ("HEP-TH/9901001v2", ("hep-th/9901001", 2)),
        ("math.GT/0309136", ("math/0309136", None)),
        ("cond-mat/0703123", ("cond-mat/0703123", None)),
        ("https://arxiv.org/abs/2401.00001", ("2401.00001", None)),
        ("http://www.arxiv.org/abs/2401.00001v2?context=cs", ("2401.00001", 2)),
        ("arxiv.org/pdf/2401.00001v2.pdf", ("2401.00001", 2)),
        ("https://export.arxiv.org/pdf/hep-th/9901001", ("hep-th/9901001", None)),
        ("https://arxiv.org/html/2401.00001v1#S3", ("2401.00001", 1)),
        ("https://huggingface.co/papers/2401.00001", ("2401.00001", None)),
        ("10.48550/arXiv.2401.00001", ("2401.00001", None)),
        ("https://doi.org/10.48550/ARXIV.hep-th/9901001", ("hep-th/9901001", None)),
    ],
)
def test_every_spelling_of_an_arxiv_id_is_the_same_paper(
    text: str, expected: tuple[str, int | None]
) -> None:
    assert parse_arxiv(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2401",
        "2413.00001",  # no such month
        "2400.00001",
        "0703.0001",  # before ids of this form
        "2401.0001",  # four digits after 2014
        "1412.00001",  # five digits before 2015
        "2401.00001v0",
        "2401.00001 and more",
        "2401.00001\nX-Header: 1",
        "٢٤٠١.٠٠٠٠١",  # digits, but not of this alphabet
        "evil/9901001",
        "hep-th/9913001",
        "https://arxiv.org.evil.example/abs/2401.00001",
        "https://evil.example/arxiv.org/abs/2401.00001",
        "https://evilarxiv.org/abs/2401.00001",
        "https://huggingface.co/paperſ/2401.00001",  # folds to an s
        "https://user@arxiv.org/abs/2401.00001",
        "javascript:2401.00001",
        "10.48550/arXiv.nonsense",
    ],
)
def test_what_is_no_arxiv_id_is_none(text: str) -> None:
    assert parse_arxiv(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.1101/2024.01.02.573912", "10.1101/2024.01.02.573912"),
        ("doi:10.1038/S41586-021-03819-2", "10.1038/s41586-021-03819-2"),
        ("https://doi.org/10.1000/xyz%28123%29", "10.1000/xyz(123)"),
        ("http://dx.doi.org/10.1000/182.", "10.1000/182"),
    ],
)
def test_dois_are_bare_and_lower_case(text: str, expected: str) -> None:
    assert parse_doi(text) == expected


@pytest.mark.parametrize(
    "text", ["", "10.1000", "10.1000/", "10.1000/a b", "10.1000/../../evil", "11.1000/x", "10.1/x"]
)
def test_what_is_no_doi_is_none(text: str) -> None:
    assert parse_doi(text) is None


def test_identify_knows_arxiv_even_behind_a_doi() -> None:
    assert identify("10.48550/arXiv.2401.00001v2") == ("arxiv", "2401.00001", 2)
    assert identify("10.1038/nature") == ("doi", "10.1038/nature", None)
    assert identify("c00000") is None


def test_titles_are_the_same_whatever_their_case_accents_and_punctuation() -> None:
    assert title_key("Poincaré's ﬁrst  CO₂–Map!") == title_key("POINCARE’S FIRST CO2 map")
    assert title_key("Straße") == title_key("STRASSE")
    assert title_key("注意 is all") == "注意isall"


def test_a_title_without_letters_has_no_key() -> None:
    assert title_key("?!… ∞") == ""


@given(TEXT)
def test_a_title_key_is_letters_and_digits_and_stable(title: str) -> None:
    key = title_key(title)
    assert key == "" or key.isalnum()
    assert title_key(key) == key
    assert title_key(f"  {title}. ") == key


@given(ANY_TEXT)
def test_parsing_never_crashes_and_what_it_gives_parses_to_itself(text: str) -> None:
    found = identify(text)
    if found is not None:
        assert identify(found[1]) == (found[0], found[1], None)


@given(
    st.integers(15, 40), st.integers(1, 12), st.integers(0, 99_999), st.none() | st.integers(1, 99)
)
def test_new_style_ids_survive_a_round_trip(
    year: int, month: int, number: int, version: int | None
) -> None:
    bare = f"{year:02}{month:02}.{number:05}"
    suffix = f"v{version}" if version else ""
    for form in ("{}", "arXiv:{}", "https://arxiv.org/abs/{}", "10.48550/arXiv.{}"):
        assert parse_arxiv(form.format(bare + suffix)) == (bare, version)


@pytest.mark.parametrize(
    ("source", "source_id", "expected"),
    [
        ("arxiv", "2401.00001", "https://arxiv.org/abs/2401.00001"),
        ("arxiv", "hep-th/9901001", "https://arxiv.org/abs/hep-th/9901001"),
        ("biorxiv", "10.1101/2024.01.02.573912", "https://doi.org/10.1101/2024.01.02.573912"),
        ("doi", "10.1000/<a>b", "https://doi.org/10.1000/%3Ca%3Eb"),
        ("listing", None, "https://huggingface.co/papers?q=A%20%26%20B"),
        ("import", "c00000", "https://arxiv.org/search/?query=A%20%26%20B"),
        ("arxiv", "javascript:alert(1)", "https://arxiv.org/search/?query=A%20%26%20B"),
        ("doi", "//evil.example/", "https://arxiv.org/search/?query=A%20%26%20B"),
    ],
)
def test_links_are_built_from_validated_ids(
    source: str, source_id: str | None, expected: str
) -> None:
    assert upstream_url(source, source_id, "A & B") == expected


@given(
    st.sampled_from(["arxiv", "doi", "biorxiv", "medrxiv", "listing", "import", "feed:x", "odd"]),
    st.none() | ANY_TEXT | st.from_regex(r"10\.1000/.{1,40}", fullmatch=True),
    ANY_TEXT,
)
def test_a_link_never_leaves_its_fixed_hosts(
    source: str, source_id: str | None, title: str
) -> None:
    url = upstream_url(source, source_id, title)
    assert re.fullmatch(r"[!-~]+", url)
    assert not set(url) & set("\"'<>\\`{}|^")
    parts = urlsplit(url)
    assert parts.scheme == "https"
    assert parts.netloc in {"arxiv.org", "doi.org", "huggingface.co"}
    assert ".." not in parts.path.split("/")
    assert set(parse_qs(parts.query)) <= {"q", "query"}


def test_a_feeds_page_is_its_papers_link() -> None:
    page = "https://lab.example/blog/?p=1204&a=b"
    assert upstream_url("feed:lab", page, "A & B") == page
    assert upstream_url("import", page, "A & B").startswith("https://arxiv.org/search/")


@pytest.mark.parametrize(
    "source_id",
    [
        "http://lab.example/1",
        "https://lab.example/../admin",
        "https://lab.example:8443/1",
        "https://user@lab.example/1",
        "https://lab.example",
        "https://localhost/1",
        "https://lab.example/1#part",
        "https://lab.example/<script>",
        'https://lab.example/"onmouseover',
        "https://lab.example/a b",
        "https://läb.example/1",
        "javascript:alert(1)",
        "guid:https://elsewhere.example/1",
        "https://lab.example/" + "x" * 400,
    ],
)
def test_what_is_no_plain_page_of_a_feed_is_searched_for(source_id: str) -> None:
    link = upstream_url("feed:lab", source_id, "A & B")
    assert link == "https://arxiv.org/search/?query=A%20%26%20B"


def test_sources_have_names_for_people() -> None:
    assert source_name("arxiv") == "arXiv"
    assert source_name("feed:Distill") == "Distill"
    assert source_name("odd") == "odd"
