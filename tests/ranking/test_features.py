"""What a scorer sees: each fact in its column, zeros where nothing is known, never NaN."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import topics
from tests.support.factories import DAY, paper, subscriber
from triage.domain.author_names import author_key
from triage.domain.records import F32, EncodedPapers, Paper, Profile
from triage.ranking.features import (
    FEATURES,
    GROUPS,
    IN_THE_DAY,
    MAX_PHRASES,
    feature_matrix,
    find_keywords,
    find_largest,
    recency_weights,
    split_phrases,
    z_scores,
)
from triage.ranking.user_model import fit_background, fit_user_model

ABOUT_PAPERS = {"upvotes_log1p", "age_days", "density", "density_z"}


def column(name: str, profile: Profile, candidates: EncodedPapers | None = None) -> F32:
    X = feature_matrix(profile, candidates or topics.everything(), DAY)
    return X[:, FEATURES.index(name)]


def test_an_empty_profile_gives_zeros_and_never_nan() -> None:
    X = feature_matrix(topics.profile(), topics.everything(), DAY)
    assert X.shape == (60, len(FEATURES))
    assert X.dtype == np.float32
    personal = [i for i, name in enumerate(FEATURES) if name not in ABOUT_PAPERS]
    assert not X[:, personal].any()


def test_interests_in_words_that_nobody_uses_ask_for_nothing_and_hide_nothing() -> None:
    assert not column("has_interests", topics.profile("zzzz; qqqq")).any()
    assert column("has_interests", topics.profile("zzzz; protein folding")).all()


def test_no_candidates_give_no_rows() -> None:
    X = feature_matrix(topics.profile("graphs", (1,)), topics.library(), DAY)
    assert X.shape == (0, len(FEATURES))


@given(
    st.sampled_from(["", "protein folding", "zzzz; qqqq", "robots\nspeculative decoding"]),
    st.lists(st.integers(0, 59), max_size=5, unique=True),
    st.lists(st.integers(0, 59), max_size=3, unique=True),
)
def test_every_profile_gives_finite_rows(
    interests: str, liked: list[int], disliked: list[int]
) -> None:
    profile = topics.profile(interests, tuple(liked), tuple(disliked))
    X = feature_matrix(profile, topics.everything(), DAY)
    assert np.isfinite(X).all()
    # The third space is kept in half precision.
    assert (np.abs(X[:, : FEATURES.index("category_chosen")]) <= 1 + 1e-3).all()


def test_a_paper_without_words_is_near_to_nothing() -> None:
    blank = topics.of_papers(paper(1, title="…", abstract=""))
    X = feature_matrix(topics.profile("protein folding", (1, 2)), blank, DAY)
    cosines = [
        i for i, name in enumerate(FEATURES) if name.startswith(("words_", "dense_", "sense_"))
    ]
    assert not X[:, cosines].any()


@pytest.mark.parametrize("space", ["words", "dense", "sense"])
@pytest.mark.parametrize("kind", ["mean", "max", "top3"])
def test_likes_draw_their_topic_near(space: str, kind: str) -> None:
    near = column(f"{space}_like_{kind}", topics.profile(liked=(16, 20, 22)))
    others = np.delete(near, list(topics.rows_of("proteins")))
    assert near[list(topics.rows_of("proteins"))].mean() > 3 * max(others.mean(), 0)


def test_the_best_match_lets_each_of_two_interests_stand_for_itself() -> None:
    two = topics.profile("speculative decoding; protein folding")
    near = column("words_interest_max", two)
    for topic in ("decoding", "proteins"):
        alone = column("words_interest_max", topics.profile(_TITLES[topic]))
        rows = list(topics.rows_of(topic))
        assert near[rows] == pytest.approx(alone[rows])


_TITLES = {"decoding": "speculative decoding", "proteins": "protein folding"}


def test_newer_likes_weigh_more() -> None:
    weights = recency_weights(100)
    assert weights.sum() == pytest.approx(1)
    assert (np.diff(weights) < 0).all()
    robots = column("dense_like_mean", topics.profile(liked=(35, 5)))
    decoding = column("dense_like_mean", topics.profile(liked=(5, 35)))
    assert robots[36] > decoding[36]


def test_a_dislike_has_its_own_columns() -> None:
    profile = topics.profile(disliked=(0,))
    assert column("words_dislike_max", profile)[0] == pytest.approx(1, abs=1e-5)
    assert not column("words_like_max", profile).any()


def test_cover_says_how_much_of_a_phrase_a_paper_has() -> None:
    cover = column("interest_cover", topics.profile("protein folding"))
    assert cover.max() == pytest.approx(1, abs=1e-5)
    assert not cover[list(topics.rows_of("robots"))].any()


def test_authors_are_known_whatever_the_spelling() -> None:
    who = subscriber(followed_authors=("Müller, Jörg",))
    candidates = topics.of_papers(paper(1, authors=("jorg  Muller",)), paper(2, authors=()))
    assert column("followed_author", topics.profile(who=who), candidates).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Lovelace, Ada", "Ada Lovelace", True),
        ("Jean-Luc Picard", "jean luc picard", True),
        ("A. Lovelace", "Ada Lovelace", False),
    ],
)
def test_author_keys(one: str, other: str, same: bool) -> None:
    assert (author_key(one) == author_key(other)) is same


def test_authors_of_liked_papers_count() -> None:
    overlap = column("liked_author_overlap", topics.profile(liked=(0,)))
    assert overlap[5] == 2
    assert overlap[1] == 1


def test_the_subscriber_is_no_author_whom_they_like() -> None:
    two = topics.profile(liked=(0, 16))
    assert column("liked_author_overlap", two)[[5, 21]].tolist() == [2, 2]
    first = replace(two, own_papers=frozenset({topics.literature()[0].id}))
    assert column("liked_author_overlap", first)[[5, 21]].tolist() == [1, 2]
    by_me = replace(two, own_authors=frozenset({"ann other"}))
    assert not column("liked_author_overlap", by_me).any()
    # Who likes a third paper by Ann Other is probably Ann Other.
    assert column("liked_author_overlap", topics.profile(liked=(0, 16)))[31] == 1
    assert column("liked_author_overlap", topics.profile(liked=(0, 16, 32)))[33] == 0


def test_categories_chosen_and_categories_liked_are_two_things() -> None:
    chosen = column("category_chosen", topics.profile(who=subscriber(categories=("cs.RO",))))
    assert chosen.sum() == topics.N_EACH
    archive = column("category_chosen", topics.profile(who=subscriber(categories=("cs",))))
    assert archive.sum() == 3 * topics.N_EACH
    affinity = column("category_affinity", topics.profile(liked=(30, 31, 32)))
    assert affinity[33] > 0 > affinity[0]
    one = column("category_affinity", topics.profile(liked=(30,)))
    assert 0 < one[33] < affinity[33]


def test_keywords_are_counted_as_whole_words() -> None:
    who = subscriber(include_keywords=("drafts", "faster", "decod"))
    candidates = topics.of_papers(paper(1), paper(2, title="x", abstract="y"))
    assert column("include_keyword_hits", topics.profile(who=who), candidates).tolist() == [2, 0]
    assert find_keywords(("", " "), "anything") == []


def test_how_crowded_its_place_is_a_paper_brings_along() -> None:
    everything = topics.everything()
    assert np.array_equal(column("density", topics.profile()), everything.encodings.hubness)


def test_upvotes_and_age() -> None:
    papers = (
        paper(1, upvotes=None),
        paper(2, upvotes=31, listed_on=DAY - timedelta(3)),
        paper(3, listed_on=DAY + timedelta(1)),
    )
    X = feature_matrix(topics.profile(), topics.of_papers(*papers), DAY)
    assert X[:, FEATURES.index("upvotes_log1p")] == pytest.approx([0, np.log(32), 0])
    assert X[:, FEATURES.index("age_days")].tolist() == [0, 3, 0]


def test_a_row_depends_on_its_paper_and_the_profile_alone() -> None:
    profile = topics.profile("graph learning", (3, 40), (20,))
    whole = feature_matrix(profile, topics.everything(), DAY)
    part = feature_matrix(profile, topics.library(7, 50), DAY)
    by_day = {"category_affinity", *(f"{name}_z" for name in IN_THE_DAY)}
    keep = [i for i, name in enumerate(FEATURES) if name not in by_day]
    assert part[:, keep] == pytest.approx(whole[[7, 50]][:, keep], abs=1e-6)


def test_how_near_a_paper_is_also_counts_by_what_else_there_is_that_day() -> None:
    profile = topics.profile("protein folding", (16, 20))
    near, apart = (column(name, profile) for name in ("dense_like_mean", "dense_like_mean_z"))
    assert apart == pytest.approx((near - near.mean()) / near.std(), abs=1e-4)
    assert not column("dense_like_mean_z", topics.profile()).any()
    alone = feature_matrix(profile, topics.library(16), DAY)
    assert not alone[:, [FEATURES.index(f"{name}_z") for name in IN_THE_DAY]].any()


@given(st.lists(st.lists(st.floats(-9, 9, width=32), min_size=2, max_size=2), min_size=1))
def test_standing_has_no_level_and_no_scale(rows: list[list[float]]) -> None:
    columns = np.array(rows, dtype=np.float32)
    found = z_scores(columns)
    assert np.isfinite(found).all()
    assert found.mean(axis=0) == pytest.approx([0, 0], abs=1e-2)
    assert (found.std(axis=0) < 1.01).all()
    assert z_scores(columns * 2) == pytest.approx(found, abs=0.05)


@pytest.mark.parametrize(
    "name",
    ["taste_likes", "taste_helped", "taste_close", "taste_meaning", "taste_helped_meaning"],
)
def test_what_was_learned_of_a_reader_has_columns_of_its_own(name: str) -> None:
    profile = topics.profile(liked=(16, 20, 22))
    assert not column(name, profile).any()
    past = fit_background("past", topics.everything(), topics.library().encodings.tfidf)
    learned = column(name, replace(profile, user_model=fit_user_model(profile, past)))
    proteins = list(topics.rows_of("proteins"))
    assert learned[proteins].mean() > np.delete(learned, proteins).max()


def test_centres_and_anchors_of_a_taste_draw_near_what_they_stand_for() -> None:
    profile = topics.profile("protein folding", (31, 33, 35))
    past = fit_background("past", topics.everything(), topics.library().encodings.tfidf)
    profile = replace(profile, user_model=fit_user_model(profile, past))
    for name, topic in (
        ("cluster_dense", "robots"),
        ("anchor_max", "proteins"),
        ("anchor_dense", "proteins"),
        ("anchor_sense", "proteins"),
    ):
        near, rows = column(name, profile), list(topics.rows_of(topic))
        assert near[rows].mean() > 2 * abs(np.delete(near, rows).mean())


@pytest.mark.parametrize(
    "name",
    ["cluster_likes", "cluster_meaning", "cluster_words", "cluster_dense", "cluster_sense"],
)
def test_a_paper_counts_for_the_interest_that_it_is_nearest_to(name: str) -> None:
    past = fit_background("past", topics.everything(), topics.library().encodings.tfidf)
    two = topics.profile(liked=(16, 20, 22, 31, 33, 35))
    assert not column(name, two).any()
    found = column(name, replace(two, user_model=fit_user_model(two, past)))
    ours = [*topics.rows_of("proteins"), *topics.rows_of("robots")]
    assert found[ours].mean() > np.delete(found, ours).max()
    each = [
        column(name, replace(one, user_model=fit_user_model(one, past)))
        for one in (topics.profile(liked=(16, 20, 22)), topics.profile(liked=(31, 33, 35)))
    ]
    # What is liked is no other, so the models of a reader of both differ a little from theirs.
    assert found == pytest.approx(np.maximum(*each), abs=0.3)


def test_every_feature_has_a_meaning_for_people() -> None:
    assert list(GROUPS) == list(FEATURES)
    assert all(GROUPS.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("speculative decoding", ("speculative decoding",)),
        ("I work on protein design.", ("protein design",)),
        ("I'm interested in graph learning and protein design", (
            "graph learning", "protein design")),
        ("text and speech generation", ("text and speech generation",)),
        ("search and rescue robots", ("search and rescue robots",)),
        ("LLM agents, GraphRAG, and quantum error correction", (
            "LLM agents", "GraphRAG", "quantum error correction")),
        ("vision transformers; diffusion\nrobot learning", (
            "vision transformers", "diffusion", "robot learning")),
        ("Papers about tactile sensing. Also causal inference!", (
            "tactile sensing", "causal inference")),
        ("retrieval, Retrieval, etc.", ("retrieval", "Retrieval")),
        (" ;;, \n ", ()),
    ],
)  # fmt: skip
def test_a_sentence_is_split_into_interests(text: str, expected: tuple[str, ...]) -> None:
    assert split_phrases(text) == expected


@given(st.text(max_size=400))
@example('"\x0bgraphs \x1f)')
def test_any_text_is_split_without_harm(text: str) -> None:
    found = split_phrases(text)
    assert len(found) <= MAX_PHRASES
    assert all(phrase.strip() == phrase and len(phrase) > 1 for phrase in found)


def test_two_thousand_authors_do_no_harm() -> None:
    crowd: Paper = paper(1, authors=tuple(f"Author {i}" for i in range(2000)))
    who = subscriber(followed_authors=("Author 1999",))
    assert column("followed_author", topics.profile(who=who), topics.of_papers(crowd)) == 1


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 40))
def test_the_largest_values_are_those_of_a_stable_sort(values: list[int], n: int) -> None:
    rows = np.array(values, dtype=np.float32)
    assert find_largest(rows, n).tolist() == np.argsort(-rows, kind="stable")[:n].tolist()
