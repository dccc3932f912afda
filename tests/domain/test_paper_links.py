"""Links of a paper: strangers wrote the addresses, and mail and pages show them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import paper
from triage.domain.paper_links import NAMED_LINK, LinkKind, find_links

PAGE, PDF, HTML, DOI = LinkKind.PAGE, LinkKind.PDF, LinkKind.HTML, LinkKind.DOI
CODE, MODEL, DATA = LinkKind.CODE, LinkKind.MODEL, LinkKind.DATA


def in_text(text: str) -> list[tuple[LinkKind, str]]:
    """Return the links that a paper has only because of its abstract."""
    one = paper(source="listing", source_id=None, abstract=text)
    return [(link.kind, link.address) for link in find_links(one)]


def of_ids(*keys: tuple[str, str], **fields: Any) -> dict[str, LinkKind]:
    return {link.address: link.kind for link in find_links(paper(**fields), keys)}


# -- ids -------------------------------------------------------------------------------------------


def test_a_paper_of_arxiv_has_its_page_its_pdf_and_its_html() -> None:
    links = find_links(paper(source_id="2603.00001"), [("arxiv", "2603.00001")])
    assert [(each.kind, each.address, each.label) for each in links] == [
        (PAGE, "https://arxiv.org/abs/2603.00001", "arXiv"),
        (PDF, "https://arxiv.org/pdf/2603.00001", "PDF"),
        (HTML, "https://arxiv.org/html/2603.00001", "HTML"),
    ]


@pytest.mark.parametrize(
    ("id", "html"),
    [
        ("2312.00001", "https://arxiv.org/html/2312.00001"),
        ("2311.99999", "https://ar5iv.labs.arxiv.org/html/2311.99999"),
        ("hep-th/9901001", "https://ar5iv.labs.arxiv.org/html/hep-th/9901001"),
    ],
)
def test_the_html_of_older_papers_is_that_of_arxivs_laboratory(id: str, html: str) -> None:
    assert of_ids(source_id=id)[html] is HTML


def test_an_id_is_enough_without_keys_and_keys_are_enough_without_an_id() -> None:
    alone = of_ids(source_id="2603.00001")
    assert alone == of_ids(("arxiv", "2603.00001"), source_id="2603.00001")
    pdf = "https://arxiv.org/pdf/2603.00001"
    assert of_ids(("arxiv", "2603.00001"), source="listing", source_id=None)[pdf] is PDF


def test_the_article_and_the_preprint_are_links_and_arxivs_own_doi_is_none() -> None:
    found = of_ids(
        ("doi", "10.5555/yarn"), ("doi", "10.48550/arxiv.2603.00001"), source_id="2603.00001"
    )
    assert [address for address, kind in found.items() if kind is DOI] == [
        "https://doi.org/10.5555/yarn"
    ]


def test_a_preprint_of_biorxiv_has_the_text_of_its_version() -> None:
    found = of_ids(source="biorxiv", source_id="10.1101/2026.01.02.123456", version=2)
    text = "https://www.biorxiv.org/content/10.1101/2026.01.02.123456v2.full"
    assert found == {
        "https://doi.org/10.1101/2026.01.02.123456": PAGE,
        f"{text}.pdf": PDF,
        text: HTML,
    }


def test_a_paper_of_a_publisher_and_one_of_a_feed_have_their_pages() -> None:
    assert of_ids(source="doi", source_id="10.5555/yarn") == {"https://doi.org/10.5555/yarn": DOI}
    page = "https://example.org/posts/1"
    assert of_ids(source="feed:Blog", source_id=page) == {page: PAGE}


def test_a_recommended_paper_has_its_page_at_hugging_face() -> None:
    page = "https://huggingface.co/papers/2603.00001"
    assert page in of_ids(source_id="2603.00001", upvotes=0)
    assert page not in of_ids(source_id="2603.00001")


def test_ids_that_are_not_valid_and_papers_with_only_a_title_have_no_links() -> None:
    bad = [("doi", "../evil"), ("arxiv", "evil"), ("biorxiv", "10.1101/../x"), ("isbn", "3")]
    assert of_ids(*bad, source="listing", source_id=None) == {}


def test_what_a_source_named_beside_the_paper_is_a_link() -> None:
    keys = [(NAMED_LINK, "https://github.com/ada/engine"), (NAMED_LINK, "javascript:alert(1)")]
    assert of_ids(*keys, source="listing", source_id=None) == {
        "https://github.com/ada/engine": CODE
    }


# -- texts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "address"),
    [
        ("Code: https://github.com/ada/engine.", CODE, "https://github.com/ada/engine"),
        ("(https://github.com/ada/engine)", CODE, "https://github.com/ada/engine"),
        ("[code](https://github.com/ada/engine), and", CODE, "https://github.com/ada/engine"),
        (r"\url{https://github.com/ada/engine}.", CODE, "https://github.com/ada/engine"),
        (r"\href{https://github.com/ada/engine}{here}", CODE, "https://github.com/ada/engine"),
        (r"https://github.com/ada/my\_engine", CODE, "https://github.com/ada/my_engine"),
        ("https:// github.com/ada/engine", CODE, "https://github.com/ada/engine"),
        ("https://github.com/ ada/engine and", CODE, "https://github.com/ada/engine"),
        ("at github.com/ada/engine.", CODE, "https://github.com/ada/engine"),
        ("代码见https://github.com/ada/engine。", CODE, "https://github.com/ada/engine"),
        ("https://github.com/ada/engine's page", CODE, "https://github.com/ada/engine"),
        ("HTTPS://GitHub.com/ada/engine/", CODE, "HTTPS://GitHub.com/ada/engine/"),
        ("https://gitlab.com/a/b", CODE, "https://gitlab.com/a/b"),
        ("https://gitlab.inria.fr/a/b", CODE, "https://gitlab.inria.fr/a/b"),
        ("https://codeberg.org/a/b", CODE, "https://codeberg.org/a/b"),
        ("https://bitbucket.org/a/b", CODE, "https://bitbucket.org/a/b"),
        ("https://anonymous.4open.science/r/x-1", CODE, "https://anonymous.4open.science/r/x-1"),
        ("https://huggingface.co/ada/gpt", MODEL, "https://huggingface.co/ada/gpt"),
        ("huggingface.co/ada", MODEL, "https://huggingface.co/ada"),
        ("https://huggingface.co/datasets/a/b", DATA, "https://huggingface.co/datasets/a/b"),
        ("https://huggingface.co/spaces/a/b", PAGE, "https://huggingface.co/spaces/a/b"),
        ("https://zenodo.org/records/123.", DATA, "https://zenodo.org/records/123"),
        ("doi:10.5281/zenodo.123.", DATA, "https://doi.org/10.5281/zenodo.123"),
        ("https://doi.org/10.5281/zenodo.123", DATA, "https://doi.org/10.5281/zenodo.123"),
        ("Project: https://ada.github.io/x/", PAGE, "https://ada.github.io/x/"),
        ("see ada.github.io/x", PAGE, "https://ada.github.io/x"),
        ("https://en.example.org/Ada_(1843)", PAGE, "https://en.example.org/Ada_(1843)"),
        ("http://example.org:8080/demo?a=1&b=2#c", PAGE, "http://example.org:8080/demo?a=1&b=2#c"),
    ],
)
def test_an_address_in_a_text_is_found_without_what_surrounds_it(
    text: str, kind: LinkKind, address: str
) -> None:
    assert in_text(text) == [(kind, address)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The code is at this https URL.",
        "javascript:alert(1) data:text/html,x ftp://example.org/x file:///etc/passwd",
        "https://ada:secret@example.org/ https://github.com@evil.example/x",
        "http://localhost/x http://127.0.0.1/x http://10.0.0.1/ http://[::1]/ http://2130706433/",
        "http://0x7f.1/ http://router.lan/ http://db.internal/ http://printer.local/x",
        "http://example.org:99999/x http:///x https://-bad-.org/ https://intranet/",
        "https://arxiv.org/abs/2401.00001 and https://doi.org/10.1000/other.paper",
        "https://huggingface.co/papers/2401.00001 https://creativecommons.org/licenses/by/4.0/",
        "https://github.com/ https://github.com/...",
        "mail ada@github.com/x or notgithub.com/a/b",
        "The text ends in https://github.com/ada/eng…",
        "https://example.org/" + "a" * 600,
    ],
)
def test_what_is_unsafe_another_paper_or_no_address_is_no_link(text: str) -> None:
    assert in_text(text) == []


def test_an_address_is_shown_once_however_it_is_spelled() -> None:
    text = (
        "https://github.com/ada/engine http://www.github.com/Ada/Engine.git "
        "github.com/ada/engine/ https://github.com/ada/other"
    )
    assert [address for _, address in in_text(text)] == [
        "https://github.com/ada/engine",
        "https://github.com/ada/other",
    ]


def test_a_text_full_of_addresses_gives_only_a_dozen() -> None:
    assert len(in_text(" ".join(f"https://example.org/{n}" for n in range(99)))) == 12


def test_the_comment_comes_before_the_abstract() -> None:
    one = paper(comment="https://example.org/a", abstract="https://example.org/b")
    assert [link.address[-1] for link in find_links(one)[-2:]] == ["a", "b"]


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("https://github.com/ada/engine.git", "Code: ada/engine"),
        ("https://github.com/ada/engine/tree/main/x", "Code: ada/engine"),
        ("https://huggingface.co/ada/gpt", "Model: ada/gpt"),
        ("https://huggingface.co/collections/ada/all-1", "Models"),
        ("https://huggingface.co/datasets/ada/corpus", "Data: ada/corpus"),
        ("https://huggingface.co/spaces/ada/try", "Demo: ada/try"),
        ("https://zenodo.org/records/1", "Data: Zenodo"),
        ("https://ada.github.io", "Project page"),
        ("https://www.example.org/x", "example.org"),
        ("https://github.com/" + "a" * 80 + "/b", "Code: " + "a" * 43 + "…"),
    ],
)
def test_a_label_tells_people_what_is_there(address: str, label: str) -> None:
    [link] = find_links(paper(source="listing", source_id=None, comment=address))
    assert link.label == label


@given(
    st.lists(
        st.sampled_from(
            ["https://", "http:/", "//", "github.com/", "a.io", "@", ":", "x", "/", "..", "[", "]",
             "(", ")", "%2e", "\\", "_", "10.5281/zenodo.", "9", " ", "…", "{", "}", "?", "#", "é"]
        )
    ).map("".join)
)  # fmt: skip
def test_every_link_of_any_text_is_a_safe_address_of_the_web(text: str) -> None:
    for _, address in in_text(text):
        parts = urlsplit(address)
        assert parts.scheme in {"http", "https"}
        assert parts.hostname is not None
        assert "." in parts.hostname
        assert "@" not in parts.netloc
        assert not set(address) & set(" <>\"'`{}\n")
