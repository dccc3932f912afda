"""A reader's own models: what tells their likes from everything else that was listed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from tests.support import topics
from triage.domain.records import F32, Background, EncodedPapers, Profile, UserModel
from triage.ranking.user_model import FEW_LIKES, fit_background, fit_user_model

ALL_LIKES, HELPED, CLOSE = range(3)
ALL_MODELS, ALL_MEANINGS = 3, 2
PROTEINS, ROBOTS = list(topics.rows_of("proteins")), list(topics.rows_of("robots"))
NOBODY: list[int] = []


def past(papers: EncodedPapers | None = None, liked: list[int] = NOBODY) -> Background:
    papers = topics.everything() if papers is None else papers
    return fit_background("past", papers, topics.library(*liked).encodings.tfidf)


def liking(*rows: int, interests: str = "") -> Profile:
    return topics.profile(interests, rows)


def logits(taste: UserModel, model: int) -> F32:
    """Return what a model says of each paper of the literature."""
    words = topics.everything().encodings.tfidf
    return np.asarray(words @ taste.tfidf_models[model].toarray().ravel() + taste.intercepts[model])


def mean_gap(values: F32, rows: list[int]) -> float:
    return float(values[rows].mean() - np.delete(values, rows).mean())


def content(taste: UserModel) -> list[bytes]:
    parts: list[NDArray[np.generic]] = [
        taste.intercepts, taste.semantic_models, taste.latent_centres, taste.semantic_centres,
        taste.latent_anchors, taste.semantic_anchors,
    ]  # fmt: skip
    for rows in (taste.tfidf_models, taste.tfidf_centres, taste.tfidf_anchors):
        parts += [rows.indptr, rows.indices, rows.data]
    return [part.tobytes() for part in [*parts, taste.everybody]]


def test_words_of_a_like_weigh_for_a_paper_and_words_of_all_others_nothing() -> None:
    taste = fit_user_model(liking(PROTEINS[0]), past())
    held = topics.library(PROTEINS[0]).encodings.tfidf.indices
    weights = taste.tfidf_models[ALL_LIKES].toarray().ravel()
    [protein] = topics.encode(["protein"]).tfidf.indices
    assert weights[protein] > 0
    assert set(np.flatnonzero(weights)) <= set(held)


@pytest.mark.parametrize("model", [ALL_LIKES, HELPED, CLOSE])
def test_every_model_prefers_papers_of_the_liked_topic(model: int) -> None:
    taste = fit_user_model(liking(*PROTEINS[:3]), past())
    unseen = PROTEINS[3:]
    assert logits(taste, model)[unseen].min() > logits(taste, model)[ROBOTS].max()


def test_what_is_meant_counts_beside_words() -> None:
    everything = topics.everything().encodings
    taste = fit_user_model(liking(*PROTEINS[:3]), past())
    scores = everything.semantic @ taste.semantic_models[0]
    assert scores[PROTEINS[3:]].mean() > scores[ROBOTS].max()


def test_neighbours_speak_for_who_wrote_only_a_sentence() -> None:
    taste = fit_user_model(liking(interests="folding of a protein"), past())
    assert not taste.tfidf_models[ALL_LIKES].nnz
    assert mean_gap(logits(taste, HELPED), PROTEINS) > 1
    [docking] = topics.encode(["docking"]).tfidf.indices
    assert taste.tfidf_models[HELPED, docking] > 0
    meanings = topics.everything().encodings.semantic @ taste.semantic_models.T
    assert not meanings[:, ALL_LIKES].any()
    assert mean_gap(meanings[:, HELPED], PROTEINS) > 1


def test_each_phrase_has_an_anchor_of_its_own() -> None:
    taste = fit_user_model(liking(interests="folding of a protein; tactile grasping"), past())
    everything = topics.everything().encodings
    for rows, anchors in (
        (everything.tfidf.toarray(), taste.tfidf_anchors.toarray()),
        (everything.latent, taste.latent_anchors),
        (everything.semantic, taste.semantic_anchors),
    ):
        near = rows @ anchors.T
        assert near.shape == (60, 2)
        assert mean_gap(near[:, 0], PROTEINS) > 0.2
        assert mean_gap(near[:, 1], ROBOTS) > 0.2
        assert np.linalg.norm(anchors, axis=1) == pytest.approx([1, 1], abs=1e-3)


def test_neighbours_of_a_like_help_until_there_are_enough_likes() -> None:
    few = fit_user_model(liking(PROTEINS[0]), past())
    assert len(few.tfidf_models[HELPED].indices) > len(few.tfidf_models[ALL_LIKES].indices)
    rows = [*PROTEINS, *ROBOTS][:FEW_LIKES]
    many = fit_user_model(liking(*rows), past())
    assert (many.tfidf_models[HELPED] != many.tfidf_models[ALL_LIKES]).nnz == 0
    for taste, is_equal in ((few, False), (many, True)):
        meanings = taste.semantic_models
        assert np.array_equal(meanings[HELPED], meanings[ALL_LIKES]) == is_equal


@pytest.mark.parametrize("interests", ["", "zzzz qqqq"])
def test_of_whom_nothing_is_known_there_is_no_model(interests: str) -> None:
    before = past(liked=[*PROTEINS, *ROBOTS])
    taste = fit_user_model(liking(interests=interests), before)
    assert len(taste.intercepts) == taste.tfidf_models.shape[0] == len(taste.latent_centres) == 0
    assert (
        len(taste.semantic_models)
        == len(taste.semantic_centres)
        == taste.tfidf_centres.shape[0]
        == 0
    )
    assert taste.tfidf_anchors.shape == (0, before.encodings.tfidf.shape[1])
    assert taste.everybody is before.everybody


def test_an_empty_background_teaches_nothing() -> None:
    empty = past(topics.library())
    assert len(empty) == 0
    taste = fit_user_model(liking(*PROTEINS[:3], interests="protein folding"), empty)
    assert len(taste.intercepts) == 0


def test_own_likes_are_never_counted_as_others() -> None:
    likes = PROTEINS[:4]
    without = topics.library(*(row for row in range(60) if row not in likes))
    for model in (ALL_LIKES, CLOSE):
        with_them, clean = (
            fit_user_model(liking(*likes), past(papers)) for papers in (None, without)
        )
        assert (with_them.tfidf_models[model] != clean.tfidf_models[model]).nnz == 0
    nothing_else = fit_user_model(liking(*likes), past(topics.library(*likes)))
    assert len(nothing_else.intercepts) == 0


def test_dislikes_are_not_counted_as_others_either() -> None:
    down = topics.profile(liked=(PROTEINS[0],), disliked=(PROTEINS[1],))
    without = topics.library(*(row for row in range(60) if row not in PROTEINS[:2]))
    words = [
        fit_user_model(down, past(papers)).tfidf_models[ALL_LIKES] for papers in (None, without)
    ]
    assert (words[0] != words[1]).nnz == 0


def test_the_same_likes_give_the_same_bytes() -> None:
    profile = liking(*PROTEINS[:3], ROBOTS[0], interests="tactile grasping")
    assert content(fit_user_model(profile, past())) == content(fit_user_model(profile, past()))


def test_what_was_learned_before_does_not_count() -> None:
    profile = liking(*PROTEINS[:3])
    other = fit_user_model(liking(*ROBOTS[:3]), past())
    assert content(fit_user_model(replace(profile, user_model=other), past())) == content(
        fit_user_model(profile, past())
    )


def test_every_interest_has_models_and_centres_of_its_own() -> None:
    taste = fit_user_model(liking(*PROTEINS[:4], *ROBOTS[:3]), past())
    everything = topics.everything().encodings
    proteins, robots = ALL_MODELS, ALL_MODELS + 1
    assert logits(taste, proteins)[PROTEINS[4:]].min() > logits(taste, proteins)[ROBOTS].max()
    assert logits(taste, robots)[ROBOTS[3:]].min() > logits(taste, robots)[PROTEINS].max()
    for near in (
        everything.semantic @ taste.semantic_models[ALL_MEANINGS:].T,
        (everything.tfidf @ taste.tfidf_centres.T).toarray(),
        everything.latent @ taste.latent_centres.T,
        everything.semantic @ taste.semantic_centres.T,
    ):
        assert near.shape == (60, 2)
        assert near[PROTEINS].mean(axis=0).argmax() == 0
        assert near[ROBOTS].mean(axis=0).argmax() == 1


def test_a_single_interest_is_what_all_likes_say() -> None:
    taste = fit_user_model(liking(*PROTEINS[:4]), past())
    assert taste.tfidf_models.shape[0] == ALL_MODELS + 1
    assert (taste.tfidf_models[ALL_MODELS] != taste.tfidf_models[ALL_LIKES]).nnz == 0
    assert np.array_equal(taste.semantic_models[0], taste.semantic_models[ALL_MEANINGS])


def test_a_like_that_is_near_to_no_other_is_no_interest_beside_larger_ones() -> None:
    taste = fit_user_model(liking(*PROTEINS[:4], ROBOTS[0]), past())
    assert len(taste.latent_centres) == 1
    assert (taste.tfidf_models[ALL_MODELS] != taste.tfidf_models[ALL_LIKES]).nnz > 0
    assert len(fit_user_model(liking(PROTEINS[0]), past()).latent_centres) == 1


def test_a_paper_without_words_is_a_like_that_says_nothing() -> None:
    blank = topics.of_papers(replace(topics.literature()[0], title="…", abstract=""))
    profile = replace(liking(), liked=blank)
    taste = fit_user_model(profile, past())
    assert np.isfinite(taste.intercepts).all()
    assert not taste.tfidf_models[ALL_LIKES].nnz


def test_everybodys_taste_waits_for_enough_likes() -> None:
    assert not past(liked=PROTEINS).everybody.any()
    papers = topics.everything()
    crowd = past(papers, liked=[*PROTEINS, *PROTEINS, *PROTEINS])
    assert mean_gap(papers.encodings.tfidf @ crowd.everybody, PROTEINS) > 1


def test_weights_are_those_of_words_in_the_background() -> None:
    taste = fit_user_model(liking(*PROTEINS[:2]), past())
    assert isinstance(taste.tfidf_models, csr_matrix)
    assert taste.tfidf_models.shape == (ALL_MODELS + 1, past().encodings.tfidf.shape[1])
    parts = (taste.tfidf_models, taste.tfidf_centres, taste.semantic_models, taste.latent_centres)
    assert {part.dtype for part in parts} == {np.dtype(np.float32)}
