"""Text from strangers becomes lines that a mail can carry, with every URL whole."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.plain_text import (
    LONGEST_TEXT,
    TEXT_WIDTH,
    clean,
    fold,
    shorten,
    without_accents,
    wrap,
)

URL = re.compile(r"https?://[^\s<>\"]+")
WORDS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "https://example.org/a-long-path/that-has-hyphens?and=queries&more#end",
            "日本語の論文はとても長い題名を持つことがある",
            "مقالة",
            "👩🏽‍🔬👨‍👩‍👧‍👦",
            "e\u0301\u0302",
            "x" * 200,
            "well-known-hyphenated-words",
        ]
    ),
)
TEXTS = st.lists(WORDS, max_size=30).map(" ".join)


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@given(st.text(alphabet=st.characters(), max_size=200))
def test_cleaned_text_is_one_line_without_anything_invisible_that_steers(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == " ".join(cleaned.split())
    for character in cleaned:
        assert unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(character) not in {
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
        }  # fmt: skip
    assert clean(cleaned) == cleaned
    cleaned.encode()


def test_a_megabyte_is_cut_before_any_work() -> None:
    assert len(clean("a" * 1_000_000)) == LONGEST_TEXT


def test_a_url_between_words_without_spaces_gets_its_own_place() -> None:
    assert (
        clean("コードはhttps://example.org/a-bにある") == "コードは https://example.org/a-b にある"
    )
    assert clean("“https://example.org” says") == "“https://example.org ” says"
    assert clean("plain (https://example.org/x).") == "plain (https://example.org/x)."


@given(TEXTS, st.integers(20, 300), st.booleans())
def test_shortened_text_begins_as_the_text_does_and_breaks_no_url(
    raw: str, limit: int, at_sentence: bool
) -> None:
    text = clean(raw)
    short = shorten(text, limit, at_sentence=at_sentence)
    assert len(short) <= limit + 2
    assert text.startswith(short.removesuffix("…").rstrip())
    assert set(URL.findall(short)) <= set(URL.findall(text))
    if len(text) <= limit:
        assert short == text


def test_an_abstract_ends_with_a_sentence_where_one_ends() -> None:
    text = "First sentence of a paper. Second one is here. Third one is cut off somewhere"
    assert shorten(text, 60, at_sentence=True) == "First sentence of a paper. Second one is here."
    assert shorten(text, 60) == "First sentence of a paper. Second one is here. Third one is…"


def test_a_dot_within_a_number_or_a_name_ends_no_sentence() -> None:
    text = "It gains 3.5 points over GPT-4.1 on average and then goes on for a long while"
    assert shorten(text, 50, at_sentence=True).endswith("…")


def test_no_character_is_torn_from_its_marks() -> None:
    family = "👩🏽‍🔬"
    for limit in range(6, 20):
        short = shorten(family * 10, limit).removesuffix("…")
        assert short == family * (len(short) // len(family))
        accents = shorten("e\u0301" * 20, limit).removesuffix("…")
        assert len(accents) % 2 == 0


@given(TEXTS, st.sampled_from(["", "    "]))
def test_lines_are_at_most_78_columns_unless_they_hold_a_url(raw: str, indent: str) -> None:
    text = clean(raw)
    lines = wrap(text, indent).split("\n")
    for line in [indent + lines[0], *lines[1:]]:
        assert columns(line) <= TEXT_WIDTH or "://" in line
        assert line.startswith(indent)
        assert line == indent or line == line.rstrip()
    assert "".join(wrap(text, indent).split()) == "".join(text.split())
    assert set(URL.findall(" ".join(lines))) == set(URL.findall(text))


@pytest.mark.parametrize("text", ["", " "])
def test_nothing_stays_nothing(text: str) -> None:
    assert clean(text) == shorten(clean(text), 10) == wrap(clean(text)) == ""


def test_folded_text_has_no_case_and_no_accents() -> None:
    assert fold("Straße É ﬁ Çédille ᾳ") == "strasse e fi cedille αι"
    assert without_accents("É ﬁ ß") == "E fi ß"
    assert fold("") == ""
