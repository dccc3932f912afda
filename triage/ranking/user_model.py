"""What a reader's papers have that others have not: linear models, each reader's own.

    likes, all and each interest's ─┬─ against papers of the past ─────────→ taste
    neighbours of phrases ──────────┤
    and of few likes                └─ against those of them that are near ┘

Logistic regression tells likes from papers of the past, both sides weighing the same. Only words
that the likes hold get a weight: no order suffers, and a fit stays cheap. Who has written a
sentence or liked a paper or two is helped by the papers nearest to that: these count as liked until
there are enough real likes (pseudo-relevance feedback: Rocchio 1971; Buckley et al. 1994).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from triage.domain.records import (
    F32,
    F64,
    I64,
    Background,
    EncodedPapers,
    Encodings,
    Profile,
    UserModel,
)
from triage.ranking.features import cover, recency_weights, z_scores
from triage.ranking.interest_clusters import cluster, similarity_threshold

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix, csr_matrix


# The inverse of the penalty. From 1 to 100 the order of papers hardly changes.
STRENGTH = 10.0
MEANING_STRENGTH = 3.0
EVERYBODYS_STRENGTH = 1.0
TOLERANCE = 0.01
N_OTHERS = 4_000
N_OTHERS_IN_MEANING = 1_000
# With so many likes of one's own the neighbours of a phrase say nothing new.
FEW_LIKES = 20
NEIGHBOURS = 20
FEWEST_NEIGHBOURS = 5
# Near papers that were not liked tell what the reader leaves out within the field.
NEAR_OTHERS = 800
FEWEST_OF_AN_INTEREST = 3
FEWEST_LIKES_OF_ALL = 30
N_BACKGROUND = 10_000
FEWEST_BACKGROUND = 2_000
# Everybody's taste is nobody's own: no reader counts with more likes than this.
MOST_LIKES_EACH = 50
MOST_LIKES_OF_ALL = 3_000


def fit_background(name: str, papers: EncodedPapers, liked: csr_matrix) -> Background:
    """Gather the past that tastes stand out from.

    Args:
        name: tells this background from others.
        papers: a sample of what was listed.
        liked: float32 CSR (n, v), what subscribers liked, no one's with very many rows.
    """
    vectors = papers.encodings
    n = len(papers)
    past = Background(
        name=name,
        paper_ids=np.array([paper.id for paper in papers.papers], dtype=np.int64),
        encodings=vectors,
        everybody=np.zeros(vectors.tfidf.shape[1], dtype=np.float32),
        threshold=similarity_threshold(vectors.latent),
    )
    if not n or liked.shape[0] < FEWEST_LIKES_OF_ALL:
        return past
    rest = vectors.tfidf[_every(np.arange(n), N_OTHERS)].tocsc()
    return replace(past, everybody=_fit(liked, rest, EVERYBODYS_STRENGTH)[0])


def fit_user_model(profile: Profile, past: Background) -> UserModel:
    """Fit one reader's models against the past.

    Args:
        profile: likes and phrases; what was learned before does not count.
        past: encoded as the profile is.

    Returns:
        No models where nothing is known of the reader, or nothing is in the background.
    """
    liked = profile.liked.encodings
    others = _others(profile, past)
    if not len(others) or not (len(liked) or profile.interests.tfidf.nnz):
        return nothing(past)
    near = _neighbours(profile, past, others)
    rest = past.encodings.select(_every(others, N_OTHERS))
    others_words = rest.tfidf.tocsc()
    all_likes = helped = close = _fit(liked.tfidf, others_words, STRENGTH)
    if near and len(liked) < FEW_LIKES:
        neighbours = past.encodings.tfidf[np.unique(np.concatenate(near))]
        helped = _fit(_stacked(liked.tfidf, neighbours), others_words, STRENGTH)
    if len(liked):
        nearest = others[np.argsort(-(past.encodings.tfidf[others] @ all_likes[0]), kind="stable")]
        rivals = np.union1d(nearest[:NEAR_OTHERS], _every(others, N_OTHERS_IN_MEANING))
        close = _fit(liked.tfidf, past.encodings.tfidf[rivals].tocsc(), STRENGTH)
    interests = [liked.select(group) for group in _interests(liked.latent, past.threshold)]
    models = [all_likes, helped, close]
    meanings = [_fit_meaning(liked.semantic, rest.semantic)]
    for own in interests:
        is_all = len(own) == len(liked)
        models.append(all_likes if is_all else _fit(own.tfidf, others_words, STRENGTH))
        meanings.append(meanings[0] if is_all else _fit_meaning(own.semantic, rest.semantic))
    return _taste(past, models, meanings, interests, near)


def nothing(past: Background) -> UserModel:
    """Return the taste of a reader of whom nothing is known."""
    return _taste(past, [], [], [], [])


def _taste(
    past: Background,
    models: Sequence[tuple[F32, float]],
    meanings: Sequence[F32],
    interests: Sequence[Encodings],
    near: Sequence[I64],
) -> UserModel:
    vectors = past.encodings
    words = np.array([weights for weights, _ in models], dtype=np.float32)
    meaning = np.array(meanings, dtype=np.float32)
    return UserModel(
        words=_sparse(words.reshape(len(models), vectors.tfidf.shape[1])),
        intercepts=np.array([intercept for _, intercept in models], dtype=np.float32),
        meaning=meaning.reshape(len(meanings), vectors.semantic.shape[1]),
        word_centres=_sparse(_centres([each.tfidf for each in interests], vectors.tfidf)),
        dense_centres=_centres([each.latent for each in interests], vectors.latent),
        sense_centres=_centres([each.semantic for each in interests], vectors.semantic),
        anchors=_sparse(_centres([vectors.tfidf[rows] for rows in near], vectors.tfidf)),
        everybody=past.everybody,
    )


def _others(profile: Profile, past: Background) -> I64:
    own = [paper.id for paper in (*profile.liked.papers, *profile.disliked.papers)]
    return np.flatnonzero(~np.isin(past.paper_ids, np.array(own, dtype=np.int64)))


def _every(rows: I64, n: int) -> I64:
    """Return at most `n` of the rows, evenly spread."""
    return rows if len(rows) <= n else rows[np.linspace(0, len(rows) - 1, n).astype(np.int64)]


def _neighbours(profile: Profile, past: Background, others: I64) -> list[I64]:
    """Return the rows of the past nearest to each phrase, or to the likes where there is none."""
    liked, wanted = profile.liked.encodings, profile.interests
    vectors = past.encodings
    closeness: F32 = np.zeros((len(past), 1), dtype=np.float32)
    if len(liked):
        weights = recency_weights(len(liked))
        by_words = vectors.tfidf @ (weights @ liked.tfidf)
        by_dense = vectors.latent @ (weights @ liked.latent)
        closeness = z_scores(np.stack([by_words, by_dense], axis=1)).sum(axis=1, keepdims=True)
    known = np.flatnonzero(np.diff(wanted.tfidf.indptr))
    if len(known):
        phrases = wanted.select(known)
        closeness = (
            closeness
            + z_scores(np.asarray((vectors.tfidf @ phrases.tfidf.T).toarray(), dtype=np.float32))
            + z_scores(cover(vectors.tfidf, phrases.tfidf))
            + z_scores(vectors.latent @ phrases.latent.T)
        )
    elif not len(liked) or len(liked) >= FEW_LIKES:
        return []
    k = max(FEWEST_NEIGHBOURS, NEIGHBOURS // closeness.shape[1])
    return [others[np.argsort(-column[others], kind="stable")[:k]] for column in closeness.T]


def _interests(dense: F32, apart: float) -> list[I64]:
    """Return the rows of likes that are near to each other; those of no group are left out."""
    labels = cluster(dense, apart)
    groups = [np.flatnonzero(labels == label) for label in range(labels.max(initial=-1) + 1)]
    large = [group for group in groups if len(group) >= FEWEST_OF_AN_INTEREST]
    return large or [np.arange(len(dense))][: len(dense)]


def _centres(groups: Sequence[csr_matrix | F32], like: csr_matrix | F32) -> F32:
    """Return float32 (k, n): the direction of each group's rows, which are newest first."""
    centres = np.zeros((len(groups), like.shape[1]), dtype=np.float32)
    for row, rows in enumerate(groups):
        centre = recency_weights(rows.shape[0]) @ rows
        centres[row] = centre / max(float(np.linalg.norm(centre)), 1e-12)
    return centres


