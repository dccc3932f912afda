"""Lists of ids: what the store may know already."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tests.support.contracts import SourceContract, error_text
from triage.domain.source_records import PaperId
from triage.errors import SourceError
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


@pytest.mark.parametrize("text", [b"<!DOCTYPE html>\n2401.00001", b"\x7fELF\0\0\0"])
def test_a_file_that_is_no_list_says_so(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "page.txt"
    path.write_bytes(text)
    with pytest.raises(SourceError) as caught:
        list(IdList(path, TODAY).fetch(None))
    assert "markup or binary" in error_text(caught.value)
