"""What is written in a search box becomes words that an index can be asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.search_query import LONGEST, MOST_TERMS, parse, words_of


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ("attention layer", [("attention",), ("layer",)]),
        ("k-means", [("k", "means")]),
        ("GPT-4 and GPT-4", [("gpt", "4")]),
        ("β-VAE", [("β", "vae")]),
        ("Schrödinger’s naïve ﬁelds", [("schrodinger", "s"), ("naive",), ("fields",)]),
        ("the mixture of experts", [("mixture",), ("experts",)]),
        ("to be or not to be", [("to",), ("be",), ("or",), ("not",)]),
        ('"mixture of experts" routing', [("mixture", "of", "experts"), ("routing",)]),
        ('an "open quote', [("open", "quote")]),
        ("注意力 機構", [("注意力",), ("機構",)]),
        ("ガイド", [("ガイド",)]),
        ("🙂 — * ( ^ NEAR", [("near",)]),
        ('""', []),
        ("", []),
    ],
)
def test_terms_are_words_and_phrases(written: str, terms: list[tuple[str, ...]]) -> None:
    assert list(parse(written).terms) == terms


def test_what_stands_in_quotes_must_be_there() -> None:
    query = parse('routing "mixture of experts" vision')
    assert query.required == (("mixture", "of", "experts"),)
    assert query.text == "routing mixture of experts vision"


def test_a_minus_before_a_word_or_a_phrase_excludes_it() -> None:
    query = parse('cats -dogs -"wild cats" well-known - lone')
    assert query.excluded == (("dogs",), ("wild", "cats"))
    assert query.terms == (("cats",), ("well", "known"), ("lone",))
    assert "dogs" not in query.text


def test_what_nobody_can_have_typed_is_cut() -> None:
    query = parse("word" + " more words" * 100_000)
    assert len(query.text) <= LONGEST
    assert len(parse(" ".join(map(str, range(1000)))).terms) == MOST_TERMS


@given(st.text())
def test_every_text_gives_words_of_letters_and_digits(written: str) -> None:
    query = parse(written)
    for term in (*query.terms, *query.required, *query.excluded):
        assert term
        assert all(word and words_of(word) == (word,) for word in term)