def _fit_meaning(liked: F32, rest: F32) -> F32:
    if not len(liked):
        return np.zeros(rest.shape[1], dtype=np.float32)
    others = rest[_every(np.arange(len(rest)), N_OTHERS_IN_MEANING)]
    weights, _ = _logistic(
        np.vstack([liked, others]), len(liked), MEANING_STRENGTH, solver="lbfgs", tol=1e-4
    )
    return np.asarray(weights, dtype=np.float32)


def _fit(positives: csr_matrix, others: csc_matrix, strength: float) -> tuple[F32, float]:
    """Return float32 (v,) weights and the intercept, over the words that positives hold."""
    weights = np.zeros(others.shape[1], dtype=np.float32)
    columns = np.unique(positives.indices)
    if not len(columns):
        return weights, 0.0
    rows = _stacked(positives[:, columns], others[:, columns].tocsr()).astype(np.float64)
    # liblinear takes trust-region Newton steps, made for rows as sparse (Lin, Weng & Keerthi 2008).
    weights[columns], intercept = _logistic(
        rows, positives.shape[0], strength, solver="liblinear", tol=TOLERANCE
    )
    return weights, intercept


def _logistic(
    rows: csr_matrix | F32, n_positive: int, strength: float, *, solver: str, tol: float
) -> tuple[F64, float]:
    from sklearn.linear_model import LogisticRegression

    labels = np.zeros(rows.shape[0])
    labels[:n_positive] = 1
    model = LogisticRegression(
        C=strength, class_weight="balanced", solver=solver, tol=tol, random_state=0
    ).fit(rows, labels)
    return model.coef_[0], float(model.intercept_[0])


def _stacked(above: csr_matrix, below: csr_matrix) -> csr_matrix:
    from scipy.sparse import vstack

    both: csr_matrix = vstack([above, below], format="csr", dtype=np.float32)
    return both


def _sparse(rows: F32) -> csr_matrix:
    from scipy.sparse import csr_matrix

    return csr_matrix(rows)
