"""Fits the linear models of one subscriber: their likes against a background of other papers.

Logistic regression over TF-IDF and over semantic vectors separates likes from papers of the past;
both classes have the same total weight. Models are fitted on all likes and on each cluster of
likes, and one on all likes against the most similar other papers. Only words of the likes get a
weight: the order of papers is no worse and a fit stays cheap. A subscriber with a few likes or
only a text gets pseudo-relevance feedback (Rocchio 1971; Buckley et al. 1994): the papers nearest
to phrases and likes count as likes, until there are enough real ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triage.domain.records import (
    CSC,
    CSR,
    F32,
    F64,
    I32,
    I64,
    Background,
    EncodedPapers,
    Encodings,
    Profile,
    UserModel,
)
from triage.ranking.features import compute_cover, recency_weights, z_scores
from triage.ranking.interest_clusters import cluster, similarity_threshold

# The inverse of the L2 penalty. From 1 to 100 the order of papers hardly changes.
STRENGTH = 10.0
MEANING_STRENGTH = 3.0
EVERYBODYS_STRENGTH = 1.0
TOLERANCE = 0.01
N_OTHERS = 4_000
N_OTHERS_IN_MEANING = 1_000
# With this many likes, neighbours of phrases add no information.
FEW_LIKES = 20
NEIGHBOURS = 20
FEWEST_NEIGHBOURS = 5
# Similar papers without a like show what the subscriber leaves out within the field.
NEAR_OTHERS = 800
FEWEST_OF_AN_INTEREST = 3
FEWEST_LIKES_OF_ALL = 30
N_BACKGROUND = 10_000
FEWEST_BACKGROUND = 2_000
# The model of all subscribers must not show the taste of one: it needs so many subscribers with
# likes, and only so many likes of each count.
FEWEST_SUBSCRIBERS = 3
MOST_LIKES_EACH = 50
MOST_LIKES_OF_ALL = 3_000


def fit_background(name: str, papers: EncodedPapers, liked: CSR) -> Background:
    """Return the background with that name, from a sample of earlier papers.

    `liked` is float32 CSR (n, v), papers that subscribers liked, at most MOST_LIKES_EACH of each;
    none if fewer than FEWEST_SUBSCRIBERS have likes.
    """
    vectors = papers.encodings
    everybody = np.zeros(vectors.tfidf.shape[1], dtype=np.float32)
    if len(papers) and liked.shape[0] >= FEWEST_LIKES_OF_ALL:
        rest = vectors.tfidf[_every(np.arange(len(papers)), N_OTHERS)].tocsc()
        everybody = _fit(liked, rest, EVERYBODYS_STRENGTH)[0]
    ids = np.array([paper.id for paper in papers.papers], dtype=np.int64)
    return Background(name, ids, vectors, everybody, similarity_threshold(vectors.latent))


def fit_user_model(
    profile: Profile,
    past: Background,
    start: UserModel | None = None,  # noqa: ARG001 - used from the next commit on
) -> UserModel:
    """Fit the models of one subscriber; without likes, known phrases or background there are none.

    Only likes, dislikes and phrases of the profile are used. Both come from the same encoder.

    Args:
        start: the subscriber's model of before some votes, from the same encoder: the fit takes
            less time and gives nearly the same weights.
    """
    liked = profile.liked.encodings
    own_ids = [paper.id for paper in (*profile.liked.papers, *profile.disliked.papers)]
    others = np.flatnonzero(~np.isin(past.paper_ids, np.array(own_ids, dtype=np.int64)))
    if not len(others) or not (len(liked) or profile.interests.tfidf.nnz):
        return empty_user_model(past)
    near = _neighbours(profile, past, others)
    rest = past.encodings.select(_every(others, N_OTHERS))
    others_words = rest.tfidf.tocsc()
    all_likes = with_neighbours = against_nearest = _fit(liked.tfidf, others_words, STRENGTH)
    meaning = meaning_with_neighbours = _fit_meaning(liked.semantic, rest.semantic)
    if near and len(liked) < FEW_LIKES:
        neighbours = past.encodings.select(np.unique(np.concatenate(near)))
        with_neighbours = _fit(_stacked(liked.tfidf, neighbours.tfidf), others_words, STRENGTH)
        positives = np.vstack([liked.semantic, neighbours.semantic])
        meaning_with_neighbours = _fit_meaning(positives, rest.semantic)
    if len(liked):
        nearest = others[np.argsort(-(past.encodings.tfidf[others] @ all_likes[0]), kind="stable")]
        rivals = np.union1d(nearest[:NEAR_OTHERS], _every(others, N_OTHERS_IN_MEANING))
        against_nearest = _fit(liked.tfidf, past.encodings.tfidf[rivals].tocsc(), STRENGTH)
    groups = _cluster_rows(liked.latent, past.threshold)
    like_interests = np.full(len(liked), -1, dtype=np.int32)
    for number, group in enumerate(groups):
        like_interests[group] = number
    interests = [liked.select(group) for group in groups]
    models = [all_likes, with_neighbours, against_nearest]
    meanings = [meaning, meaning_with_neighbours]
    for own in interests:
        is_all = len(own) == len(liked)
        models.append(all_likes if is_all else _fit(own.tfidf, others_words, STRENGTH))
        meanings.append(meanings[0] if is_all else _fit_meaning(own.semantic, rest.semantic))
    return _user_model(past, models, meanings, like_interests, liked, near)


def empty_user_model(past: Background) -> UserModel:
    """Return the user model of an empty profile."""
    nobody = np.zeros(0, dtype=np.int32)
    return _user_model(past, [], [], nobody, past.encodings.select(slice(0, 0)), [])


def interest_centres(liked: Encodings, like_interests: I32) -> tuple[CSR, F32, F32]:
    """Return the TF-IDF, latent and semantic centres of interests, see `UserModel`."""
    k = like_interests.max(initial=-1) + 1
    rows = [liked.select(np.flatnonzero(like_interests == number)) for number in range(k)]
    return _centres(rows, liked)


def _user_model(
    past: Background,
    models: Sequence[tuple[F32, float]],
    meanings: Sequence[F32],
    like_interests: I32,
    liked: Encodings,
    near: Sequence[I64],
) -> UserModel:
    vectors = past.encodings
    words = np.array([weights for weights, _ in models], dtype=np.float32)
    meaning = np.array(meanings, dtype=np.float32)
    centres = interest_centres(liked, like_interests)
    anchors = _centres([vectors.select(rows) for rows in near], vectors)
    return UserModel(
        tfidf_models=_sparse(_half(words.reshape(len(models), vectors.tfidf.shape[1]))),
        intercepts=np.array([intercept for _, intercept in models], dtype=np.float32),
        semantic_models=_half(meaning.reshape(len(meanings), vectors.semantic.shape[1])),
        like_interests=like_interests,
        tfidf_centres=centres[0],
        latent_centres=centres[1],
        semantic_centres=centres[2],
        tfidf_anchors=anchors[0],
        latent_anchors=anchors[1],
        semantic_anchors=anchors[2],
        everybody=past.everybody,
    )


def _every(rows: I64, n: int) -> I64:
    """Return at most `n` of the rows, evenly spread."""
    return rows if len(rows) <= n else rows[np.linspace(0, len(rows) - 1, n).astype(np.int64)]


def _neighbours(profile: Profile, past: Background, others: I64) -> list[I64]:
    """Return the background rows nearest to each phrase, or to the likes if there is no phrase."""
    liked, vectors = profile.liked.encodings, past.encodings
    similarity: F32 = np.zeros((len(past), 1), dtype=np.float32)
    if len(liked):
        weights = recency_weights(len(liked)).astype(np.float32)
        by_words = vectors.tfidf @ (weights @ liked.tfidf)
        by_dense = vectors.latent @ (weights @ liked.latent)
        similarity = z_scores(np.stack([by_words, by_dense], axis=1)).sum(axis=1, keepdims=True)
    with_terms = np.flatnonzero(np.diff(profile.interests.tfidf.indptr))
    if len(with_terms):
        phrases = profile.interests.select(with_terms)
        similarity = (
            similarity
            + z_scores(np.asarray((vectors.tfidf @ phrases.tfidf.T).toarray(), dtype=np.float32))
            + z_scores(compute_cover(vectors.tfidf, phrases.tfidf))
            + z_scores(vectors.latent @ phrases.latent.T)
        )
    elif not len(liked) or len(liked) >= FEW_LIKES:
        return []
    k = max(FEWEST_NEIGHBOURS, NEIGHBOURS // similarity.shape[1])
    return [others[np.argsort(-column[others], kind="stable")[:k]] for column in similarity.T]


def _cluster_rows(dense: F32, apart: float) -> list[I64]:
    """Return the rows of each large cluster of likes, or all rows if no cluster is large."""
    labels = cluster(dense, apart)
    groups = [np.flatnonzero(labels == label) for label in range(labels.max(initial=-1) + 1)]
    large = [group for group in groups if len(group) >= FEWEST_OF_AN_INTEREST]
    return large or [np.arange(len(dense))][: len(dense)]


def _centres(groups: Sequence[Encodings], like: Encodings) -> tuple[CSR, F32, F32]:
    """Return the recency-weighted unit mean of each group in each space; newest rows first."""
    k = len(groups)
    words, latent, semantic = (
        np.zeros((k, rows.shape[1]), dtype=np.float32)
        for rows in (like.tfidf, like.latent, like.semantic)
    )
    for row, group in enumerate(groups):
        weights = recency_weights(len(group)).astype(np.float32)
        words[row] = _unit(weights @ group.tfidf)
        latent[row] = _unit(weights @ group.latent)
        semantic[row] = _unit(weights @ group.semantic)
    return _sparse(_half(words)), _half(latent), _half(semantic)


def _unit(vector: F32) -> F32:
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-12))


def _fit_meaning(liked: F32, rest: F32) -> F32:
    """Return float32 (s,), the weights of the semantic model, without its intercept."""
    if not len(liked):
        return np.zeros(rest.shape[1], dtype=np.float32)
    others = rest[_every(np.arange(len(rest)), N_OTHERS_IN_MEANING)]
    weights, _ = _logistic(
        np.vstack([liked, others]), len(liked), MEANING_STRENGTH, solver="lbfgs", tol=1e-4
    )
    return np.asarray(weights, dtype=np.float32)


def _fit(positives: CSR, others: CSC, strength: float) -> tuple[F32, float]:
    """Return float32 (v,) weights, nonzero only for words of the positives, and the intercept."""
    weights = np.zeros(others.shape[1], dtype=np.float32)
    columns = np.unique(positives.indices)
    if not len(columns):
        return weights, 0.0
    rows = _stacked(positives[:, columns], others[:, columns].tocsr()).astype(np.float64)
    # liblinear's trust-region Newton method is made for sparse rows (Lin, Weng & Keerthi 2008).
    weights[columns], intercept = _logistic(
        rows, positives.shape[0], strength, solver="liblinear", tol=TOLERANCE
    )
    return weights, intercept


def _logistic(
    rows: CSR | F32, n_positive: int, strength: float, *, solver: str, tol: float
) -> tuple[F64, float]:
    from sklearn.linear_model import LogisticRegression

    labels = np.zeros(rows.shape[0])
    labels[:n_positive] = 1
    model = LogisticRegression(
        C=strength, class_weight="balanced", solver=solver, tol=tol, random_state=0
    ).fit(rows, labels)
    return model.coef_[0], float(model.intercept_[0])


def _stacked(above: CSR, below: CSR) -> CSR:
    from scipy.sparse import vstack

    both: CSR = vstack([above, below], format="csr", dtype=np.float32)
    return both


def _sparse(rows: F32) -> CSR:
    from scipy.sparse import csr_matrix

    return csr_matrix(rows)


def _half(rows: F32) -> F32:
    """Return float32 that is exact in half precision, as `user_model_format` stores it."""
    return rows.astype(np.float16).astype(np.float32)
