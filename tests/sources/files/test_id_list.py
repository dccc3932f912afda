"""Lists of ids: what the store may know already."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import pytest

from tests.support.contracts import SourceContract, error_text
from triage.domain.source_records import PaperId
from triage.errors import SourceError
from triage.sources.files.detect import open_source
from triage.sources.files.id_list import IdList

TODAY = date(2026, 3, 2)


class TestArxivIdsKeepTheContract(SourceContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        self.full = tmp_path / "ids.txt"
        many = ", ".join(f"2401.{n:05}" for n in range(1, 1_203))
        self.full.write_text(f"# mine\n{many}\nnonsense\n2402.00001\n")
        self.none = tmp_path / "none.txt"
        self.none.write_text("# nothing yet\n\n")

    def source(self) -> IdList:
        return IdList(self.full, TODAY)

    def empty_source(self) -> IdList:
        return IdList(self.none, TODAY)


def test_ids_links_and_dois_are_read_with_remarks_and_commas(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text(
        "\ufeff# my reading list\r\n2401.00001v2, hep-th/9901001 # two\r\n\r\n"
        "https://arxiv.org/abs/2401.00002#S1\r\ndoi: 10.1000/182; arXiv: 2401.00003\r\nwhat\r\n"
    )
    (batch,) = IdList(path, TODAY).fetch(None)
    assert batch.ids == (
        PaperId("arxiv", "2401.00001", 2, "line 2"),
        PaperId("arxiv", "hep-th/9901001", None, "line 2"),
        PaperId("arxiv", "2401.00002", None, "line 4"),
        PaperId("doi", "10.1000/182", None, "line 5"),
        PaperId("arxiv", "2401.00003", None, "line 5"),
    )
    (rejected,) = batch.rejected
    assert (rejected.raw, rejected.where) == ("what", "line 6")
    assert "no arXiv id" in rejected.reason


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe" + "2401.00011\r\n2401.00012\r\n".encode("utf-16-le"),
        "2401.00011\r\n2401.00012".encode("utf-16-le"),
        "2401.00011\n2401.00012\n".encode("utf-16-be"),
        gzip.compress("2401.00011\r\n2401.00012\r\n".encode("utf-16"), mtime=0),
        "\u200b\u200a2401.00011\n2401.00012\u200b".encode(),
        "\ufeff\uff12\uff14\uff10\uff11.00011, 2401.00012".encode(),
        b"https://arxiv.org/abs/arxiv:2401.00011\n<https://www.alphaxiv.org/abs/2401.00012>\n",
        b"arXiv:2401.00011v3 [cs.LG] 5 Jan 2024\narXiv:2401.00012v1 [math.ST] 6 Jan 2024\n",
        b"2401.00011v1 [cond-mat.str-el]\n(2401.00012)",
    ],
)
def test_lists_of_all_programs_are_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(content)
    source = open_source(path, TODAY)
    assert isinstance(source, IdList)
    (batch,) = source.fetch(None)
    assert [id.source_id for id in batch.ids] == ["2401.00011", "2401.00012"]
    assert batch.rejected == ()


def test_dois_with_semicolons_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    first = "10.1002/(SICI)1097-0258(19980815)17:15/16<1661::AID-SIM968>3.0.CO;2-2"
    second = "10.1175/1520-0493(1984)112<1590:TIOSD>2.0.CO;2"
    path.write_text(f"{first};{second}; 10.1000/182;2401.00001\n")
    (batch,) = IdList(path, TODAY).fetch(None)
    assert [id.source_id for id in batch.ids] == [
        first.lower(),
        second.lower(),
        "10.1000/182",
        "2401.00001",
    ]


@pytest.mark.parametrize("text", [b"<!DOCTYPE html>\n2401.00001", b"\x7fELF\0\0\0"])
def test_a_file_that_is_no_list_says_so(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "page.txt"
    path.write_bytes(text)
    with pytest.raises(SourceError) as caught:
        list(IdList(path, TODAY).fetch(None))
    assert "markup or binary" in error_text(caught.value)
