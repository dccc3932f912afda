"""What a scorer sees of a subscriber and a candidate: one row of numbers per candidate.

Each feature belongs to one group. A group is one thing that can be said to a person, so reasons
are the groups that raised a paper most. Every feature is zero where the profile says nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from triage.domain.author_names import author_keys
from triage.domain.records import F32, EncodedPapers, Encodings, Paper, Profile, UserModel

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Put = Callable[[str, ArrayLike], None]

FEATURE_VERSION = "f4"

_MEANT: dict[str, str] = {
    "words_like_mean": "words",
    "words_like_max": "words",
    "words_like_top3": "words",
    "dense_like_mean": "likes",
    "dense_like_max": "likes",
    "dense_like_top3": "likes",
    "sense_like_mean": "likes",
    "sense_like_max": "likes",
    "sense_like_top3": "likes",
    "words_dislike_max": "dislikes",
    "dense_dislike_max": "dislikes",
    "words_interest_max": "interests",
    "dense_interest_max": "interests",
    "sense_interest_max": "interests",
    "interest_cover": "interests",
    "anchor_max": "interests",
    "taste_likes": "taste",
    "taste_helped": "taste",
    "taste_close": "taste",
    "taste_meaning": "taste",
    "cluster_likes": "taste",
    "cluster_meaning": "taste",
    "cluster_words": "interest_cluster",
    "cluster_dense": "interest_cluster",
    "cluster_sense": "interest_cluster",
    "everybody": "everybody",
    "category_chosen": "category",
    "category_affinity": "category",
    "followed_author": "followed_author",
    "liked_author_overlap": "liked_author",
    "include_keyword_hits": "keywords",
    "upvotes_log1p": "community",
    "density": "density",
    "age_days": "freshness",
    "n_likes_log1p": "knowledge",
    "n_phrases": "knowledge",
    "has_interests": "knowledge",
}
IN_THE_DAY: tuple[str, ...] = (
    "words_like_mean", "words_like_max", "words_like_top3", "dense_like_mean", "dense_like_top3",
    "sense_like_mean", "sense_like_top3", "words_interest_max", "dense_interest_max",
    "sense_interest_max", "interest_cover", "anchor_max", "taste_likes", "taste_helped",
    "taste_close", "taste_meaning", "cluster_likes", "cluster_meaning", "cluster_words",
    "cluster_dense", "cluster_sense", "everybody", "category_affinity", "density",
)  # fmt: skip
"""Features that also count in standard deviations from the mean of the day's candidates: how much
a cosine says depends on what else there is. Their ranks in the day say no more than that."""

GROUPS: dict[str, str] = _MEANT | {f"{name}_z": _MEANT[name] for name in IN_THE_DAY}
FEATURES: tuple[str, ...] = tuple(GROUPS)
_COLUMNS = {name: column for column, name in enumerate(FEATURES)}

# The order of `Taste.words`; what follows there is of one interest each.
_MODELS_OF_ALL = ("taste_likes", "taste_helped", "taste_close")

# Cosines are taken to the newest so many; a reader's models know them all.
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


def phrases(interests: str) -> tuple[str, ...]:
    """Split what a subscriber wrote into single interests.

    Lines, semicolons and sentences always part interests. Commas do too, and "and" does where
    both sides are of two words or more: "graph learning and protein design" are two interests,
    "text and speech generation" or "search and rescue" one. Empty text gives no phrases.
    """
    found: list[str] = []
    for part in _BREAK.split(interests[:MAX_INTERESTS]):
        for piece in _COMMA.split(part):
            sides = _AND.split(piece)
            alone = all(len(_without_opening(side).split()) >= 2 for side in sides)
            found += sides if alone else [piece]
    tidy = (_without_opening(phrase) for phrase in found)
    kept = (phrase for phrase in tidy if len(phrase) > 1 and phrase.lower() not in _NO_INTEREST)
    return tuple(dict.fromkeys(kept))[:MAX_PHRASES]


def feature_matrix(profile: Profile, candidates: EncodedPapers, on: date) -> F32:
    """Describe every candidate to the scorer.

    Args:
        profile: what is known of the subscriber before the slate, encoded as the candidates are.
        candidates: n papers.
        on: the digest's date, from which ages are counted.

    Returns:
        float32 (n, len(FEATURES)), finite, columns as in FEATURES; (0, len(FEATURES)) for none.
    """
    n = len(candidates)
    X = np.zeros((n, len(FEATURES)), dtype=np.float32)
    if not n:
        return X

    def put(name: str, column: ArrayLike) -> None:
        X[:, _COLUMNS[name]] = np.asarray(column, dtype=np.float32)

    vectors = candidates.encodings
    liked = profile.liked.encodings.select(slice(0, MAX_NEIGHBOURS))
    near = _near(profile, liked, vectors)
    _put_likes(liked, near, put)
    _put_dislikes(near, put)
    _put_interests(near, put)
    if profile.taste is not None:
        _put_taste(profile.taste, near, vectors.tfidf, put)
    _put_facts(profile, candidates.papers, on, put)
    put("density", vectors.hubness)
    put("n_likes_log1p", np.log1p(len(profile.liked)))
    put("n_phrases", len(profile.phrases))
    # Words that the encoder does not know ask for nothing, so they must not hide everything.
    put("has_interests", float(profile.interests.tfidf.nnz > 0))
    raw = [_COLUMNS[name] for name in IN_THE_DAY]
    X[:, [_COLUMNS[f"{name}_z"] for name in IN_THE_DAY]] = z_scores(X[:, raw])
    return X


def z_scores(columns: F32) -> F32:
    """Return float32 (n, k): each column's distance from its mean, in standard deviations.

    A column that is the same everywhere gives zeros.
    """
    spread = columns.std(axis=0)
    apart = columns - columns.mean(axis=0)
    return np.where(spread > 1e-6, apart / np.maximum(spread, 1e-6), 0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Near:
    """What candidates have in common with all that is known of a reader.

    Attributes:
        words: float32 (n, k) by the name of what is known, a column for each of k; `cover` is
            what a candidate has of each phrase.
        dense, sense: likewise, without `cover`.
    """

    words: Mapping[str, F32]
    dense: Mapping[str, F32]
    sense: Mapping[str, F32]


def _near(profile: Profile, liked: Encodings, vectors: Encodings) -> _Near:
    """Compare every candidate with what is known, in one pass over each space."""
    disliked = profile.disliked.encodings.select(slice(0, MAX_NEIGHBOURS))
    wanted, taste = profile.interests, profile.taste
    words = {"liked": liked.tfidf, "disliked": disliked.tfidf, "wanted": wanted.tfidf}
    dense = {"liked": liked.latent, "disliked": disliked.latent, "wanted": wanted.latent}
    sense = {"liked": liked.semantic, "wanted": wanted.semantic}
    if taste is not None:
        words |= {"models": taste.words, "centres": taste.word_centres, "anchors": taste.anchors}
        dense |= {"centres": taste.dense_centres}
        sense |= {"models": taste.meaning, "centres": taste.sense_centres}
    return _Near(
        _by_words(vectors.tfidf, words),
        _products(vectors.latent, dense),
        _products(vectors.semantic, sense),
    )


def _put_likes(liked: Encodings, near: _Near, put: Put) -> None:
    if not len(liked):
        return
    weights = recency_weights(len(liked))
    for space, rows, cosines in (
        ("words", liked.tfidf, near.words["liked"]),
        ("dense", liked.latent, near.dense["liked"]),
        ("sense", liked.semantic, near.sense["liked"]),
    ):
        # A mean of many likes is short, which says nothing about a paper.
        length = max(float(np.linalg.norm(weights @ rows)), 1e-12)
        put(f"{space}_like_mean", cosines @ weights / length)
        put(f"{space}_like_max", cosines.max(axis=1))
        put(f"{space}_like_top3", _top_mean(cosines, 3))


def _put_dislikes(near: _Near, put: Put) -> None:
    if near.words["disliked"].shape[1]:
        put("words_dislike_max", near.words["disliked"].max(axis=1))
        put("dense_dislike_max", near.dense["disliked"].max(axis=1))


def _put_interests(near: _Near, put: Put) -> None:
    if near.words["wanted"].shape[1]:
        put("words_interest_max", near.words["wanted"].max(axis=1))
        put("dense_interest_max", near.dense["wanted"].max(axis=1))
        put("sense_interest_max", near.sense["wanted"].max(axis=1))
        put("interest_cover", near.words["cover"].max(axis=1))


def _put_taste(taste: UserModel, near: _Near, words: csr_matrix, put: Put) -> None:
    logits = near.words["models"] + taste.intercepts
    meant = near.sense["models"]
    if len(taste.intercepts):
        for column, name in enumerate(_MODELS_OF_ALL):
            put(name, logits[:, column])
        put("taste_meaning", meant[:, 0])
    if len(taste.dense_centres):
        put("cluster_likes", logits[:, len(_MODELS_OF_ALL) :].max(axis=1))
        put("cluster_meaning", meant[:, 1:].max(axis=1))
        put("cluster_words", near.words["centres"].max(axis=1))
        put("cluster_dense", near.dense["centres"].max(axis=1))
        put("cluster_sense", near.sense["centres"].max(axis=1))
    if near.words["anchors"].shape[1]:
        put("anchor_max", near.words["anchors"].max(axis=1))
    put("everybody", words @ taste.everybody)


def recency_weights(n: int) -> F32:
    """Return float32 (n,) weights that sum to 1, newest first, w_j ∝ 1 / (1 + log10 j)."""
    weights = 1 / (1 + np.log10(np.arange(1, n + 1)))
    return np.asarray(weights / max(weights.sum(), 1e-12), dtype=np.float32)


def keywords_in(keywords: Sequence[str], text: str) -> list[str]:
    """Return which keywords stand in a text as whole words, in any case, white space apart."""
    folded = text.casefold()
    # The pattern costs fifty times as much as looking for the words that it is made of.
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


def category_affinity(liked: tuple[Paper, ...], papers: tuple[Paper, ...]) -> F32:
    """Return float32 (n,): how much more often likes fall in a paper's categories than papers do.

    The share of likes in each category is shrunk to its share among `papers` by two papers' worth
    of doubt, so one like says little; a paper has the mean of its categories. No likes give 0.
    """
    if not liked:
        return np.zeros(len(papers), dtype=np.float32)
    # Papers are many and their sets of categories few.
    each = [paper.categories for paper in papers]
    kinds = Counter(each)
    seen: dict[str, int] = {}
    for kind, n in kinds.items():
        for category in set(kind):
            seen[category] = seen.get(category, 0) + n
    mine = Counter(category for paper in liked for category in set(paper.categories))
    lift = {
        category: len(liked)
        * (mine[category] / len(liked) - count / len(papers))
        / (len(liked) + _SMOOTHING)
        for category, count in seen.items()
    }
    worth = {kind: sum(map(lift.__getitem__, kind)) / max(len(kind), 1) for kind in kinds}
    return np.array([worth[kind] for kind in each], dtype=np.float32)


def _put_facts(profile: Profile, papers: tuple[Paper, ...], on: date, put: Put) -> None:
    subscriber = profile.subscriber
    chosen = frozenset(subscriber.categories)
    followed = author_keys(subscriber.followed_authors)
    known = frozenset().union(*(author_keys(paper.authors) for paper in profile.liked.papers))
    if chosen:
        put("category_chosen", [not chosen.isdisjoint(p.categories) for p in papers])
    put("category_affinity", category_affinity(profile.liked.papers, papers))
    if followed or known:
        keys = [author_keys(paper.authors) for paper in papers]
        if followed:
            put("followed_author", [not followed.isdisjoint(names) for names in keys])
        shared = [0 if known.isdisjoint(names) else len(known & names) for names in keys]
        put("liked_author_overlap", np.minimum(shared, 3))
    if subscriber.include_keywords:
        wanted = subscriber.include_keywords
        put("include_keyword_hits", [len(keywords_in(wanted, paper.text)) for paper in papers])
    put("upvotes_log1p", np.log1p(np.maximum([paper.upvotes or 0 for paper in papers], 0)))
    listed = np.array([paper.listed_on.toordinal() for paper in papers])
    put("age_days", np.maximum(on.toordinal() - listed, 0))


def cover(rows: csr_matrix, wanted: csr_matrix) -> F32:
    """Return float32 (n, k): the share of each phrase, by weight, whose terms a row has.

    A cosine falls with the length of an abstract and all else that it speaks of, this does not.
    """
    return _by_words(rows, {"wanted": wanted})["cover"]


def _by_words(rows: csr_matrix, others: Mapping[str, csr_matrix]) -> dict[str, F32]:
    """Return float32 (n, k) for each of the others and the cover of `wanted`, reading rows once.

    The others have few of all words, so they are small once they are not sparse, and a product
    with them is three times as fast.
    """
    ends = np.cumsum([each.shape[0] for each in others.values()])
    indices = np.concatenate([each.indices for each in others.values()])
    lengths = np.concatenate([np.diff(each.indptr) for each in others.values()])
    asked = np.zeros(rows.shape[1], dtype=bool)
    asked[indices] = True
    column = (np.cumsum(asked) - 1).astype(np.int32)
    dense = np.zeros((int(asked.sum()), int(ends[-1])), dtype=np.float32)
    row = np.repeat(np.arange(ends[-1]), lengths)
    dense[column[indices], row] = np.concatenate([each.data for each in others.values()])
    # `take` of whole arrays is up to twice as fast as indexing them.
    hits = np.flatnonzero(asked.take(rows.indices))
    starts = np.searchsorted(hits, rows.indptr).astype(np.int32)
    parts = (rows.data.take(hits), column.take(rows.indices.take(hits)), starts)
    few = type(rows)(parts, shape=(rows.shape[0], len(dense)))
    found = dict(zip(others, np.split(few @ dense, ends[:-1], axis=1), strict=True))
    own = slice(*(ends[list(others).index("wanted")] - [others["wanted"].shape[0], 0]))
    few.data = np.ones_like(few.data)
    return found | {"cover": few @ dense[:, own] ** 2}


def _products(rows: F32, others: Mapping[str, F32]) -> dict[str, F32]:
    """Return float32 (n, k) for each of the others, in one pass over rows."""
    ends = np.cumsum([len(each) for each in others.values()])
    found = rows @ np.concatenate(list(others.values())).T
    return dict(zip(others, np.split(found, ends[:-1], axis=1), strict=True))


def _top_mean(cosines: F32, k: int) -> F32:
    """Return the mean of each row's k largest, or of all where there are fewer."""
    if cosines.shape[1] > k:
        cosines = np.partition(cosines, -k, axis=1)[:, -k:]
    return np.asarray(cosines.mean(axis=1), dtype=np.float32)


def _without_opening(phrase: str) -> str:
    return _EDGES.sub("", _OPENING.sub("", phrase.strip(), count=1))
