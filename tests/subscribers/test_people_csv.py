"""The table of people to add: as spreadsheets of many countries write it, and what is wrong."""

from __future__ import annotations

import re

import pytest

from triage.domain.records import Frequency
from triage.errors import ConfigError
from triage.subscribers.people_csv import Person, read_people
from triage.subscribers.preferences import SubscriberPreferences

HEAD = "email,interests,category,like,zone,hour,frequency\n"
ROW = (
    'ada@example.org,"drafts; kernels","cs.CL, cs.LG",2401.00001 2401.00002,Europe/Paris,6,Weekly\n'
)
ADA = Person(
    2,
    "ada@example.org",
    SubscriberPreferences(
        interests="drafts; kernels",
        categories=("cs.CL", "cs.LG"),
        zone="Europe/Paris",
        hour=6,
        frequency=Frequency.WEEKLY,
    ),
    ("2401.00001", "2401.00002"),
)


def test_every_column_is_read() -> None:
    assert read_people((HEAD + ROW).encode()) == [ADA]


def with_delimiter(delimiter: str) -> str:
    cells = ["ada@example.org", '"drafts; kernels"', '"cs.CL, cs.LG"', "2401.00001 2401.00002",
             "Europe/Paris", "6", "Weekly"]  # fmt: skip
    return HEAD.replace(",", delimiter) + delimiter.join(cells) + "\n"


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_write_is_read(delimiter: str, encoding: str, end: str) -> None:
    text = with_delimiter(delimiter).replace("\n", end)
    assert read_people(text.encode(encoding)) == [ADA]


def test_letters_outside_ascii_are_kept_in_each_encoding() -> None:
    text = "email;interests\nada@example.org;Bücher über Poincaré\n"
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        [person] = read_people(text.encode(encoding))
        assert person.preferences.interests == "Bücher über Poincaré"


def test_columns_may_be_few_and_in_any_order_and_cells_empty() -> None:
    table = b" Hour , EMAIL \n,ada@example.org\n\n , \n9,ben@example.org\n"
    assert read_people(table) == [
        Person(2, "ada@example.org"),
        Person(5, "ben@example.org", SubscriberPreferences(hour=9)),
    ]
    assert read_people(b"email\nada@example.org") == [Person(2, "ada@example.org")]
    assert read_people(b"email\n") == []


def test_several_values_in_a_cell_may_stand_on_lines_of_it() -> None:
    [first, second] = read_people(b'email,like\na@example.org,"1\n2;3 , 4"\nb@example.org,\n')
    assert first.likes == ("1", "2", "3", "4")
    # The number is that of a text editor, and the cell above has two lines.
    assert second.line == 4


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (",6,daily", "it has no email"),
        ("ada@example.org,7:30,", "'7:30' is no hour: write a number from 0 to 23"),
        ("ada@example.org,-1,", "'-1' is no hour"),
        ("ada@example.org,6,monthly", "'monthly' is no frequency: use daily or weekly"),
        ("ada@example.org,6,daily,more", "it has 4 cells, and the first line 3"),
    ],
)
def test_a_row_that_cannot_be_read_is_kept_with_the_reason(row: str, says: str) -> None:
    [bad, good] = read_people(f"email,hour,frequency\n{row}\nben@example.org,,\n".encode())
    assert (bad.line, says in bad.problem) == (2, True), bad.problem
    assert good == Person(3, "ben@example.org")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (b"", "the first line must name the columns"),
        (b"ada@example.org\nben@example.org\n", "the first line must name the columns: email"),
        (b"email,categories\n", "no column 'categories': did you mean 'category'?"),
        (b"email,shoe size\n", "no column 'shoe size': use any of email, interests"),
        (b"email,hour,hour\n", "'hour' is there twice"),
        (b"PK\x03\x04\x00\x00sheet", "save the table as CSV"),
        (b'email,interests\na@example.org,"open\nb@example.org,x\n', "begins on line 2"),
    ],
)
def test_a_file_that_is_no_such_table_says_what_to_do(table: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        read_people(table)
