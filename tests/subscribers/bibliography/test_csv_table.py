"""Tables of other programs: Zotero's, our own, and what is none."""

from __future__ import annotations

import pytest

from triage.errors import ConfigError
from triage.subscribers.bibliography import csv_table

ZOTERO = (
    '"Key","Item Type","Publication Year","Author","Title","Publication Title","DOI","Url",'
    '"Abstract Note","Date","Extra"\r\n'
    '"AB2C","journalArticle","2017","Lovelace, Ada; Babbage, C.","On ""engines"", and more","T",'
    '"10.5555/a","https://example.org","Two\r\nlines","2017-06-12",""\r\n'
)


def test_zoteros_table_is_read() -> None:
    [record] = csv_table.read(ZOTERO)
    assert record["TI"] == ['On "engines", and more']
    assert record["AU"] == ["Lovelace, Ada", "Babbage, C."]
    assert (record["DO"], record["DA"], record["AB"]) == (
        ["10.5555/a"], ["2017-06-12"], ["Two lines"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "title;authors;doi\nOn engines;Lovelace, A.;10.5555/a",
        "Title\tYear\tDOI\nOn engines\t2017\t10.5555/a",
        "Authors,Title,Year,Link\nLovelace A.,On engines,2017,https://doi.org/10.5555/a",
    ],
)
def test_other_tables_with_such_columns_are_read(text: str) -> None:
    assert csv_table.looks_like(text)
    [record] = csv_table.read(text)
    assert record["TI"] == ["On engines"]


@pytest.mark.parametrize(
    "text", ["", "id,score\n2401.00011,0.5", "A title, of three, parts", "x" * 300_000, '"']
)
def test_what_names_no_such_columns_is_no_table(text: str) -> None:
    assert not csv_table.looks_like(text)


def test_a_row_that_is_too_short_or_too_long_is_read() -> None:
    short, long = csv_table.read("Title,DOI,Year\nOne\nTwo,10.5555/a,2017,x,y\n")
    assert (short["TI"], long["DO"]) == (["One"], ["10.5555/a"])


def test_a_cell_without_end_is_an_error() -> None:
    with pytest.raises(ConfigError, match="line"):
        list(csv_table.read('Title,DOI,Year\n"' + "x\n" * 200_000))
