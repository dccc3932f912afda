"""Reasons come from the scorer's numbers and point at something that the reader knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import topics
from tests.support.factories import DAY, paper, subscriber
from triage.domain.records import (
    EncodedPapers,
    Paper,
    Placement,
    Policy,
    Profile,
    Reason,
    ReasonKind,
)
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.explanations import (
    MAX_TITLE,
    explain_placement,
    short_title,
    sum_liked_words,
)
from triage.ranking.features import FEATURES, GROUPS, feature_matrix


def explain(
    profile: Profile, candidates: EncodedPapers, row: int = 0, policy: Policy = Policy.RANKED
) -> tuple[Reason, ...]:
    X = feature_matrix(profile, candidates, DAY)
    return explain_placement(
        profile, candidates, Placement(row, 1, 0.5, 1.0, policy), X[row],
        ColdStartScorer().contributions(X)[row], topics.encoder(),
    )  # fmt: skip


def texts(profile: Profile, *papers: Paper) -> list[str]:
    return [reason.text for reason in explain(profile, topics.of_papers(*papers))]


def test_a_like_is_named_and_its_words_told() -> None:
    found = explain(topics.profile(liked=(31, 2)), topics.library(33))
    title = topics.literature()[31].title
    assert f"close to “{title}” that you liked" in [r.text for r in found]
    (words,) = [r.text for r in found if r.kind == "words"]
    assert words.startswith("shares the words ")
    assert words.endswith(" with papers you liked")
    shared = words.removeprefix("shares the words ").removesuffix(" with papers you liked")
    text = topics.literature()[33].text.lower()
    assert all(word in text for term in shared.split(", ") for word in term.split())


def test_a_phrase_of_the_interests_is_quoted() -> None:
    profile = topics.profile("speculative decoding; protein folding")
    (reason,) = explain(profile, topics.library(20))
    assert reason == Reason(ReasonKind.INTERESTS, "matches “protein folding” in your interests")


@pytest.mark.parametrize(
    ("title", "abstract", "told"),
    [
        ("Protein folding", "we fold", "its title matches “protein folding” in your interests"),
        ("Molecules", "of protein folding", "matches “protein folding” in your interests"),
        ("Folding", "of a protein", "has the words of “protein folding” in your interests"),
        ("Molecules", "of a protein", "shares “protein” with “protein folding” in your interests"),
        (
            "Residues",
            "sequence binding docking amino",
            "loosely related to “protein folding” in your interests",
        ),
    ],
)
def test_the_weaker_a_phrase_matches_the_weaker_are_the_words(
    title: str, abstract: str, told: str
) -> None:
    found = texts(topics.profile("protein folding"), paper(title=title, abstract=abstract))
    assert found[0] == told


def test_a_like_that_is_not_close_is_only_somewhat_like_the_paper() -> None:
    profile = topics.profile(liked=(31,))
    near, far = topics.library(33), topics.of_papers(
        paper(title="Zebra savannah robot", abstract="grass spectral embedding message passing")
    )  # fmt: skip
    assert any(r.text.startswith("close to “") for r in explain(profile, near))
    assert any(r.text.startswith("somewhat like “") for r in explain(profile, far))


def test_words_that_many_papers_of_the_day_have_are_no_reason() -> None:
    profile, candidates = topics.profile(liked=(31, 2)), topics.library(33)
    X = feature_matrix(profile, candidates, DAY)
    parts = ColdStartScorer().contributions(X)[0]
    placement = Placement(0, 1, 0.5, 1.0, Policy.RANKED)
    common = np.ones(candidates.encodings.tfidf.shape[1], dtype=bool)
    kinds = [
        [
            reason.kind
            for reason in explain_placement(
                profile, candidates, placement, X[0], parts, topics.encoder(), "", each
            )
        ]
        for each in (sum_liked_words(profile, terms) for terms in (~common, common))
    ]
    assert [ReasonKind.WORDS in each for each in kinds] == [True, False]


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ({"followed_authors": ("Lovelace, Ada",)}, "author you follow: Ada Lovelace"),
        ({"categories": ("cs.LG", "cs.CL")}, "in cs.CL, which you chose"),
        ({"categories": ("cs",)}, "in cs.CL, which you chose"),
        ({"include_keywords": ("drafts", "x")}, "has your keyword “drafts”"),
    ],
)
def test_wishes_are_told(wish: dict[str, object], text: str) -> None:
    assert texts(topics.profile(who=subscriber(**wish)), paper()) == [text]


def test_the_strongest_reason_comes_first() -> None:
    who = subscriber(followed_authors=("Ada Lovelace",), categories=("cs.CL",))
    found = texts(topics.profile(who=who), paper(upvotes=2))
    assert found == [
        "author you follow: Ada Lovelace", "in cs.CL, which you chose",
    ]  # fmt: skip


def test_upvotes_are_told() -> None:
    assert texts(topics.profile(), paper(upvotes=31)) == ["31 upvotes on Hugging Face"]
    assert texts(topics.profile(), paper(upvotes=1)) == ["1 upvote on Hugging Face"]


def test_a_liked_author_is_told() -> None:
    profile = topics.profile(liked=(0,))
    other = paper(title="Zebras", abstract="of the savannah", authors=("Other, Ann",))
    assert "by Other, Ann, of whom you liked a paper" in texts(profile, other)
    by_me = replace(profile, own_authors=frozenset({"ann other"}))
    assert not any("Ann" in text for text in texts(by_me, other))


@pytest.mark.parametrize(
    ("group", "kind", "text"),
    [
        ("interest_cluster", "interest_cluster", "about “drafts” that you read on"),
        ("taste", "words", "shares the word"),
        ("moon phase", "likes", "close to"),
    ],
)
def test_groups_of_later_features_are_told_or_left_out(
    group: str, kind: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.ranking.explanations.GROUPS", GROUPS | {"later": group})
    profile, candidates = topics.profile(liked=(31, 2)), topics.library(33)
    X = np.append(feature_matrix(profile, candidates, DAY)[0], np.float32(1))
    parts = np.append(np.full(len(X) - 1, 0.01), 9.0)
    found = explain_placement(
        profile, candidates, Placement(0, 1, 0.5, 1.0, Policy.RANKED), X, parts,
        topics.encoder(), "drafts",
    )  # fmt: skip
    told = {reason.kind: reason.text for reason in found}
    assert told[kind].startswith(text)


def test_an_exploration_slot_says_that_it_is_one() -> None:
    (reason,) = explain(topics.profile(liked=(1,)), topics.library(2), policy=Policy.EXPLORATION)
    assert reason.kind == "exploration"
    assert reason.text == "a paper outside your usual picks, to learn what you like"


def test_a_paper_without_any_reason_says_at_least_where_it_is_new() -> None:
    assert texts(topics.profile(), paper(upvotes=None)) == ["new on arXiv in cs.CL"]
    assert texts(topics.profile(), paper(source="feed:blog", categories=())) == ["new on blog"]


@given(
    st.sampled_from(["", "protein folding", "zzzz"]),
    st.lists(st.integers(0, 59), max_size=4, unique=True),
    st.integers(0, 59),
    st.lists(st.floats(-3, 3), min_size=len(FEATURES), max_size=len(FEATURES)),
)
def test_whatever_the_numbers_there_are_one_to_three_plain_reasons(
    interests: str, liked: list[int], row: int, parts: list[float]
) -> None:
    profile, candidates = topics.profile(interests, tuple(liked)), topics.everything()
    X = feature_matrix(profile, candidates, DAY)
    found = explain_placement(
        profile, candidates, Placement(row, 1, 0.5, 1.0, Policy.RANKED), X[row],
        np.array(parts), topics.encoder(),
    )  # fmt: skip
    assert 1 <= len(found) <= 3
    assert len({reason.kind for reason in found}) == len(found)
    assert all(reason.text and reason.text.isprintable() for reason in found)


@given(st.text(max_size=300))
def test_titles_are_shortened_between_words(title: str) -> None:
    short = short_title(title)
    assert len(short) <= MAX_TITLE + 1
    assert "\n" not in short


def test_a_long_title_ends_in_an_ellipsis() -> None:
    title = "A very long title: " + "with many words " * 10
    assert short_title(title).endswith("words…")
    assert short_title("Short") == "Short"
