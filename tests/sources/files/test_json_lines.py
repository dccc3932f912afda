"""JSON Lines: good lines are read whatever stands beside them."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path

import pytest

from tests.support.contracts import SourceContract, error_text
from tests.support.paths import ROOT
from triage.domain.source_records import Batch, FetchedPaper, Rejected
from triage.errors import SourceError
from triage.sources.files.json_lines import JsonLines

TODAY = date(2026, 3, 2)
DEMO = ROOT / "triage" / "cli" / "demo" / "papers.jsonl.gz"
GOOD = {"id": "2401.00001v2", "title": "A title", "abstract": "An abstract."}


class TestJsonLinesKeepTheContract(SourceContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        self.full = tmp_path / "full.jsonl"
        lines = [_line(id=f"2401.{n:05}", title=f"Paper {n}") for n in range(1, 1_203)]
        lines[7] = "{"
        lines[900] = ""
        self.full.write_text("\n".join(lines), encoding="utf-8")
        self.none = tmp_path / "none.jsonl"
        self.none.write_bytes(b"\n \n")

    def source(self) -> JsonLines:
        return JsonLines(self.full, TODAY)

    def empty_source(self) -> JsonLines:
        return JsonLines(self.none, TODAY)


def _line(**fields: object) -> str:
    return json.dumps(GOOD | fields)


def _fetch(path: Path, text: str | bytes) -> list[Batch]:
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    return list(JsonLines(path, TODAY).fetch(None))


def _paper(tmp_path: Path, **fields: object) -> FetchedPaper:
    (batch,) = _fetch(tmp_path / "one.jsonl", _line(**fields))
    assert not batch.rejected, batch.rejected
    return batch.papers[0]


def _rejected(tmp_path: Path, text: str | bytes) -> Rejected:
    (batch,) = _fetch(tmp_path / "one.jsonl", text)
    assert not batch.papers
    return batch.rejected[0]


def test_the_demo_papers_are_three_listing_days_without_a_flaw() -> None:
    assert DEMO.read_bytes()[4:8] == b"\0\0\0\0", "a time stamp makes the file irreproducible"
    papers = [paper for batch in JsonLines(DEMO, TODAY).fetch(None) for paper in batch.papers]
    days = [paper.listed_on for paper in papers]
    assert {day: days.count(day) for day in days} == {
        date(2025, 6, 25): 269,
        date(2025, 6, 26): 218,
        date(2025, 6, 27): 270,
    }
    assert len({paper.source_id for paper in papers}) == 757
    assert all(paper.source == "arxiv" and paper.authors and paper.categories for paper in papers)
    assert not any("\\" in paper.title or "this http" in paper.abstract for paper in papers)


def test_an_arxiv_id_carries_its_version(tmp_path: Path) -> None:
    paper = _paper(tmp_path)
    assert (paper.source, paper.source_id, paper.version) == ("arxiv", "2401.00001", 2)


def test_other_ids_are_dois_or_the_importers_own(tmp_path: Path) -> None:
    doi = _paper(tmp_path, id="https://doi.org/10.1101/2024.01.02.573912")
    assert (doi.source, doi.source_id) == ("doi", "10.1101/2024.01.02.573912")
    own = _paper(tmp_path, id="c00000")
    assert (own.source, own.source_id) == ("import", "c00000")
    without = _paper(tmp_path, id=None, doi="10.1000/182")
    assert (without.source, without.source_id) == ("doi", "10.1000/182")


def test_papers_without_any_date_count_as_listed_on_the_import_day(tmp_path: Path) -> None:
    assert _paper(tmp_path, id="c00000").listed_on == TODAY
    assert _paper(tmp_path, listed_date="2025-06-25").listed_on == date(2025, 6, 25)
    assert _paper(tmp_path, listed_date="2025-06-25T04:00:00Z").listed_on == date(2025, 6, 25)


def test_optional_fields_are_read_and_null_is_absent(tmp_path: Path) -> None:
    paper = _paper(
        tmp_path, authors=["A", "B"], categories=["cs.CL"], comment="8 pages", doi="10.1000/182",
        upvotes=5, tldr="Short.", version=3, unknown={"is": "ignored"},
    )  # fmt: skip
    assert (paper.authors, paper.categories, paper.comment) == (("A", "B"), ("cs.CL",), "8 pages")
    assert (paper.doi, paper.upvotes, paper.tldr, paper.version) == (
        "10.1000/182", 5, "Short.", 3,
    )  # fmt: skip
    bare = _paper(tmp_path, authors=None, categories=None, comment=None, upvotes=None)
    assert (bare.authors, bare.upvotes) == ((), None)


def test_names_and_categories_in_one_text_are_split(tmp_path: Path) -> None:
    paper = _paper(
        tmp_path, authors="A. Lovelace, J. Smith, Jr. and C. Babbage", categories="cs.CL cs.LG"
    )
    assert paper.authors == ("A. Lovelace", "J. Smith, Jr.", "C. Babbage")
    assert paper.categories == ("cs.CL", "cs.LG")
    assert _paper(tmp_path, authors="Lovelace, A.; Babbage, C.").authors == (
        "Lovelace, A.",
        "Babbage, C.",
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no JSON at all", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an object"),
        ('"text"', "not an object"),
        (_line(title=None), "no title"),
        (_line(abstract=""), "no abstract"),
        (json.dumps({"id": "2401.00001", "title": "T"}), "no abstract"),
        (json.dumps({"title": "T", "abstract": "A"}), "no id"),
        (_line(id=2401.1), "id is a number"),
        (_line(title=["T"]), "title is not text"),
        (_line(authors=[{"id": "A"}]), "authors are not a list of texts"),
        (_line(authors=7), "authors are not a list of texts"),
        (_line(upvotes=float("nan")), "NaN is not JSON"),
        (_line(upvotes=float("inf")), "Infinity is not JSON"),
        (_line(upvotes=True), "upvotes is not a whole number"),
        (_line(upvotes=10**12), "upvotes is not a whole number"),
        (_line(upvotes=-1), "upvotes is not a whole number"),
        ('{"id": ' + "9" * 5_000 + "}", "not JSON"),
        (_line(listed_date="2026-6-30"), "listed_date is not a date"),
        (_line(listed_date="soon"), "listed_date is not a date"),
        (_line().encode() + b"\xff", "not UTF-8"),
    ],
)
def test_a_bad_line_is_rejected_with_its_place_and_reason(
    tmp_path: Path, line: str | bytes, reason: str
) -> None:
    rejected = _rejected(tmp_path, b"\n" + (line.encode() if isinstance(line, str) else line))
    assert reason in rejected.reason
    assert rejected.where == "line 2"
    assert 0 < len(rejected.raw) <= 2_000


def test_bad_lines_leave_the_others_unharmed(tmp_path: Path) -> None:
    hostile = {
        "title": "<script>alert(1)</script>\r\nBcc: x@example.org"
        " \u202e {{7*7}} \\input{|id} \ud800 \0",
        "abstract": "a " * 500_000,
        "authors": [f"Author {n}" for n in range(2_000)],
    }
    lines = [_line(), "{", _line(id="2401.00002", **hostile), "<p>", _line(id="2401.00003")]
    (batch,) = _fetch(tmp_path / "mixed.jsonl", "\n".join(lines))
    assert [paper.source_id for paper in batch.papers] == ["2401.00001", "2401.00002", "2401.00003"]
    assert [rejected.where for rejected in batch.rejected] == ["line 2", "line 4"]
    worst = batch.papers[1]
    assert worst.title == "<script>alert(1)</script> Bcc: x@example.org {{7*7}} |id"
    assert (len(worst.authors), len(worst.abstract) <= 10_000) == (200, True)


def _until_error(path: Path) -> tuple[list[FetchedPaper], str]:
    batches: list[Batch] = []
    with pytest.raises(SourceError) as caught:
        batches.extend(JsonLines(path, TODAY).fetch(None))
    return [paper for batch in batches for paper in batch.papers], error_text(caught.value)


def test_a_truncated_gzip_yields_what_can_be_read_and_then_says_so(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join(_line(id=f"2401.{n:05}") for n in range(1, 2_000)).encode())
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    papers, message = _until_error(path)
    assert len(papers) > 500
    assert "is incomplete" in message
    assert f"Records read before it: {len(papers)}." in message


def test_a_damaged_gzip_yields_what_can_be_read_and_then_says_so(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress("\n".join(_line(title=f"T{n}") for n in range(9_000)).encode()))
    whole[-8] ^= 1  # the checksum
    path = tmp_path / "bad.jsonl.gz"
    path.write_bytes(whole)
    papers, message = _until_error(path)
    assert len(papers) > 8_000
    assert "damaged" in message


def test_a_gzip_that_is_none_says_so(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl.gz"
    path.write_text(_line())
    assert "no gzip file" in _until_error(path)[1]


def test_a_web_page_in_the_middle_ends_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "page.jsonl"
    path.write_text(f"{_line()}\n<!DOCTYPE html><html>\n{_line()}\n")
    papers, message = _until_error(path)
    assert len(papers) == 1
    assert "web page at line 2" in message


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    assert "cannot be read" in _until_error(tmp_path / "none.jsonl")[1]


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "zeros.jsonl.gz"
    path.write_bytes(gzip.compress(b"0" * (17 << 20), 1))
    assert "longer than 16 MiB" in _until_error(path)[1]
