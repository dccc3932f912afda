"""Well-known dumps are read with their dates, names and ids."""

from __future__ import annotations

import gzip
import json
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support.contracts import error_text
from tests.support.paths import ROOT
from triage.domain.source_records import FetchedPaper
from triage.errors import SourceError
from triage.sources.files.detect import open_source

TODAY = date(2026, 3, 2)
DUMP = ROOT / "tests" / "data" / "dump_kaggle_paperscraper.jsonl"
KAGGLE = {
    "id": "0704.0001",
    "submitter": "Ada Lovelace",
    "authors": "A. B. Smith, C. Doe and the X Collaboration",
    "title": "Calculation of prompt\n  diphoton production",
    "comments": "37 pages, 15 figures; published version",
    "journal-ref": "Phys.Rev.D76:013009,2007",
    "doi": "10.5555/PhysRevD.76.013009",
    "report-no": None,
    "categories": "hep-ph math.CO",
    "license": None,
    "abstract": "  A fully differential calculation.\n",
    "versions": [
        {"version": "v1", "created": "Mon, 2 Apr 2007 19:18:42 GMT"},
        {"version": "v2", "created": "Tue, 24 Jul 2007 20:10:27 GMT"},
    ],
    "update_date": "2008-11-26",
    "authors_parsed": [
        ["Smith", "A. B.", ""], ["Doe", "C.", "Jr.", "Oslo"], ["the X Collaboration", "", ""],
    ],
}  # fmt: skip
PAPERSCRAPER = {
    "title": "A preprint on gene drives",
    "doi": "10.1101/2024.01.02.573999",
    "authors": "Lovelace, A.; Hopper, G.",
    "abstract": "We do things.",
    "date": "2024-01-02",
    "journal": "bioRxiv",
}
SCHOLAR = {
    "paperId": "649def34f8be52c8b66281af98ae884c09aef38b",
    "externalIds": {"ArXiv": "1705.10311", "DOI": "10.18653/v1/n18-3011", "CorpusId": 19170988},
    "title": "Construction of the Literature Graph",
    "abstract": "We describe a system.",
    "venue": "NAACL",
    "year": 2018,
    "publicationDate": "2018-05-06",
    "citationCount": 365,
    "tldr": {"model": "tldr@v2.0.0", "text": "A graph of papers."},
    "authors": [{"authorId": "1741101", "name": "Waleed Ammar"}, {"name": "Dirk Groeneveld"}],
}
OPENALEX = {
    "id": "https://openalex.org/W2741809807",
    "doi": "https://doi.org/10.7717/peerj.4375",
    "display_name": "The state of OA",
    "publication_date": "2018-02-13",
    "cited_by_count": 1000,
    "primary_location": {"source": {"display_name": "PeerJ"}},
    "authorships": [{"author": {"display_name": "Heather Piwowar"}, "author_position": "first"}],
    "abstract_inverted_index": {"Despite": [0], "growing": [1, 3], "interest,": [2], "": []},
}


def read(path: Path, *records: dict[str, Any]) -> list[FetchedPaper]:
    if records:
        path.write_text("\n".join(map(json.dumps, records)))
    batches = list(open_source(path, TODAY).fetch(None))
    assert not any(batch.rejected for batch in batches), batches
    return [paper for batch in batches for paper in batch.papers]


def test_a_snapshot_of_arxiv_and_lines_of_paperscraper_keep_their_dates() -> None:
    arxiv, preprint = read(DUMP)
    assert (arxiv.source, arxiv.source_id) == ("arxiv", "0704.0001")
    assert arxiv.listed_on == date(2007, 4, 2)
    assert arxiv.authors == ("C. Balázs", "E. L. Berger")
    assert (preprint.source, preprint.source_id) == ("doi", "10.1101/2024.01.02.573999")
    assert preprint.listed_on == date(2024, 1, 2)
    assert preprint.authors == ("Lovelace, A.", "Hopper, G.")
    assert preprint.venue == ""


def test_kaggles_snapshot_is_read_with_names_venue_and_version(tmp_path: Path) -> None:
    [paper] = read(tmp_path / "arxiv-metadata-oai-snapshot.json", KAGGLE)
    assert paper.title == "Calculation of prompt diphoton production"
    assert paper.authors == ("A. B. Smith", "C. Doe Jr.", "the X Collaboration")
    assert paper.categories == ("hep-ph", "math.CO")
    assert (paper.version, paper.listed_on) == (2, date(2007, 4, 2))
    assert (paper.venue, paper.doi) == ("Phys.Rev.D76:013009,2007", "10.5555/physrevd.76.013009")
    assert paper.comment == "37 pages, 15 figures; published version"


def test_a_collaboration_is_one_author_without_parsed_names(tmp_path: Path) -> None:
    [paper] = read(tmp_path / "a.jsonl", KAGGLE | {"authors_parsed": None})
    assert paper.authors == ("A. B. Smith", "C. Doe", "the X Collaboration")


def test_semantic_scholar_and_openalex_are_read(tmp_path: Path) -> None:
    scholar, openalex = read(tmp_path / "a.jsonl", SCHOLAR, OPENALEX)
    assert (scholar.source, scholar.source_id) == ("arxiv", "1705.10311")
    assert (scholar.doi, scholar.venue) == ("10.18653/v1/n18-3011", "NAACL")
    assert (scholar.citations, scholar.tldr) == (365, "A graph of papers.")
    assert scholar.authors == ("Waleed Ammar", "Dirk Groeneveld")
    assert scholar.listed_on == date(2018, 5, 6)
    assert (openalex.doi, openalex.venue) == ("10.7717/peerj.4375", "PeerJ")
    assert openalex.title == "The state of OA"
    assert openalex.abstract == "Despite growing interest, growing"
    assert (openalex.authors, openalex.citations) == (("Heather Piwowar",), 1000)
    assert openalex.listed_on == date(2018, 2, 13)


