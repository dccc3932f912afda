"""Clusters the likes and phrases of a subscriber into interests, and gives each its slate share.

The method is average linkage (Sokal & Michener 1958): the two most similar groups are merged while
their mean cosine is above a threshold. The threshold comes from the cosines of the day's papers and
is not a constant, because each encoder has its own scale. A phrase counts like a like with more
weight, so a subscriber who has not voted yet has interests too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from triage.domain.protocols import Encoder
from triage.domain.records import (
    CSR,
    F32,
    F64,
    I32,
    I64,
    EncodedPapers,
    Interest,
    Profile,
    ReasonKind,
)
from triage.ranking.features import recency_weights
from triage.ranking.term_names import MAX_TERMS, name_terms

MAX_INTERESTS = 8
# Linkage compares all pairs. Likes older than these join the interest with the nearest centre.
MAX_LINKED = 100
# `similarity_threshold` of a month of arXiv papers on machine learning: used if papers are too few.
USUAL_APARTNESS = 0.2
# A sample of this size has about the same distribution of cosines as all papers.
SAMPLE = 128
FEWEST_SAMPLE = 30
# The weight of a phrase, in likes.
PHRASE_WORTH = 3.0
# "Less like this" about an interest halves its share for this many days.
LESS_DAYS = 60
N_NAME_TERMS = 2
MAX_NAME = 60


@dataclass(frozen=True, slots=True)
class Interests:
    """A subscriber's interests on one date, the largest first.

    Attributes:
        clusters: the k interests, in the order of the arrays' rows.
        centres: float32 (k, d), the mean latent vectors of their likes and phrases, not of unit
            length: the product of a unit vector with a centre is its mean cosine to them.
        shares: float64 (k,), of the slate; they sum to 1; the share of a paused interest is 0.
        threshold: the threshold; a paper with a smaller mean cosine belongs to no interest.
    """

    clusters: tuple[Interest, ...]
    centres: F32
    shares: F64
    threshold: float

    def nearest(self, dense: F32) -> I32:
        """Return int32 (n,): the interest of each paper, -1 if it has none."""
        if not self.clusters:
            return np.full(len(dense), -1, dtype=np.int32)
        cosines = dense @ self.centres.T
        best = cosines.argmax(axis=1)
        near = cosines[np.arange(len(dense)), best] >= self.threshold
        return np.where(near, best, -1).astype(np.int32)


def cluster_interests(profile: Profile, on: date, apart: float = USUAL_APARTNESS) -> Interests:
    """Cluster the likes and phrases of a subscriber; an empty profile gives no interests.

    A cluster is an earlier interest if it shares more likes with it than the other clusters do. A
    paused interest keeps its likes, and similar likes join it, so that it cannot come back under
    another number. New interests have the number 0 and no name.
    `apart` is a `similarity_threshold`.
    """
    members: tuple[str | int, ...] = (*profile.phrases, *(p.id for p in profile.liked.papers))
    dense = np.concatenate([profile.interests.latent, profile.liked.encodings.latent])
    before = profile.interests_before
    paused = [each for each in before if each.rests(on) and len(_rows_of(members, each))]
    groups = [_rows_of(members, each) for each in paused]
    free = np.flatnonzero(dense.any(axis=1))
    free = free[~np.isin(free, np.concatenate([np.zeros(0), *groups]))]
    labels = cluster(dense[free], apart)
    new = []
    for label in range(labels.max(initial=-1) + 1):
        group = free[labels == label]
        cosines = [float(_centre(dense, group) @ _centre(dense, old)) for old in groups]
        if cosines and max(cosines) >= apart:
            nearest = int(np.argmax(cosines))
            groups[nearest] = np.concatenate([groups[nearest], group])
        else:
            new.append(group)
    groups += new
    clusters = [_interest(members, group) for group in groups]
    earlier = paused + _match_earlier(clusters[len(paused) :], before)
    known = tuple(
        replace(old, papers=now.papers, phrases=now.phrases)
        for old, now in zip(earlier, clusters, strict=True)
    )
    centres = np.array([_centre(dense, group) for group in groups], dtype=np.float32)
    centres = centres.reshape(len(groups), dense.shape[1])
    n_likes = len(profile.liked)
    phrase_weights = np.full(len(profile.phrases), PHRASE_WORTH)
    weights = np.concatenate([phrase_weights, n_likes * recency_weights(n_likes)])
    sizes = np.array([weights[group].sum() for group in groups])
    return _with_shares(profile, on, Interests(known, centres, sizes, apart))


def name_interests(
    interests: Interests, profile: Profile, usual: CSR, encoder: Encoder
) -> tuple[Interest, ...]:
    """Return the interests with names: one of their phrases, else terms that their likes share.

    A term that is as common in `usual`, CSR (1, v), the mean of the day's papers, is not used in a
    name.
    """
    rows = {paper.id: row for row, paper in enumerate(profile.liked.papers)}
    result = []
    for each, centre in zip(interests.clusters, interests.centres, strict=True):
        if each.name:
            result.append(each)
        elif each.phrases:
            own = [profile.phrases.index(phrase) for phrase in each.phrases]
            best = own[int(np.argmax(profile.interests.latent[own] @ centre))]
            result.append(replace(each, name=profile.phrases[best][:MAX_NAME]))
        else:
            mine = profile.liked.select(np.array([rows[id] for id in each.papers], dtype=np.int64))
            result.append(replace(each, name=_name(mine, usual, encoder)))
    return tuple(result)


def similarity_threshold(dense: F32) -> float:
    """Return the cosine below which two papers are unrelated.

    It is the median of all cosines plus 1.5 times the distance from the median to the upper
    quartile: one standard deviation if cosines were normal, but robust against the number of topics
    among the papers. In tests it separated two unrelated reading lists in every space, whether
    unrelated papers had cosines around 0, 0.14 or 0.35. `dense` is float32 (n, d), rows of unit
    length or zero; fewer than FEWEST_SAMPLE give USUAL_APARTNESS.
    """
    rows = dense[np.linspace(0, len(dense) - 1, min(len(dense), SAMPLE)).astype(np.int64)]
    rows = rows[rows.any(axis=1)]
    if len(rows) < FEWEST_SAMPLE:
        return USUAL_APARTNESS
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    median, upper = np.quantile(cosines, (0.5, 0.75))
    return float(median + 1.5 * (upper - median))


def cluster(dense: F32, apart: float = USUAL_APARTNESS) -> I32:
    """Cluster likes; return int32 (n,), 0 for the largest cluster and so on; (0,) for no likes.

    There are at most MAX_INTERESTS clusters: if there were more, the most similar ones are merged,
    whatever their cosine. A like that is similar to no other is a cluster by itself. Of two
    clusters of equal size the one with the earlier like comes first.
    `dense` is float32 (n, d), rows of unit length or zero; `apart` a `similarity_threshold`.
    """
    labels = _link(dense[:MAX_LINKED], apart)
    if len(dense) > len(labels):
        linked = dense[: len(labels)]
        centres = np.stack([linked[labels == each].mean(axis=0) for each in range(max(labels) + 1)])
        lengths = np.linalg.norm(centres, axis=1, keepdims=True)
        nearest = (dense[len(labels) :] @ (centres / np.maximum(lengths, 1e-12)).T).argmax(axis=1)
        labels = np.concatenate([labels, nearest])
    _, first, names, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes), dtype=np.int32)
    return rank[names]


def _with_shares(profile: Profile, on: date, interests: Interests) -> Interests:
    """Return the interests with shares computed from sizes, the largest first."""
    sizes = np.where([each.rests(on) for each in interests.clusters], 0, interests.shares)
    nearest = interests.nearest(profile.disliked.encodings.latent)
    for reason, at, row in zip(profile.less_of, profile.disliked_at, nearest, strict=False):
        counts = row >= 0 and (on - at.date()).days < LESS_DAYS
        if counts and reason and reason.kind is ReasonKind.INTEREST_CLUSTER:
            sizes[row] /= 2
    order = np.argsort(-sizes, kind="stable")
    return Interests(
        tuple(interests.clusters[row] for row in order),
        interests.centres[order],
        sizes[order] / max(float(sizes.sum()), 1e-12),
        interests.threshold,
    )


def _centre(dense: F32, group: I64) -> F32:
    return np.asarray(dense[group].mean(axis=0), dtype=np.float32)


def _rows_of(members: Sequence[str | int], interest: Interest) -> I64:
    mine = {*interest.phrases, *interest.papers}
    rows = [row for row, member in enumerate(members) if member in mine]
    return np.array(rows, dtype=np.int64)


def _interest(members: Sequence[str | int], group: I64) -> Interest:
    mine = [members[row] for row in group]
    papers = tuple(member for member in mine if isinstance(member, int))
    return Interest(0, "", papers, tuple(member for member in mine if isinstance(member, str)))


def _match_earlier(clusters: Sequence[Interest], before: Sequence[Interest]) -> list[Interest]:
    """Return for each cluster the earlier interest that it continues, or itself if it is new.

    Pairs that share most are matched first. The name stays only if at least half of the cluster's
    likes and phrases were in the earlier interest.
    """
    matches = list(clusters)
    pairs = []
    for row, now in enumerate(clusters):
        for old in before:
            shared = len({*now.papers, *now.phrases} & {*old.papers, *old.phrases})
            if shared:
                pairs.append((-shared, old.number, row, old))
    taken: set[int] = set()
    for shared, number, row, old in sorted(pairs, key=lambda pair: pair[:3]):
        if number not in taken and not matches[row].number:
            taken.add(number)
            now = clusters[row]
            fits = -2 * shared >= len(now.papers) + len(now.phrases)
            matches[row] = replace(old, name=old.name if fits else "")
    return matches


def mean_row(words: CSR) -> CSR:
    """Return CSR (1, v), the mean of the rows."""
    ones = np.ones((1, words.shape[0]), dtype=np.float32) / max(words.shape[0], 1)
    # The product of two sparse matrices stays sparse.
    return type(words)(type(words)(ones) @ words)


def _name(likes: EncodedPapers, common: CSR, encoder: Encoder) -> str:
    more = mean_row(likes.encodings.tfidf) - common
    more.data = np.maximum(more.data, 0)
    more.eliminate_zeros()
    terms = encoder.terms(more, MAX_TERMS)
    named = name_terms(terms, "\n".join(paper.text for paper in likes.papers)) or list(terms)
    return ", ".join(named[:N_NAME_TERMS])[:MAX_NAME]


def _link(dense: F32, apart: float) -> I32:
    """Return int32 (n,): the group of each row, numbered from 0 without gaps."""
    if len(dense) < 2:
        return np.zeros(len(dense), dtype=np.int32)
    from scipy.cluster.hierarchy import fcluster, linkage

    cosines = (dense @ dense.T)[np.triu_indices(len(dense), 1)].astype(np.float64)
    links = linkage(np.maximum(1 - cosines, 0), "average")
    n_merges = max(int((links[:, 2] <= 1 - apart).sum()), len(dense) - MAX_INTERESTS)
    # The tree is cut by the number of merges, because several may have the same height.
    links[:, 2] = np.arange(1, len(dense))
    return np.asarray(fcluster(links, n_merges, "distance") - 1, dtype=np.int32)
