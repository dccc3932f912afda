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
from hashlib import blake2b

import numpy as np

from triage.domain.records import (
    CSC,
    CSR,
    F32,
    F64,
    I32,
    I64,
    Background,
    Bools,
    EncodedPapers,
    Encodings,
    Profile,
    UserModel,
)
from triage.ranking.features import compute_cover, find_largest, recency_weights, z_scores
from triage.ranking.interest_clusters import cluster, similarity_threshold
from triage.ranking.logistic_regression import fit_logistic_regression

# The inverse of the L2 penalty. From 1 to 100 the order of papers hardly changes.
STRENGTH = 10.0
MEANING_STRENGTH = 3.0
EVERYBODYS_STRENGTH = 1.0
# A model of many likes has thousands of rare words that hardly change the order of papers.
MOST_WORDS = 1_000
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
    others = _with_ones(vectors.tfidf[_every(np.arange(len(papers)), N_OTHERS)]).tocsc()
    if len(papers) and liked.shape[0] >= FEWEST_LIKES_OF_ALL:
        row, _ = _fit_words(_with_ones(liked), others, EVERYBODYS_STRENGTH, liked.shape[1])
        everybody = row.toarray()[0]
    ids = np.array([paper.id for paper in papers.papers], dtype=np.int64)
    return Background(name, ids, vectors, everybody, similarity_threshold(vectors.latent), others)


def fit_user_model(profile: Profile, past: Background, start: UserModel | None = None) -> UserModel:
    """Fit the models of one subscriber; without likes, known phrases or background there are none.

    Only likes, dislikes and phrases of the profile are used. Both come from the same encoder.

    Args:
        start: an earlier model of the subscriber, from the same encoder. Its models of interests
            whose likes have not changed are taken from it, which saves time and changes no bit.
    """
    liked, vectors = profile.liked.encodings, past.encodings
    own_ids = [paper.id for paper in (*profile.liked.papers, *profile.disliked.papers)]
    is_other = ~np.isin(past.paper_ids, np.array(own_ids, dtype=np.int64))
    others = np.flatnonzero(is_other)
    if not len(others) or not (len(liked) or profile.interests.tfidf.nnz):
        return empty_user_model(past)
    near = _neighbours(profile, past, others)
    rest = _every(others, N_OTHERS)
    rest_words = past.others_words
    if not is_other.all():
        rest_words = _with_ones(vectors.tfidf[rest]).tocsc()
    rest_meaning = vectors.semantic[_every(rest, N_OTHERS_IN_MEANING)]
    words = _with_ones(liked.tfidf)
    all_likes = with_neighbours = against_nearest = _fit_words(words, rest_words)
    meaning = meaning_with_neighbours = _fit_meaning(liked.semantic, rest_meaning)
    if near and len(liked) < FEW_LIKES:
        rows = np.unique(np.concatenate(near))
        positives = _stacked(words, _with_ones(vectors.tfidf[rows]))
        with_neighbours = _fit_words(positives, rest_words)
        meaning_with_neighbours = _fit_meaning(
            np.vstack([liked.semantic, vectors.semantic[rows]]), rest_meaning
        )
    if len(liked):
        logits = (vectors.tfidf @ all_likes[0].toarray()[0])[others]
        nearest = others[find_largest(logits, NEAR_OTHERS)]
        rivals = np.union1d(nearest, _every(others, N_OTHERS_IN_MEANING))
        against_nearest = _fit_words(words, _with_ones(vectors.tfidf[rivals]))
    models = [all_likes, with_neighbours, against_nearest]
    meanings = [meaning, meaning_with_neighbours]
    groups = _cluster_rows(liked.latent, past.threshold)
    keys = [_interest_key(profile, group, past, is_other) for group in groups]
    known = {} if start is None else _models_of_interests(start)
    for group, key in zip(groups, keys, strict=True):
        if len(group) == len(liked):
            models.append(all_likes)
            meanings.append(meaning)
        elif key in known:
            models.append(known[key][0])
            meanings.append(known[key][1])
        else:
            models.append(_fit_words(words[group], rest_words))
            meanings.append(_fit_meaning(liked.semantic[group], rest_meaning))
    like_interests = _number_likes(groups, len(liked))
    return _user_model(past, models, meanings, keys, like_interests, liked, near)


def empty_user_model(past: Background) -> UserModel:
    """Return the user model of an empty profile."""
    nobody = np.zeros(0, dtype=np.int32)
    return _user_model(past, [], [], [], nobody, past.encodings.select(slice(0, 0)), [])


def _number_likes(groups: Sequence[I64], n_likes: int) -> I32:
    """Return int32 (n_likes,), the group of each like, -1 if it is in none."""
    numbers = np.full(n_likes, -1, dtype=np.int32)
    for number, group in enumerate(groups):
        numbers[group] = number
    return numbers


