"""RIS: records, repeated tags, and values that would break a line."""

from __future__ import annotations

import re

import pytest
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


@pytest.mark.parametrize(
    "text",
    [
        "TY-JOUR\nTI-On engines\n that run\nER-\n",
        "TY -  JOUR\nTI  -  On engines\n that run\nER -\n",
        "TY  -JOUR\nTI  -On engines\n that run\nER  -",
        "ty  - jour\nti  - On engines\nthat run\ner  - \n",
        "\ufeffTY  - JOUR\rTI  - On engines\r  that run\rER  - \r",
        "TY      -     JOUR\nTI      -    On engines that run\nER  -",
        "  TY  - JOUR\n  TI  - On engines\n  that run\n  ER  - ",
        "TY  – JOUR\nTI  – On engines that run\nER  – \n",
        "TI  - On engines that run\nAU  - Lovelace, A.\nER  - \n",
        "Provider: X\nContent: text/plain\n\nTY  - JOUR\nTI  - On engines that run\nER  - ",
    ],
)
def test_other_blanks_and_missing_types_hide_no_record(text: str) -> None:
    assert ris.looks_like(text)
    [entry] = ris.read(text)
    assert entry.fields["TI"] == ["On engines that run"]


def test_a_type_after_other_tags_begins_no_record() -> None:
    text = "DB  - X\nTI  - One\nTY  - JOUR\nER  - \n\nDB  - X\nTI  - Two\nTY  - JOUR\nER  - \n"
    assert [each.fields["TI"] for each in ris.read(text)] == [["One"], ["Two"]]


def test_words_with_a_dash_are_no_tags_where_blanks_are_usual() -> None:
    text = "TY  - JOUR\nAB  - Levels of\nIL-6 and\nT2-weighted images\nER  - "
    [entry] = ris.read(text)
    assert entry.fields["AB"] == ["Levels of IL-6 and T2-weighted images"]


NBIB = (
    "\nPMID- 31000001\nOWN - NLM\nSTAT- MEDLINE\nDP  - 2019 Mar 3\nTI  - On engines that\n"
    "      calculate.\nLID - 10.1000/182 [doi]\nLID - e17 [pii]\nAB  - BACKGROUND: We\n"
    "      do.\nFAU - Lovelace, Ada\nAU  - Lovelace A\nCN  - The Group\n"
    "CIN - Nature. 2020. doi: 10.1000/other\nAID - S0140-6736(19)30183-5 [pii]\n"
    "AID - 10.1000/182 [doi]\n\nPMID- 31000002\nTI  - Second.\nAU  - Babbage C\n"
)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_pubmeds_records_have_the_tags_of_ris(line_end: str) -> None:
    first, second = ris.read(NBIB.replace("\n", line_end))
    assert first.fields["TI"] == ["On engines that calculate."]
    assert first.fields["AB"] == ["BACKGROUND: We do."]
    assert first.fields["DO"] == ["10.1000/182 [doi]", "10.1000/182 [doi]"]
    assert first.fields["AU"] == ["Lovelace, Ada", "The Group"]
    assert first.fields["DA"] == ["2019 Mar 3"]
    assert (second.fields["TI"], second.fields["A1"]) == (["Second."], ["Babbage, C"])
    assert (first.line, second.line) == (2, 19)


def test_endnotes_records_have_the_tags_of_ris() -> None:
    text = (
        "%0 Journal Article\n%T On engines\n%A Lovelace, Ada\n%A Babbage, C.\n%D 1843\n"
        "%R 10.1000/182\n%U https://example.org\n%X We\ndo.\n\n%0 Book\n%T Notes\n"
    )
    first, second = ris.read(text)
    assert first.fields["AU"] == ["Lovelace, Ada", "Babbage, C."]
    assert (first.fields["DO"], first.fields["AB"]) == (["10.1000/182"], ["We do."])
    assert (second.fields["TI"], second.line) == (["Notes"], 11)


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