@pytest.mark.parametrize(
    ("fields", "on"),
    [
        # An arXiv id alone says the month; the last day, as an exact one may come later.
        ({"id": "0704.0001"}, date(2007, 4, 30)),
        ({"id": "hep-th/9901001"}, date(1999, 1, 31)),
        ({"id": "math.GT/0002136"}, date(2000, 2, 29)),
        ({"id": "arXiv:2401.10000v3"}, date(2024, 1, 31)),
        ({"doi": "10.48550/arXiv.1501.00001"}, date(2015, 1, 31)),
        # The month of the import ends with the import.
        ({"id": "2603.00001"}, TODAY),
        ({"doi": "10.1101/2020.03.05.123456"}, date(2020, 3, 5)),
        ({"doi": "10.64898/2025.12.01.700001"}, date(2025, 12, 1)),
        ({"id": "x1", "date": "5 March 2019"}, date(2019, 3, 5)),
        ({"id": "x1", "date": "2019-03"}, date(2019, 3, 31)),
        ({"id": "x1", "year": 2019}, date(2019, 12, 31)),
        ({"id": "x1", "year": 2026}, TODAY),
        ({"id": "0704.0001", "year": 2009}, date(2007, 4, 30)),
        ({"id": "0704.0001", "versions": []}, date(2007, 4, 30)),
        ({"id": "0704.0001", "versions": [{"created": "soon"}]}, date(2007, 4, 30)),
        ({"id": "0704.0001", "versions": ["v1"], "date": None}, date(2007, 4, 30)),
        ({"id": "0704.0001", "date": "n.d."}, date(2007, 4, 30)),
        ({"id": "0704.0001", "date": "2030-01-01"}, TODAY),
        ({"id": "0704.0001", "listed_date": "2007-04-05"}, date(2007, 4, 5)),
        ({"id": "x1"}, TODAY),
    ],
)
def test_a_record_is_listed_on_the_best_known_day(
    tmp_path: Path, fields: dict[str, Any], on: date
) -> None:
    [paper] = read(tmp_path / "a.jsonl", {"title": "A title", "abstract": "Text."} | fields)
    assert paper.listed_on == on


@pytest.mark.parametrize("form", ["list", "pretty", "gz", "zip", "list.gz", "bom"])
def test_a_dump_may_be_a_json_list_and_packed(tmp_path: Path, form: str) -> None:
    records = [KAGGLE, PAPERSCRAPER]
    lines = "\n".join(map(json.dumps, records)).encode()
    path = tmp_path / f"dump.json.{form}"
    if form == "zip":
        path = tmp_path / "archive.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("__MACOSX/._arxiv-metadata-oai-snapshot.json", b"\0")
            packed.writestr("arxiv-metadata-oai-snapshot.json", lines)
    else:
        path.write_bytes(
            {
                "list": json.dumps(records).encode(),
                "pretty": json.dumps(records, indent=4).encode(),
                "bom": b"\xef\xbb\xbf" + json.dumps(records).encode(),
                "gz": gzip.compress(lines),
                "list.gz": gzip.compress(json.dumps(records).encode()),
            }[form]
        )
    assert [paper.listed_on for paper in read(path)] == [date(2007, 4, 2), date(2024, 1, 2)]


def test_a_zip_of_several_files_and_a_cut_list_say_what_to_do(tmp_path: Path) -> None:
    several = tmp_path / "several.zip"
    with zipfile.ZipFile(several, "w") as packed:
        packed.writestr("a.jsonl", "{}")
        packed.writestr("b.jsonl", "{}")
    with pytest.raises(SourceError) as refused:
        list(open_source(several, TODAY).fetch(None))
    assert "with 2 files. Unpack it" in error_text(refused.value)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(several.read_bytes()[:60])
    with pytest.raises(SourceError) as refused:
        list(open_source(broken, TODAY).fetch(None))
    assert "cannot be unpacked" in error_text(refused.value)
    cut = tmp_path / "cut.json"
    cut.write_text(json.dumps([KAGGLE, PAPERSCRAPER])[:-10])
    with pytest.raises(SourceError) as refused:
        list(open_source(cut, TODAY).fetch(None))
    assert "damaged JSON list" in error_text(refused.value)


@pytest.mark.parametrize(
    "hostile",
    [
        {"versions": {"created": 1}},
        {"versions": [[]]},
        {"authors_parsed": [1, ["x"], {"a": 1}, ["Doe", 2]], "authors": None},
        {"externalIds": ["10.1/x"]},
        {"tldr": {"text": None}},
        {"abstract_inverted_index": {"a": "b", "c": [None, "d"]}},
        {"journal-ref": 7, "citationCount": -1, "cited_by_count": "many"},
        {"authorships": [{"author": None}], "authors": []},
        {"date": ["2020"], "year": [2020], "publicationDate": 7},
    ],
)
def test_fields_of_another_form_stop_nothing(tmp_path: Path, hostile: dict[str, Any]) -> None:
    path = tmp_path / "a.jsonl"
    good = {"id": "0704.0002", "title": "A title", "abstract": "Text."}
    path.write_text("\n".join([json.dumps(good | hostile), json.dumps(good | {"id": "0704.0003"})]))
    [batch] = open_source(path, TODAY).fetch(None)
    assert len(batch.papers) + len(batch.rejected) == 2
    assert batch.papers[-1].source_id == "0704.0003"
