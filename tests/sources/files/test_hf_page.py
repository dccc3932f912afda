"""Saved Daily Papers pages, and how a file finds its source."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import pytest

from tests.support.contracts import SourceContract, error_text
from tests.support.paths import SHARED
from triage.domain.paper_ids import title_key
from triage.domain.source_records import Batch
from triage.errors import SourceError
from triage.sources.files.detect import open_source
from triage.sources.files.hf_page import ListingPage
from triage.sources.files.id_list import IdList
from triage.sources.files.json_lines import JsonLines

TODAY = date(2026, 3, 2)
PAGES = sorted((SHARED / "listings").glob("*.txt"))
SPACED = ["new", "Get trending papers in your email inbox!", "Subscribe", "Daily Papers"]
HEADERS = {
    "with blank lines": "\n\n".join([*SPACED, "by AK and the research community", ""]),
    "with a day": "\n\n".join([*SPACED, "byAK and the research community", "Jul 30", ""]),
    "without blank lines": "\n".join([*SPACED, "by AK and the research community"]),
    "behind a menu": "\n".join(["Hugging Face", "Models", "Log In", *SPACED, "Dec 1, 2025"]),
}
GLUED = (
    "Get trending papers in your email inbox once a day!\n"
    "Get trending papers in your email inbox!\nSubscribe"
)


def _abstract(n: int) -> str:
    return f"We study problem {n}. " + "It is hard, and our method solves it at no cost. " * 12


def _body(n: int, gap: str = "\n") -> str:
    return gap.join(
        f"Method {k}: A Study of $\\alpha_{{{k}}}${gap}{_abstract(k)}" for k in range(n)
    )


def _fetch(tmp_path: Path, text: str) -> Batch:
    path = tmp_path / "page.txt"
    path.write_text(text, encoding="utf-8")
    (batch,) = ListingPage(path, TODAY).fetch(None)
    return batch


class TestListingPagesKeepTheContract(SourceContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        self.full = tmp_path / "page.txt"
        self.full.write_text(f"{HEADERS['with a day']}\n{_body(1_201)}\nA title alone\n")
        self.none = tmp_path / "none.txt"
        self.none.write_text("\n\n")

    def source(self) -> ListingPage:
        return ListingPage(self.full, TODAY)

    def empty_source(self) -> ListingPage:
        return ListingPage(self.none, TODAY)


@pytest.mark.skipif(not PAGES, reason="the four saved pages are not beside the repository")
def test_four_real_pages_give_421_records_of_371_papers() -> None:
    batches = [batch for path in PAGES for batch in open_source(path, TODAY).fetch(None)]
    papers = [paper for batch in batches for paper in batch.papers]
    assert not [rejected for batch in batches for rejected in batch.rejected]
    assert len(papers) == 421
    assert len({title_key(paper.title) for paper in papers}) == 371
    assert all(len(paper.abstract) > 400 > len(paper.title) > 10 for paper in papers)


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
@pytest.mark.parametrize("gap", ["\n", "\n\n", "\r\n \r\n"])
def test_every_header_and_spacing_gives_the_same_papers(
    tmp_path: Path, header: str, gap: str
) -> None:
    batch = _fetch(tmp_path, header + gap + _body(5, gap))
    assert not batch.rejected
    assert [paper.title for paper in batch.papers] == [
        f"Method {k}: A Study of α{'₀₁₂₃₄'[k]}" for k in range(5)
    ]
    assert batch.papers[0].abstract == _abstract(0).strip()


def test_papers_of_a_page_have_no_id_and_the_day_of_the_import(tmp_path: Path) -> None:
    paper = _fetch(tmp_path, f"{HEADERS['with a day']}\n{_body(1)}").papers[0]
    assert (paper.source, paper.source_id, paper.listed_on) == ("listing", None, TODAY)


def test_a_header_glued_to_the_first_title_is_cut_off(tmp_path: Path) -> None:
    batch = _fetch(tmp_path, f"{GLUED}DASpeech: Fast\n{_abstract(1)}\n{_body(2)}")
    assert next(paper.title for paper in batch.papers) == "DASpeech: Fast"
    assert len(batch.papers) == 3


@pytest.mark.parametrize(
    "title",
    [
        "Subscribe to me: A Study of Feeds",
        "Newton's Method",
        "new",
        "Daily Papers in Science",
        "Subscribers and Churn",
        "Hot Jupiters",
    ],
)
def test_titles_that_begin_like_the_header_stay_whole(tmp_path: Path, title: str) -> None:
    batch = _fetch(tmp_path, f"{HEADERS['with a day']}\n{_body(2)}\n{title}\n{_abstract(9)}")
    assert batch.papers[-1].title == title
    if title != "new":
        first = _fetch(tmp_path, f"{HEADERS['with a day']}\n{title}\n{_abstract(9)}\n{_body(2)}")
        assert first.papers[0].title == title


def test_a_missing_text_costs_only_its_own_paper(tmp_path: Path) -> None:
    lines = [HEADERS["with a day"], "A Title Alone", _body(2), _abstract(7), _body(1)]
    batch = _fetch(tmp_path, "\n".join([*lines, "Previous", "Next"]))
    assert len(batch.papers) == 3
    assert [(rejected.reason, rejected.raw[:13]) for rejected in batch.rejected] == [
        ("it has no abstract", "A Title Alone"),
        ("it is text without a title", "We study prob"),
        ("it has no abstract", "Previous\nNext"),
    ]


@pytest.mark.parametrize(
    "text",
    ["<!DOCTYPE html>\n<html>", "Call me Ishmael.\nSome years ago.\n", "\x7fELF\x00\x01", "7\n8\n"],
)
def test_what_is_no_listing_page_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page.txt"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        list(ListingPage(path, TODAY).fetch(None))
    assert "listing page" in error_text(caught.value)
    with pytest.raises(SourceError) as caught:
        open_source(path, TODAY)
    message = error_text(caught.value)
    assert all(form in message for form in ("JSON Lines", "Daily Papers", "arXiv ids"))


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.txt", f"{GLUED}A Title\n{_abstract(1)}", ListingPage),
        ("a", '{"id": "x"}\n', JsonLines),
        ("a.jsonl", "<html>", JsonLines),
        ("a.txt", "\ufeff# list\n2401.00001\n", IdList),
        ("a.txt", "https://arxiv.org/abs/2401.00001 and more\n10.1000/182\n", IdList),
        ("a.txt", "", IdList),
    ],
)
def test_a_file_finds_its_source_by_content(
    tmp_path: Path, name: str, text: str, kind: type
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    source = open_source(path, TODAY)
    assert type(source) is kind
    assert source.name == f"file:{name}"


def test_a_compressed_page_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "page.txt.gz"
    path.write_bytes(gzip.compress(f"{HEADERS['with a day']}\n{_body(3)}".encode()))
    (batch,) = open_source(path, TODAY).fetch(None)
    assert len(batch.papers) == 3


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.jsonl"):
        with pytest.raises(SourceError) as caught:
            open_source(path, TODAY)
        error_text(caught.value)
