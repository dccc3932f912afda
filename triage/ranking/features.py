"""Computes the features of each candidate: one row of numbers per paper, for one subscriber.

Each feature belongs to one group, and a group is one kind of reason. A feature is zero where the
profile has no data for it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from triage.domain.arxiv_categories import watched
from triage.domain.author_names import author_keys
from triage.domain.records import (
    CSR,
    F32,
    F64,
    I64,
    EncodedPapers,
    Encodings,
    Paper,
    Profile,
    UserModel,
)
from triage.ranking.own_papers import find_liked_authors

Put = Callable[[str, ArrayLike], None]

FEATURE_VERSION = "f5"

_GROUP_FEATURES: dict[str, tuple[str, ...]] = {
    "words": ("words_like_mean", "words_like_max", "words_like_top3"),
    "likes": (
        "dense_like_mean", "dense_like_max", "dense_like_top3",
        "sense_like_mean", "sense_like_max", "sense_like_top3",
    ),
    "dislikes": ("words_dislike_max", "dense_dislike_max"),
    "interests": (
        "words_interest_max", "dense_interest_max", "sense_interest_max",
        "interest_cover", "anchor_max", "anchor_dense", "anchor_sense",
    ),
    "taste": (
        "taste_likes", "taste_helped", "taste_close",
        "taste_meaning", "taste_helped_meaning", "cluster_likes", "cluster_meaning",
    ),
    "interest_cluster": ("cluster_words", "cluster_dense", "cluster_sense"),
    "everybody": ("everybody",),
    "category": ("category_chosen", "category_affinity"),
    "followed_author": ("followed_author",),
    "liked_author": ("liked_author_overlap",),
    "keywords": ("include_keyword_hits",),
    "community": ("upvotes_log1p",),
    "density": ("density",),
    "freshness": ("age_days",),
    "knowledge": ("n_likes_log1p", "n_phrases", "has_interests"),
}  # fmt: skip
_GROUP_OF = {name: group for group, names in _GROUP_FEATURES.items() for name in names}
IN_THE_DAY: tuple[str, ...] = (
    "words_like_mean", "words_like_max", "words_like_top3", "dense_like_mean", "dense_like_top3",
    "sense_like_mean", "sense_like_top3", "words_interest_max", "dense_interest_max",
    "sense_interest_max", "interest_cover", "anchor_max", "anchor_dense", "anchor_sense",
    "taste_likes", "taste_helped", "taste_close", "taste_meaning", "taste_helped_meaning",
    "cluster_likes", "cluster_meaning", "cluster_words", "cluster_dense", "cluster_sense",
    "everybody", "category_affinity", "density",
)  # fmt: skip
"""Features with a second column, the z-score among the day's candidates, because the usual size of
a cosine differs from day to day. Ranks among the candidates would add no information."""

GROUPS: dict[str, str] = _GROUP_OF | {f"{name}_z": _GROUP_OF[name] for name in IN_THE_DAY}
FEATURES: tuple[str, ...] = tuple(GROUPS)
_COLUMNS = {name: column for column, name in enumerate(FEATURES)}

# The first rows of `UserModel.tfidf_models` and `semantic_models`, in order; each further row is
# the model of one interest.
_MODELS_OF_ALL = ("taste_likes", "taste_helped", "taste_close")
_SEMANTIC_MODELS_OF_ALL = ("taste_meaning", "taste_helped_meaning")
N_TFIDF_OF_ALL, N_SEMANTIC_OF_ALL = len(_MODELS_OF_ALL), len(_SEMANTIC_MODELS_OF_ALL)

# Cosines use only the newest likes; the linear models are fitted on all of them.
MAX_NEIGHBOURS = 200
MAX_PHRASES = 20
MAX_INTERESTS = 4_000
_SMOOTHING = 2.0
_BREAK = re.compile(r"[\n\r;•|]+|(?<=[.!?])\s+")
_COMMA = re.compile(r",\s*(?:(?:and|or|as well as)\s+)?", re.IGNORECASE)
_AND = re.compile(r"\s+(?:and|or|as well as)\s+", re.IGNORECASE)
_OPENING = re.compile(
    r"^(?:(?:and|or|also|but)\s+)?(?:(?:i|we)(?:\s+am|['\u2019]m|\s+are|['\u2019]re)?\s+)?(?:(?:mainly|mostly|"
    r"especially|particularly|also|currently|really)\s+)*(?:(?:interested|working|work|specialised|"
    r"focused|read|reading|like|love|study|follow|care|want)\s+)?(?:papers?\s+)?(?:(?:about|in|on|"
    r"with|to\s+read(?:\s+about)?)\s+)?(?:(?:everything|anything|papers?|research|work)\s+"
    r"(?:about|on|in)\s+)?",
    re.IGNORECASE,
)
_EDGES = re.compile(r"^[\s.,:!?\"'“”()]+|[\s.,:!?\"'“”()]+$")
_NO_INTEREST = frozenset({"etc", "more", "others", "so on", "things", "stuff", "and so on"})


def split_phrases(interests: str) -> tuple[str, ...]:
    """Split the interests text of a subscriber into phrases; empty text gives none.

    Lines, semicolons, sentences and commas separate phrases. "and" does if both sides have at least
    two words: "graph learning and protein design" are two, "text and speech generation" is one.
    """
    found: list[str] = []
    for part in _BREAK.split(interests[:MAX_INTERESTS]):
        for piece in _COMMA.split(part):
            sides = _AND.split(piece)
            are_long = all(len(_without_opening(side).split()) >= 2 for side in sides)
            found += sides if are_long else [piece]
    clean = (_without_opening(phrase) for phrase in found)
    useful = (phrase for phrase in clean if len(phrase) > 1 and phrase.lower() not in _NO_INTEREST)
    return tuple(dict.fromkeys(useful))[:MAX_PHRASES]


def feature_matrix(
    profile: Profile, candidates: EncodedPapers, on: date, weights: F32 | None = None
) -> F32:
    """Return float32 (n, len(FEATURES)), finite: row i is candidate i, columns as in FEATURES.

    Args:
        profile: as it is before the slate, from the same encoder as the candidates.
        candidates: n papers; none give (0, len(FEATURES)).
        on: the digest's date, from which ages are counted.
        weights: float32 (n,), for how many papers of the day each one stands; by default for one.
    """
    n = len(candidates)
    X = np.zeros((n, len(FEATURES)), dtype=np.float32)
    if not n:
        return X

    def put(name: str, column: ArrayLike) -> None:
        X[:, _COLUMNS[name]] = np.asarray(column, dtype=np.float32)

    vectors = candidates.encodings
    liked = profile.liked.encodings.select(slice(0, MAX_NEIGHBOURS))
    words, dense, sense = _similarities(profile, liked, vectors)
    _put_likes(liked, (words["liked"], dense["liked"], sense["liked"]), put)
    if len(profile.disliked):
        put("words_dislike_max", words["disliked"].max(axis=1))
        put("dense_dislike_max", dense["disliked"].max(axis=1))
    if len(profile.interests):
        put("words_interest_max", words["phrases"].max(axis=1))
        put("dense_interest_max", dense["phrases"].max(axis=1))
        put("sense_interest_max", sense["phrases"].max(axis=1))
        put("interest_cover", words["cover"].max(axis=1))
    if profile.user_model is not None:
        _put_user_model(profile.user_model, words, dense, sense, put)
        put("everybody", vectors.tfidf @ profile.user_model.everybody)
    _put_facts(profile, candidates.papers, on, weights, put)
    put("density", vectors.hubness)
    put("n_likes_log1p", np.log1p(len(profile.liked)))
    put("n_phrases", len(profile.phrases))
    # Phrases of words that the encoder does not know must not lower the scores of all papers.
    put("has_interests", float(profile.interests.tfidf.nnz > 0))
    raw = [_COLUMNS[name] for name in IN_THE_DAY]
    X[:, [_COLUMNS[f"{name}_z"] for name in IN_THE_DAY]] = z_scores(X[:, raw], weights)
    return X


def z_scores(columns: F32, weights: F32 | None = None) -> F32:
    """Return float32 (n, k), the z-scores of each column; a constant column gives zeros.

    `weights` is float32 (n,), by default all are equal.
    """
    if weights is None:
        spread = columns.std(axis=0)
        apart = columns - columns.mean(axis=0)
    else:
        shares = weights / weights.sum()
        apart = columns - shares @ columns
        spread = np.sqrt(shares @ apart**2)
    return np.where(spread > 1e-6, apart / np.maximum(spread, 1e-6), 0).astype(np.float32)


def find_largest(values: F32 | F64 | I64, n: int) -> I64:
    """Return int64 (min(n, m),), the places of the n largest of m values, largest first.

    Of equal values, the first one comes first.
    """
    if not 0 < n < len(values):
        return np.argsort(-values, kind="stable")[:n]
    # To find the largest ones is faster than to sort all.
    at_least = np.flatnonzero(values >= np.partition(values, -n)[-n])
    return at_least[np.argsort(-values[at_least], kind="stable")[:n]]


_Similarities = Mapping[str, F32]


def _similarities(
    profile: Profile, liked: Encodings, vectors: Encodings
) -> tuple[_Similarities, _Similarities, _Similarities]:
    """Return the cosines in the TF-IDF, the latent and the semantic space, by what is compared.

    Each array is float32 (n, k). The TF-IDF ones include `cover`, see `cover`.
    """
    disliked = profile.disliked.encodings.select(slice(0, MAX_NEIGHBOURS))
    phrases, model = profile.interests, profile.user_model
    words = {"liked": liked.tfidf, "disliked": disliked.tfidf, "phrases": phrases.tfidf}
    dense = {"liked": liked.latent, "disliked": disliked.latent, "phrases": phrases.latent}
    sense = {"liked": liked.semantic, "phrases": phrases.semantic}
    if model is not None:
        words |= {
            "models": model.tfidf_models,
            "centres": model.tfidf_centres,
            "anchors": model.tfidf_anchors,
        }
        dense |= {"centres": model.latent_centres, "anchors": model.latent_anchors}
        sense |= {
            "models": model.semantic_models,
            "centres": model.semantic_centres,
            "anchors": model.semantic_anchors,
        }
    return (
        _by_words(vectors.tfidf, words),
        _products(vectors.latent, dense),
        _products(vectors.semantic, sense),
    )


def _put_likes(liked: Encodings, cosines: tuple[F32, F32, F32], put: Put) -> None:
    if not len(liked):
        return
    weights = recency_weights(len(liked)).astype(np.float32)
    for space, rows, near in (
        ("words", liked.tfidf, cosines[0]),
        ("dense", liked.latent, cosines[1]),
        ("sense", liked.semantic, cosines[2]),
    ):
        # The mean of many likes is short, and its length has no meaning for a paper.
        length = max(float(np.linalg.norm(weights @ rows)), 1e-12)
        put(f"{space}_like_mean", near @ weights / length)
        put(f"{space}_like_max", near.max(axis=1))
        put(f"{space}_like_top3", _top_mean(near, 3))


def _put_user_model(
    model: UserModel, words: _Similarities, dense: _Similarities, sense: _Similarities, put: Put
) -> None:
    logits = words["models"] + model.intercepts
    if len(model.intercepts):
        for column, name in enumerate(_MODELS_OF_ALL):
            put(name, logits[:, column])
        for column, name in enumerate(_SEMANTIC_MODELS_OF_ALL):
            put(name, sense["models"][:, column])
    if len(model.latent_centres):
        put("cluster_likes", logits[:, len(_MODELS_OF_ALL) :].max(axis=1))
        meaning = sense["models"][:, len(_SEMANTIC_MODELS_OF_ALL) :]
        put("cluster_meaning", meaning.max(axis=1))
        put("cluster_words", words["centres"].max(axis=1))
        put("cluster_dense", dense["centres"].max(axis=1))
        put("cluster_sense", sense["centres"].max(axis=1))
    if words["anchors"].shape[1]:
        put("anchor_max", words["anchors"].max(axis=1))
        put("anchor_dense", dense["anchors"].max(axis=1))
        put("anchor_sense", sense["anchors"].max(axis=1))


def recency_weights(n: int) -> F64:
    """Return float64 (n,) weights that sum to 1, newest first, w_j ∝ 1 / (1 + log10 j)."""
    weights = 1 / (1 + np.log10(np.arange(1, n + 1)))
    return np.asarray(weights / max(weights.sum(), 1e-12), dtype=np.float64)


def find_keywords(keywords: Sequence[str], text: str) -> list[str]:
    """Return the keywords that a text has as whole words; case and white space do not matter."""
    folded = text.casefold()
    # The pattern takes fifty times as long as a search for its words.
    return [
        keyword
        for keyword in keywords
        if all(word in folded for word in keyword.casefold().split())
        and _keyword_pattern(keyword).search(text)
    ]


@lru_cache(maxsize=4_096)
def _keyword_pattern(keyword: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(word) for word in keyword.split())
    return re.compile(rf"(?<!\w){words or '(?!)'}(?!\w)", re.IGNORECASE)


def category_affinity(
    liked: tuple[Paper, ...], papers: tuple[Paper, ...], weights: F32 | None = None
) -> F32:
    """Return float32 (n,): how much more common a paper's categories are in likes than in papers.

    For each category: its share among likes, shrunk by _SMOOTHING pseudo-papers towards its share
    among `papers`, minus the latter; a paper has the mean of its categories. No likes give 0.
    `weights` is float32 (n,), for how many papers each one stands; by default for one.
    """
    if not liked:
        return np.zeros(len(papers), dtype=np.float32)
    # There are many papers but few different category lists.
    each = [paper.categories for paper in papers]
    kinds: dict[tuple[str, ...], float] = {}
    for kind, n in zip(
        each, [1.0] * len(each) if weights is None else weights.tolist(), strict=True
    ):
        kinds[kind] = kinds.get(kind, 0) + n
    n_papers: dict[str, float] = {}
    for kind, n in kinds.items():
        for category in set(kind):
            n_papers[category] = n_papers.get(category, 0) + n
    n_all = sum(kinds.values())
    n_likes = Counter(category for paper in liked for category in set(paper.categories))
    lift = {
        category: len(liked)
        * (n_likes[category] / len(liked) - count / n_all)
        / (len(liked) + _SMOOTHING)
        for category, count in n_papers.items()
    }
    affinity = {kind: sum(map(lift.__getitem__, kind)) / max(len(kind), 1) for kind in kinds}
    return np.array([affinity[kind] for kind in each], dtype=np.float32)


def _put_facts(
    profile: Profile, papers: tuple[Paper, ...], on: date, weights: F32 | None, put: Put
) -> None:
    subscriber = profile.subscriber
    chosen = subscriber.categories
    followed = author_keys(subscriber.followed_authors)
    known = find_liked_authors(profile)
    if chosen:
        put("category_chosen", [bool(watched(chosen, p.categories)) for p in papers])
    put("category_affinity", category_affinity(profile.liked.papers, papers, weights))
    if followed or known:
        keys = [author_keys(paper.authors) for paper in papers]
        if followed:
            put("followed_author", [not followed.isdisjoint(names) for names in keys])
        shared = [0 if known.isdisjoint(names) else len(known & names) for names in keys]
        put("liked_author_overlap", np.minimum(shared, 3))
    if subscriber.include_keywords:
        keywords = subscriber.include_keywords
        put("include_keyword_hits", [len(find_keywords(keywords, paper.text)) for paper in papers])
    put("upvotes_log1p", np.log1p(np.maximum([paper.upvotes or 0 for paper in papers], 0)))
    listed = np.array([paper.listed_on.toordinal() for paper in papers])
    put("age_days", np.maximum(on.toordinal() - listed, 0))


def compute_cover(rows: CSR, phrases: CSR) -> F32:
    """Return float32 (n, k): the share of each phrase's squared weight whose terms a row has.

    Unlike a cosine it does not fall with the length of an abstract.
    """
    return _by_words(rows, {"phrases": phrases})["cover"]


def _by_words(rows: CSR, others: Mapping[str, CSR]) -> dict[str, F32]:
    """Return float32 (n, k), the products with each of the others, and the `cover` of "phrases".

    The others have few different words. As dense arrays of these words only, they are small, and
    the product is three times as fast.
    """
    ends = np.cumsum([each.shape[0] for each in others.values()])
    indices = np.concatenate([each.indices for each in others.values()])
    lengths = np.concatenate([np.diff(each.indptr) for each in others.values()])
    used = np.zeros(rows.shape[1], dtype=bool)
    used[indices] = True
    column = (np.cumsum(used) - 1).astype(np.int32)
    dense = np.zeros((int(used.sum()), int(ends[-1])), dtype=np.float32)
    row = np.repeat(np.arange(ends[-1]), lengths)
    dense[column[indices], row] = np.concatenate([each.data for each in others.values()])
    # `take` of whole arrays is up to twice as fast as indexing them.
    hits = np.flatnonzero(used.take(rows.indices))
    starts = np.searchsorted(hits, rows.indptr).astype(np.int32)
    parts = (rows.data.take(hits), column.take(rows.indices.take(hits)), starts)
    few = type(rows)(parts, shape=(rows.shape[0], len(dense)))
    found = dict(zip(others, np.split(few @ dense, ends[:-1], axis=1), strict=True))
    own = slice(*(ends[list(others).index("phrases")] - [others["phrases"].shape[0], 0]))
    few.data = np.ones_like(few.data)
    return found | {"cover": few @ dense[:, own] ** 2}


def _products(rows: F32, others: Mapping[str, F32]) -> dict[str, F32]:
    """Return float32 (n, k), the products with each of the others."""
    ends = np.cumsum([len(each) for each in others.values()])
    found = rows @ np.concatenate(list(others.values())).T
    return dict(zip(others, np.split(found, ends[:-1], axis=1), strict=True))


def _top_mean(cosines: F32, k: int) -> F32:
    """Return the mean of each row's k largest values, or of all if there are fewer."""
    if cosines.shape[1] > k:
        cosines = np.partition(cosines, -k, axis=1)[:, -k:]
    return np.asarray(cosines.mean(axis=1), dtype=np.float32)


def _without_opening(phrase: str) -> str:
    return _EDGES.sub("", _OPENING.sub("", phrase.strip(), count=1))
