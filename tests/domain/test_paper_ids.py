"""Ids and links: strangers' text goes in, only validated parts come out."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.paper_ids import (
    find_ids,
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


SICI = "10.1002/(sici)1097-0258(19980815)17:15/16<1661::aid-sim968>3.0.co;2-2"


@pytest.mark.parametrize(
    ("link", "doi"),
    [
        ("https://www.frontiersin.org/articles/10.3389/fpsyg.2026.123456/full", None),
        ("https://link.springer.com/article/10.1007/s00125-026-0001-1", None),
        ("https://link.springer.com/article/10.1007/s00125-026-0001-1/fulltext.html", None),
        ("https://iop.example/10.1088/1361-6633/ab0001/meta", "10.1088/1361-6633/ab0001"),
        ("https://journals.plos.org/plosone/article?id=10.1371/journal.pone.0300001", None),
        (
            "https://journals.plos.org/plosone/article/file?id=10.1371/journal.pone.0300001"
            "&amp;type=printable",
            None,
        ),
        ("https://onlinelibrary.wiley.com/doi/10.1111/nous.12244/abstract", None),
        ("https://onlinelibrary.wiley.com/doi/pdfdirect/10.1111/nous.12244?download=true", None),
        ("https://pubs.acs.org/doi/abs/10.1021/acs.1c001#", None),
        ("https://dl.acm.org/doi/10.1145/3292500.3330701?nosfx=y", None),
        ("https://www.tandfonline.com/doi/full/10.1080/01621459.2023.1?scroll=top", None),
        ("https://j.example/10.1136/bmj-2024-1.long", "10.1136/bmj-2024-1"),
        ("https://j.example/10.1136/bmj-2024-1.full.pdf+html", "10.1136/bmj-2024-1"),
        ("https://doi.org/10.5555/q?rss=1", None),
        ("https://doi.org/10.1000%2Fxyz%28123%29", "10.1000/xyz(123)"),
        ("https://www.google.com/url?q=https%3A%2F%2Fdoi.org%2F10.1000%2F182&sa=D", "10.1000/182"),
        ("https://www.biorxiv.org/content/10.1101/2026.10.13.562187v1?rss=1", None),
        ("https://www.medrxiv.org/content/10.64898/2026.10.13.26999999v3.full.pdf", None),
        ("https://www.biorxiv.org/content/10.1101/2026.10.13.562187v2.full-text", None),
        ("10.1101/2024.01.02.573999v2", None),
        ("info:doi/10.5555/leader-2024-001191", None),
        ("urn:doi:10.1000/182", None),
        ("DOI:https://doi.org/10.1000/182", None),
        ("https://doi.org/doi:10.1000/182", None),
        ("\u200b10.1000/182\u00ad", None),
        ("10.1038/s41586\u2010021\u201103819\u22122", "10.1038/s41586-021-03819-2"),
        ("https://www.nature.com/articles/s41586-021-03819-2.pdf", "10.1038/s41586-021-03819-2"),
        ("https://www.nature.com/articles/s41586-019-1666-5", "10.1038/s41586-019-1666-5"),
        ("<https://doi.org/10.1000/182>.", None),
        (r"10.1007/978-3-030\_1", "10.1007/978-3-030_1"),
        (SICI.upper(), SICI),
        (SICI.replace("<", "&lt;").replace(">", "&gt;"), SICI),
        (SICI.replace("<", "&amp;lt;").replace(">", "&amp;gt;"), SICI),
        (SICI.replace("<", "{\\textless}").replace(">", "{\\textgreater}"), SICI),
        (SICI.replace("<", "\\textless ").replace(">", "\\textgreater{}"), SICI),
        (SICI.replace("<", "$<$").replace(">", "$>$"), SICI),
        ("https://doi.org/" + SICI.replace("<", "%3C").replace(">", "%3E"), SICI),
        (
            "http://onlinelibrary.wiley.com/doi/"
            + SICI.replace("<", "%3C").replace(">", "%3E")
            + "/pdf",
            SICI,
        ),
        (
            "10.1175/1520-0493(1984)112<1590:TIOSD>2.0.CO;2",
            "10.1175/1520-0493(1984)112<1590:tiosd>2.0.co;2",
        ),
        (
            "10.1890/0012-9658(2006)87[1465:ATOPPC]2.0.CO;2",
            "10.1890/0012-9658(2006)87[1465:atoppc]2.0.co;2",
        ),
    ],
)
def test_a_doi_is_read_in_whatever_address_or_dress(link: str, doi: str | None) -> None:
    if doi is None:
        bare = re.search(r"10\.\d+/[\w.-]*\w", link.removesuffix("\u00ad"))
        assert bare is not None
        doi = re.sub(r"(?<=\d)v\d.*", "", bare[0])
    assert identify(link) == ("doi", doi, None)
    assert find_ids(link) == [("doi", doi)]
    assert find_ids(f"As ({link}) shows") == [("doi", doi)]


@pytest.mark.parametrize(
    "text",
    [
        "https://www.alphaxiv.org/abs/2401.00001",
        "https://www.alphaxiv.org/overview/2401.00001v2",
        "https://ar5iv.org/abs/2401.00001",
        "https://ar5iv.labs.arxiv.org/html/2401.00001",
        "https://hf.co/papers/2401.00001",
        "https://huggingface.co/papers/2401.00001#community",
        "http://cn.arxiv.org/pdf/2401.00001v1",
        "http://de.arxiv.org/abs/2401.00001",
        "https://arxiv.org/abs/arxiv:2401.00001",
        "<https://arxiv.org/abs/2401.00001>",
        "oai:arXiv.org:2401.00001",
        "arXiv:2401.00001v3 [cs.LG] 5 Jan 2024",
        "2401.00001v1 [math.ST]",
        "https://www.arxiv-vanity.com/papers/2401.00001/",
        "https://www.semanticscholar.org/arxiv/2401.00001",
        "https://www.google.com/url?q=https%3A%2F%2Farxiv.org%2Fabs%2F2401.00001",
        "https://web.archive.org/web/2024/https://arxiv.org/abs/2401.00001",
        "\ufeff2401.00001\u200b",
        "arXiv:\u00a02401.00001",
        "\uff12\uff14\uff10\uff11\uff0e\uff10\uff10\uff10\uff10\uff11",
        "10.48550%2FarXiv.2401.00001",
        "https://doi.org/10.48550/arXiv.2401.00001?ref=x",
        "[2401.00001]",
    ],
)
def test_an_arxiv_id_is_read_in_whatever_address_or_dress(text: str) -> None:
    named = identify(text)
    assert named is not None
    assert named[:2] == ("arxiv", "2401.00001")
    assert find_ids(text) == [("arxiv", "2401.00001")]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("10.1145/3292500.3330701, 10.5555/1", ["10.1145/3292500.3330701", "10.5555/1"]),
        ("10.1145/3292500.3330701;10.5555/1", ["10.1145/3292500.3330701", "10.5555/1"]),
        ("doi:10.1000/182https://doi.org/10.5555/1", ["10.1000/182", "10.5555/1"]),
        ("[10.1000/182](https://doi.org/10.1000/182)", ["10.1000/182"]),
        ('<a href="https://doi.org/10.1000/182">10.1000/182</a>', ["10.1000/182"]),
        ("&lt;a href=&quot;https://doi.org/10.1000/182&quot;&gt;", ["10.1000/182"]),
        ("**10.1000/182** and “10.5555/1”", ["10.1000/182", "10.5555/1"]),
        ("arXiv:2401.00001,2401.00002;hep\u2011th/9901001", [
            "2401.00001", "2401.00002", "hep-th/9901001",
        ]),
        ("arXiv preprint arXiv:2401.00001v2 (2024)", ["2401.00001"]),
        ("see 2401.00001. Also (math.GT/0309136).", ["2401.00001", "math/0309136"]),
        ("\uff082401.00001\uff09\u3002", ["2401.00001"]),
        ("eprint=2401.00001", ["2401.00001"]),
        (r"\url{https://arxiv.org/abs/2401.00001}", ["2401.00001"]),
        ("10.1000/xyz\u3002", ["10.1000/xyz"]),
    ],
)  # fmt: skip
def test_several_ids_are_read_in_their_order(text: str, ids: list[str]) -> None:
    assert [id for _, id in find_ids(text)] == ids


@pytest.mark.parametrize(
    "text",
    [
        "It costs $1203.4567 or 1203.4567 USD.",
        "It costs €2401.00001, that is 2401.00001 euros.",
        "at 1203.4567 Hz and 1203.4567 nm, 2401.00001%",
        "Call +49 2401.12345 or tel. 2401.12345.",
        "p < 1203.4567, x = 1203.4567, 2401.00001 ± 1203.4567",
        "1,203.4567 and 12401.00001 and 2401.00001.5 and 2401.000012",
        "$10.2500/month",
        "210.1000/182",
        "1203.4567e-5",
        "https://lab.example/2401.00001.html",
        "journal 2413.00001",
        "evil/9901001",
        "https://lab.example/articles/s41586",
    ],
)
def test_numbers_that_are_no_ids_are_none(text: str) -> None:
    assert find_ids(text) == []


@given(ANY_TEXT | st.lists(st.sampled_from([
    "10.1101/", "10.1000/", "1", "v2", ".full", "%25", "%23", "&amp;", "lt;", "<", ">3.0.CO;2-2",
    "(", ")", "]", "?", "#", "arxiv.org/abs/", "2401.00001", "hep-th/9901001", "\\textless",
    "..", "https://", ".", ",", " ", "$", "/",
])).map("".join))  # fmt: skip
def test_what_is_found_in_any_text_is_found_again(text: str) -> None:
    named = identify(text)
    for source, id in find_ids(text) + ([named[:2]] if named else []):
        assert identify(id) is not None
        assert identify(id)[:2] == (source, id)  # type: ignore[index]
        assert upstream_url(source, id, "") == upstream_url(source, id.upper(), "")


@pytest.mark.parametrize(
    "piece", ["10.1000/)", "arxiv ", "a-b/", "%25", "&amp;", "\\textless ", "<"]
)
def test_long_texts_are_read_in_linear_time(piece: str) -> None:
    find_ids("10.1000/" + piece * (300_000 // len(piece)))


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
