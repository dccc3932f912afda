"""The teaser of a paper is what it contributes, in its own sentences and in their order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.teaser import abstracts, chosen_sentences, first_sentences, shows
from triage.digest.contribution import GAP, MAX_SENTENCES, choose_teaser, split_sentences

BACKGROUND = "Large models have become popular."
GAP_OF_FIELD = "However, existing methods remain slow."
PROPOSAL = "In this paper, we propose a draft model."
DETAIL = "It has twelve layers of attention."
RESULT = "Our results show that decoding becomes faster."
CODE = "Code is available at https://github.com/ada/drafts."


def test_what_is_proposed_and_found_is_chosen_and_not_what_was_known() -> None:
    abstract = " ".join((BACKGROUND, GAP_OF_FIELD, PROPOSAL, DETAIL, RESULT, CODE))
    assert choose_teaser(abstract, 600) == f"{PROPOSAL}{GAP}{RESULT}"
    assert choose_teaser(abstract, 60) == PROPOSAL


def test_a_mark_stands_where_sentences_are_left_out() -> None:
    abstract = f"{PROPOSAL} {GAP_OF_FIELD} {RESULT}"
    assert choose_teaser(abstract, 600) == f"{PROPOSAL} … {RESULT}"


@pytest.mark.parametrize(
    ("abstract", "expected"),
    [
        (
            "Background: Sleep is often poor. Methods: A trial was run in 12 wards. "
            "Results: Sleep became longer by 40 minutes. Conclusions: Quiet wards help.",
            "Results: Sleep became longer by 40 minutes. Conclusions: Quiet wards help.",
        ),
        (
            "Objective Pain is common. Results Pain fell by half. Conclusions Talking helps.",
            "Results Pain fell by half. Conclusions Talking helps.",
        ),
        (
            "Context. Filaments are common. Aims. We aim to weigh them. Methods. A lens was used.",
            "Aims. We aim to weigh them.",
        ),
        (
            "Purpose: To develop a system for scans. Scans are read by hand. It was trained.",
            "Purpose: To develop a system for scans. Scans are read by hand.",
        ),
    ],
)
def test_the_headings_of_structured_abstracts_tell_what_a_sentence_is_for(
    abstract: str, expected: str
) -> None:
    assert choose_teaser(abstract, 600) == expected


@pytest.mark.parametrize(
    "abstract",
    ["", "A single sentence about drafts.", "no full stop and no capital", "We study drafts."],
)
def test_a_short_abstract_is_its_own_teaser(abstract: str) -> None:
    assert choose_teaser(abstract, 600) == abstract


@pytest.mark.parametrize(
    ("beginning", "rest"),
    [
        ("本論文は草稿を調べる。復号は速くなる。", "損失はない。"),
        ("Wir lesen. Das Lesen wird schneller.", " Es kostet nichts."),
        ("ندرس طول المسودة. هل يسرع؟", " نعم."),
    ],
)
def test_an_abstract_in_another_language_is_shown_from_its_beginning(
    beginning: str, rest: str
) -> None:
    assert choose_teaser(beginning + rest, len(beginning) + 1) == beginning


def test_a_sentence_that_does_not_fit_is_cut_between_words() -> None:
    cut = choose_teaser(f"{BACKGROUND} We propose {'very ' * 80}long sentences.", 100)
    assert cut.startswith("We propose very very")
    assert cut.endswith("very…")
    assert len(cut) <= 100


@pytest.mark.parametrize(
    "sentence",
    [
        "This holds, e.g. Bayes and i.e. Gauss, for all.",
        "Smith et al. Have a result, cf. Theorem 2 and vs. Others.",
        "The plot of Fig. 2 and Eqs. (3) has 3.5 units.",
        "The work of J. R. Smith in the U.S. Army is known.",
        "We list them: 1. Apples, 2. Pears.",
        'It is "good." said nobody, see www.example.org for more.',
        "The value $x. y$ of Sec. IV is approx. Four.",
        "What does \\emph{this} mean, resp. What not?",
    ],
)
def test_abbreviations_numbers_and_initials_end_no_sentence(sentence: str) -> None:
    assert split_sentences(f"{sentence} We go on. (And on.)") == [
        sentence,
        "We go on.",
        "(And on.)",
    ]


def test_a_letter_at_the_end_of_a_sentence_is_no_initial() -> None:
    assert len(split_sentences("It is vitamin C. We eat it. So is $z < 1$. $Q$ is not.")) == 4


@given(st.text(max_size=400), st.integers(20, 300))
def test_whatever_the_text_the_teaser_is_a_part_of_it_and_fits(text: str, limit: int) -> None:
    text = " ".join(text.split())
    teaser = choose_teaser(text, limit)
    assert len(teaser) <= limit + 2
    assert bool(teaser) == bool(text)
    for part in teaser.removesuffix("…").split(GAP):
        assert part.rstrip(" …") in text or GAP in text


def test_a_text_of_nothing_but_cues_takes_no_long_time() -> None:
    for word in ("code ", "e.g. ", "to address ", "We propose. ", "has been ", "a. B. "):
        assert choose_teaser(word * (10_000 // len(word)), 600)


def test_on_the_abstracts_with_labels_the_contribution_is_shown_and_no_background() -> None:
    read = abstracts("report")
    assert len(read) == 100
    for limit in (600, 320):
        shown = [(chosen_sentences(each, limit), each) for each in read]
        assert all(text.count(GAP) < MAX_SENTENCES for text, _ in shown)
        assert sum(shows(text, each, each.contribution) for text, each in shown) >= 90
        assert sum(shows(text, each, each.background) for text, each in shown) <= 5
        first = [(first_sentences(each, limit), each) for each in read]
        assert sum(shows(text, each, each.contribution) for text, each in first) < 70