def interest_centres(liked: Encodings, like_interests: I32) -> tuple[CSR, F32, F32]:
    """Return the TF-IDF, latent and semantic centres of interests, see `UserModel`."""
    k = like_interests.max(initial=-1) + 1
    rows = [liked.select(np.flatnonzero(like_interests == number)) for number in range(k)]
    return _centres(rows, liked)


def _user_model(
    past: Background,
    models: Sequence[tuple[CSR, float]],
    meanings: Sequence[F32],
    keys: Sequence[int],
    like_interests: I32,
    liked: Encodings,
    near: Sequence[I64],
) -> UserModel:
    vectors = past.encodings
    words = _stacked(vectors.tfidf[:0], *(weights for weights, _ in models))
    meaning = np.array(meanings, dtype=np.float32)
    centres = interest_centres(liked, like_interests)
    anchors = _centres([vectors.select(rows) for rows in near], vectors)
    return UserModel(
        tfidf_models=words,
        intercepts=np.array([intercept for _, intercept in models], dtype=np.float32),
        semantic_models=_half(meaning.reshape(len(meanings), vectors.semantic.shape[1])),
        interest_keys=np.array(keys, dtype=np.int64),
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
    return [others[find_largest(column, k)] for column in similarity[others].T]


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


def _interest_key(profile: Profile, group: I64, past: Background, is_other: Bools) -> int:
    """Return a hash of all that the models of one interest are fitted on."""
    ids = np.array([profile.liked.papers[row].id for row in group], dtype=np.int64)
    left_out = past.paper_ids[~is_other]
    key = blake2b(digest_size=8)
    for part in (past.name.encode(), ids.tobytes(), left_out.tobytes(), past.paper_ids.tobytes()):
        key.update(len(part).to_bytes(8, "little"))
        key.update(part)
    return int.from_bytes(key.digest(), "little", signed=True)


def _models_of_interests(model: UserModel) -> dict[int, tuple[tuple[CSR, float], F32]]:
    """Return the models of each interest by its key."""
    k = len(model.interest_keys)
    first, first_meaning = len(model.intercepts) - k, len(model.semantic_models) - k
    return {
        key: (
            (model.tfidf_models[first + row], float(model.intercepts[first + row])),
            model.semantic_models[first_meaning + row],
        )
        for row, key in enumerate(model.interest_keys.tolist())
    }


def _fit_meaning(liked: F32, others: F32) -> F32:
    """Return float32 (s,), the weights of the semantic model, without its intercept."""
    if not len(liked):
        return np.zeros(others.shape[1], dtype=np.float32)
    rows = np.ones((len(liked) + len(others), others.shape[1] + 1), dtype=np.float32)
    rows[: len(liked), :-1], rows[len(liked) :, :-1] = liked, others
    weights, _ = fit_logistic_regression(rows, len(liked), MEANING_STRENGTH, intercept_penalty=0)
    return weights.astype(np.float32)


def _fit_words(
    positives: CSR, others: CSR | CSC, strength: float = STRENGTH, most: int = MOST_WORDS
) -> tuple[CSR, float]:
    """Return float32 CSR (1, v), the weights, and the intercept.

    Only the words with the most TF-IDF weight in the positives get a weight, at most `most`. Both
    arrays are float64 (n, v + 1) from `_with_ones`.
    """
    n_terms = others.shape[1] - 1
    amounts = np.bincount(positives.indices, positives.data**2, n_terms + 1)[:-1]
    columns = np.sort(find_largest(amounts, min(most, int(np.count_nonzero(amounts)))))
    if not len(columns):
        return _row(columns, np.zeros(0), n_terms), 0.0
    used = np.append(columns, n_terms)
    rows = _stacked(positives[:, used], others[:, used].tocsr())
    weights, intercept = fit_logistic_regression(rows, positives.shape[0], strength)
    return _row(columns, weights, n_terms), intercept


def _with_ones(words: CSR) -> CSR:
    """Return float64 CSR (n, v + 1): the last column is 1, for the intercept."""
    from scipy.sparse import csr_matrix, hstack

    ones = csr_matrix(np.ones((words.shape[0], 1)))
    rows: CSR = hstack([words, ones], format="csr")
    return rows


def _row(columns: I64, weights: F64, n_terms: int) -> CSR:
    """Return float32 CSR (1, v), exact in half precision."""
    from scipy.sparse import csr_matrix

    parts = (_half(weights), columns, [0, len(columns)])
    row: CSR = csr_matrix(parts, shape=(1, n_terms), dtype=np.float32)
    row.eliminate_zeros()
    return row


def _stacked(*rows: CSR) -> CSR:
    from scipy.sparse import vstack

    every: CSR = vstack(rows, format="csr")
    return every


def _sparse(rows: F32) -> CSR:
    from scipy.sparse import csr_matrix

    return csr_matrix(rows)


def _half(rows: F32 | F64) -> F32:
    """Return float32 that is exact in half precision, as `user_model_format` stores it."""
    return rows.astype(np.float16).astype(np.float32)
