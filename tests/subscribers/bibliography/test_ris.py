"""RIS: records, repeated tags, and values that would break a line."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from triage.subscribers.bibliography import ris


def test_records_have_their_tags_in_order() -> None:
    text = (
        "TY  - JOUR\nAU  - Lovelace, Ada\nAU  - Babbage, Charles\nTI  - One\nER  - \n\nTY  - BOOK\n"
    )
    first, second = ris.read(text)
    assert first.fields["AU"] == ["Lovelace, Ada", "Babbage, Charles"]
    assert (first.line, second.line) == (1, 7)


def test_a_line_without_a_tag_goes_on_the_last() -> None:
    (entry,) = ris.read("\ufeffTY  - JOUR\r\nAB  - One\r\ntwo\r\n  three\r\nER  -\r\n")
    assert entry.fields["AB"] == ["One two three"]


def test_a_record_that_is_never_ended_ends_where_the_next_begins() -> None:
    assert len(list(ris.read("TY  - A\nTI  - x\nTY  - B\nTI  - y\n"))) == 2
    assert list(ris.read("")) == []
    assert list(ris.read("TI  - before any record\n")) == []


def test_the_first_of_the_first_tag_that_has_one_counts() -> None:
    assert ris.first({"T1": ["b"], "TI": ["", "a"]}, "TI", "T1") == "a"
    assert ris.first({}, "TI") == ""


@given(st.text())
def test_no_value_breaks_its_line(text: str) -> None:
    written = ris.write_entry("JOUR", [("TI", text), ("AB", "after")])
    (entry,) = ris.read(written)
    assert set(entry.fields) <= {"TY", "TI", "AB"}
    assert entry.fields["AB"] == ["after"]
    shown = "".join(c for c in " ".join(text.split()) if c.isprintable())
    assert re.split(r"\r\n", written)[-2] == "ER  - "
    assert ris.first(entry.fields, "TI") == shown.strip()


def test_reading_takes_no_more_than_its_length() -> None:
    (entry,) = ris.read("TY  - JOUR\nAB  - x\n" + "x\n" * 500_000)
    assert len(entry.fields["AB"][0]) == 1_000_001
