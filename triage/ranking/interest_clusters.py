"""What one reader reads about: few interests, each with its share of the slate.

    likes and phrases ─ cluster ─→ groups ─ find ─→ interests ─ nearest ─→ whose a paper is

Interests are found by average linkage (Sokal & Michener 1958): the two nearest groups of likes
join as long as they are nearer to each other than papers usually are. How near that is lies in the
day's papers and not in a constant, because every encoder has its own scale. What the reader wrote
is a like that weighs more, so that who has voted on nothing yet has interests, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from triage.domain.protocols import Encoder
from triage.domain.records import F32, F64, I32, I64, EncodedPapers, Interest, Profile, ReasonKind

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


MAX_INTERESTS = 8
# Linkage looks at all pairs. Older likes than these join the interest whose centre is nearest.
MAX_LINKED = 100
# What `apartness` gives for a month of arXiv papers on machine learning, for want of any papers.
USUAL_APARTNESS = 0.2
# So many papers' cosines are spread as those of all of them are.
SAMPLE = 128
FEWEST_SAMPLE = 30
# A phrase that the reader wrote counts as so many likes.
PHRASE_WORTH = 3.0
# "Less like this" about an interest halves its share for so many days.
LESS_DAYS = 60
N_NAME_TERMS = 2
MAX_NAME = 60


@dataclass(frozen=True, slots=True)
class Interests:
    """A reader's interests on one date, the largest first.

    Attributes:
        known: the interests, row i of the arrays being `known[i]`.
        centres: float32 (k, d), the mean of each one's likes and phrases, not of unit length: a
            product with it is the mean cosine to them.
        shares: float64 (k,), of the slate; they sum to 1, and an interest that rests has 0.
        apart: what is less near than this belongs to no interest.
    """

    known: tuple[Interest, ...]
    centres: F32
    shares: F64
    apart: float

    def nearest(self, dense: F32) -> I32:
        """Return int32 (n,): the interest that each paper belongs to, -1 for none of them."""
        if not self.known:
            return np.full(len(dense), -1, dtype=np.int32)
        cosines = dense @ self.centres.T
        best = cosines.argmax(axis=1)
        near = cosines[np.arange(len(dense)), best] >= self.apart
        return np.where(near, best, -1).astype(np.int32)


def cluster_interests(profile: Profile, on: date, apart: float = USUAL_APARTNESS) -> Interests:
    """Find a reader's interests in their likes and words.

    An interest stays the same from day to day while it shares more likes with what it was than
    others do. One that rests keeps what it had, and likes that are near to it join it, so that it
    cannot come back under another number. New ones have the number 0 and no name.

    Args:
        profile: the reader's, with the interests that were found before.
        on: the date, for which interests may rest, and from which wishes for less are counted.
        apart: as `apartness` gives it.

    Returns:
        No interests for a reader of whom nothing is known.
    """
    members: tuple[str | int, ...] = (*profile.phrases, *(p.id for p in profile.liked.papers))
    dense = np.concatenate([profile.interests.latent, profile.liked.encodings.latent])
    before = profile.interests_before
    resting = [each for each in before if each.rests(on) and len(_rows_of(members, each))]
    kept = [_rows_of(members, each) for each in resting]
    free = np.flatnonzero(dense.any(axis=1))
    free = free[~np.isin(free, np.concatenate([np.zeros(0), *kept]))]
    labels = cluster(dense[free], apart)
    fresh = []
    for label in range(labels.max(initial=-1) + 1):
        group = free[labels == label]
        cosines = [float(_centre(dense, group) @ _centre(dense, old)) for old in kept]
        if cosines and max(cosines) >= apart:
            host = int(np.argmax(cosines))
            kept[host] = np.concatenate([kept[host], group])
        else:
            fresh.append(group)
    groups = [*kept, *fresh]
    found = [_interest(members, group) for group in groups]
    olds = resting + _recognised(found[len(kept) :], before)
    known = tuple(
        replace(old, papers=now.papers, phrases=now.phrases)
        for old, now in zip(olds, found, strict=True)
    )
    centres = np.array([_centre(dense, group) for group in groups], dtype=np.float32)
    centres = centres.reshape(len(groups), dense.shape[1])
    n_likes = len(profile.liked)
    phrase_weights = np.full(len(profile.phrases), PHRASE_WORTH)
    weights = np.concatenate([phrase_weights, n_likes * _recency(n_likes)])
    sizes = np.array([weights[group].sum() for group in groups])
    return _with_shares(profile, on, Interests(known, centres, sizes, apart))


def named(
    interests: Interests, profile: Profile, candidates: EncodedPapers, encoder: Encoder
) -> tuple[Interest, ...]:
    """Return the interests with names: the reader's own words, else what their likes share.

    Args:
        candidates: other papers; what those speak of, too, names nothing.
    """
    rows = {paper.id: row for row, paper in enumerate(profile.liked.papers)}
    common: csr_matrix | None = None
    told = []
    for each, centre in zip(interests.known, interests.centres, strict=True):
        if each.name:
            told.append(each)
        elif each.phrases:
            at = [profile.phrases.index(phrase) for phrase in each.phrases]
            own = at[int(np.argmax(profile.interests.latent[at] @ centre))]
            told.append(replace(each, name=profile.phrases[own][:MAX_NAME]))
        else:
            if common is None:
                common = _mean_row(candidates.encodings.tfidf)
            likes = profile.liked.encodings.tfidf[[rows[id] for id in each.papers]]
            told.append(replace(each, name=_name(_mean_row(likes), common, encoder)))
    return tuple(told)


def similarity_threshold(dense: F32) -> float:
    """Return the cosine below which two papers have nothing particular to do with each other.

    One and a half times as far above the median cosine of two papers as the upper quartile lies,
    one standard deviation if cosines were normal, but deaf to how many topics the papers are on.
    Composites of two unrelated reading lists are parted well by it in every space that was tried,
    whether its unrelated papers have cosines around 0, 0.14 or 0.35.

    Args:
        dense: float32 (n, d), rows of unit length or zero, of any papers; fewer than 30 papers say
            too little and give a usual value.
    """
    rows = dense[np.linspace(0, len(dense) - 1, min(len(dense), SAMPLE)).astype(np.int64)]
    rows = rows[rows.any(axis=1)]
    if len(rows) < FEWEST_SAMPLE:
        return USUAL_APARTNESS
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    median, upper = np.quantile(cosines, (0.5, 0.75))
    return float(median + 1.5 * (upper - median))


def cluster(dense: F32, apart: float = USUAL_APARTNESS) -> I32:
    """Part likes into interests: at most MAX_INTERESTS, one where all are of one kind.

    A like that is near to no other is an interest by itself, a small one; only when there are too
    many do the nearest join all the same.

    Args:
        dense: float32 (n, d), rows of unit length or zero.
        apart: groups whose mean cosine is below it stay apart, as `apartness` gives it.

    Returns:
        int32 (n,): 0 for the largest interest and so on, of equal ones the earlier first; (0,) for
        no likes.
    """
    of = _linked(dense[:MAX_LINKED], apart)
    if len(dense) > len(of):
        centres = np.stack(
            [dense[: len(of)][of == each].mean(axis=0) for each in range(of.max() + 1)]
        )
        lengths = np.linalg.norm(centres, axis=1, keepdims=True)
        nearest = (dense[len(of) :] @ (centres / np.maximum(lengths, 1e-12)).T).argmax(axis=1)
        of = np.concatenate([of, nearest])
    return _largest_first(of)


def _with_shares(profile: Profile, on: date, interests: Interests) -> Interests:
    """Turn sizes into shares, the largest interest first."""
    sizes = np.where([each.rests(on) for each in interests.known], 0, interests.shares)
    whose = interests.nearest(profile.disliked.encodings.latent)
    for reason, at, row in zip(profile.less_of, profile.disliked_at, whose, strict=False):
        counts = row >= 0 and (on - at.date()).days < LESS_DAYS
        if counts and reason and reason.kind is ReasonKind.INTEREST_CLUSTER:
            sizes[row] /= 2
    order = np.argsort(-sizes, kind="stable")
    return Interests(
        tuple(interests.known[row] for row in order),
        interests.centres[order],
        sizes[order] / max(float(sizes.sum()), 1e-12),
        interests.apart,
    )


def _recency(n: int) -> F64:
    weights = 1 / (1 + np.log10(np.arange(1, n + 1)))
    return np.asarray(weights / max(weights.sum(), 1e-12), dtype=np.float64)


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


def _recognised(found: Sequence[Interest], before: Sequence[Interest]) -> list[Interest]:
    """Return for each interest what it was before, or itself if it is new.

    Those that share most find each other first; a name is kept while at least half of what the
    interest is found in was there when it got the name.
    """
    known = list(found)
    pairs = []
    for row, now in enumerate(found):
        for old in before:
            shared = len({*now.papers, *now.phrases} & {*old.papers, *old.phrases})
            if shared:
                pairs.append((-shared, old.number, row, old))
    taken: set[int] = set()
    for shared, number, row, old in sorted(pairs, key=lambda pair: pair[:3]):
        if number not in taken and not known[row].number:
            taken.add(number)
            now = found[row]
            fits = -2 * shared >= len(now.papers) + len(now.phrases)
            known[row] = replace(old, name=old.name if fits else "")
    return known


def _mean_row(words: csr_matrix) -> csr_matrix:
    """Return CSR (1, v), the mean of the rows."""
    ones = np.ones((1, words.shape[0]), dtype=np.float32) / max(words.shape[0], 1)
    # A sparse row by a sparse matrix stays sparse.
    return type(words)(type(words)(ones) @ words)


def _name(mine: csr_matrix, common: csr_matrix, encoder: Encoder) -> str:
    more = mine - common
    more.data = np.maximum(more.data, 0)
    more.eliminate_zeros()
    terms = without_parts(encoder.terms(more, 4 * N_NAME_TERMS))
    return ", ".join(terms[:N_NAME_TERMS])[:MAX_NAME]


def without_parts(terms: Sequence[str]) -> list[str]:
    """Leave out terms that are part of another: "speculative decoding" says "decoding", too."""
    return [t for t in terms if not any(t != u and f" {t} " in f" {u} " for u in terms)]


def _linked(dense: F32, apart: float) -> I32:
    """Return int32 (n,): the group of each row, the groups being numbered without gaps."""
    if len(dense) < 2:
        return np.zeros(len(dense), dtype=np.int32)
    from scipy.cluster.hierarchy import fcluster, linkage

    cosines = (dense @ dense.T)[np.triu_indices(len(dense), 1)].astype(np.float64)
    links = linkage(np.maximum(1 - cosines, 0), "average")
    n_joins = max(int((links[:, 2] <= 1 - apart).sum()), len(dense) - MAX_INTERESTS)
    # Joins are cut by their number: several may be at the same height.
    links[:, 2] = np.arange(1, len(dense))
    return np.asarray(fcluster(links, n_joins, "distance") - 1, dtype=np.int32)


def _largest_first(of: I32) -> I32:
    _, first, names, sizes = np.unique(
        of, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes), dtype=np.int32)
    return rank[names]
