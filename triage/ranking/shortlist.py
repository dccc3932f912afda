"""Chooses the few hundred papers of a large pool that are worth all features of one subscriber.

The first of two stages (Covington, Adams & Sargin 2016): matrix products of all papers with the
subscriber's linear models, means and centres, for a block of subscribers at once. The best papers
by their sum, and the best of each interest and phrase, go on to features and scorer. A sample of
the other papers goes on, too: each stands for many, so that means, spreads and chances of the day
come out as if all papers had been scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from triage.domain.author_names import author_keys
from triage.domain.records import F32, I64, Encodings, Profile
from triage.ranking.features import (
    MAX_NEIGHBOURS,
    N_SEMANTIC_OF_ALL,
    N_TFIDF_OF_ALL,
    find_largest,
    recency_weights,
    z_scores,
)
from triage.ranking.own_papers import find_liked_authors
from triage.ranking.pool import Pool

N_BEST = 120
"""How many papers go on because they fit best as a whole."""
N_OF_PARTS = 100
"""How many go on because they fit single interests and phrases, an equal number for each."""
N_NAMED = 30
"""How many go on at most because of a followed author, and likewise a keyword or a liked author."""
N_SAMPLED = 200
N_SAMPLED_WITHOUT_LIKES = 800
"""Where nothing is liked, the score rests on how a paper compares with the others of the days."""
LARGE = 1_000
"""A pool of at most so many papers is scored whole."""

# Products of more subscribers at once are no faster, and take memory.
_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Shortlist:
    """The rows of a pool that go on, int64 (m,), ascending.

    `weights` is float32 (m,): for how many eligible papers each one stands; 1 for a chosen one.
    """

    rows: I64
    weights: F32

    @property
    def n_eligible(self) -> int:
        """The number of papers from which these were chosen."""
        return round(float(self.weights.sum(dtype=np.float64)))


def take_all(rows: I64) -> Shortlist:
    """Return a shortlist of all these rows."""
    return Shortlist(rows, np.ones(len(rows), dtype=np.float32))


def shortlist_each(
    profiles: Sequence[Profile], pool: Pool, eligible: Sequence[I64]
) -> Iterator[Shortlist]:
    """Yield the shortlist of each profile.

    Args:
        eligible: the rows that each profile may get, ascending; at most LARGE of them all go on.
    """
    if len(pool) <= LARGE:
        yield from map(take_all, eligible)
        return
    for start in range(0, len(profiles), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        signals = [_find_signals(profile) for profile in profiles[some]]
        products = _multiply(pool.encodings, signals)
        for profile, rows, each, similar in zip(
            profiles[some], eligible[some], signals, products, strict=True
        ):
            if len(rows) <= LARGE:
                yield take_all(rows)
            else:
                fits = _sum_by_part(z_scores(similar[rows]), each.parts)
                near = pool.encodings.latent @ each.latent.sum(axis=0)
                yield _choose(profile, pool, rows, fits, near)


@dataclass(frozen=True, slots=True)
class _Signals:
    """The vectors of one subscriber that papers are compared with.

    Attributes:
        latent, tfidf, semantic: float32 (c_i, width of the space), c = c_1 + c_2 + c_3.
        parts: int64 (c,), what each vector is about, space after space: 0 is the subscriber as a
            whole, each other number one interest or phrase.
    """

    latent: F32
    tfidf: F32
    semantic: F32
    parts: I64


def _find_signals(profile: Profile) -> _Signals:
    liked = profile.liked.encodings.select(slice(0, MAX_NEIGHBOURS))
    phrases, model = profile.interests, profile.user_model
    weights = recency_weights(len(liked)).astype(np.float32)
    # Where nothing is liked this is zero, and adds nothing.
    latent, semantic = [(weights @ liked.latent)[None]], [(weights @ liked.semantic)[None]]
    tfidf = [(weights @ liked.tfidf)[None]]
    parts: tuple[list[int], list[int], list[int]] = ([0], [0], [0])
    n_interests = 0
    if model is not None and len(model.intercepts):
        # With a single interest, its models are those of all likes.
        n_interests = len(model.latent_centres) if len(model.latent_centres) > 1 else 0
        interests = list(range(1, n_interests + 1))
        latent.append(model.latent_centres[:n_interests])
        semantic.append(model.semantic_models[N_SEMANTIC_OF_ALL - 1 :][: n_interests + 1])
        # The models know more than the mean, and products with words are the dearest ones.
        tfidf = [model.tfidf_models[N_TFIDF_OF_ALL - 2 :][: n_interests + 2].toarray()]
        parts = ([0, *interests], [0, 0, *interests], [0, 0, *interests])
    latent.append(phrases.latent)
    tfidf.append(phrases.tfidf.toarray())
    for own in parts[:2]:
        own += range(n_interests + 1, n_interests + 1 + len(phrases))
    return _Signals(
        np.concatenate(latent),
        np.concatenate(tfidf),
        np.concatenate(semantic),
        np.array([*parts[0], *parts[1], *parts[2]], dtype=np.int64),
    )


def _multiply(vectors: Encodings, signals: Sequence[_Signals]) -> list[F32]:
    """Return for each of the signals float32 (n, c), their products with all papers."""
    by_space = []
    for rows, several in (
        (vectors.latent, [each.latent for each in signals]),
        (vectors.tfidf, [each.tfidf for each in signals]),
        (vectors.semantic, [each.semantic for each in signals]),
    ):
        ends = np.cumsum([len(each) for each in several])[:-1]
        columns = np.ascontiguousarray(np.concatenate(several).T)
        by_space.append(np.split(rows @ columns, ends, axis=1))
    return [np.concatenate(each, axis=1) for each in zip(*by_space, strict=True)]


def _sum_by_part(scores: F32, parts: I64) -> F32:
    """Return float32 (n, 1 + number of interests and phrases): the sums of the columns of each."""
    membership = parts[:, None] == np.arange(parts.max() + 1)
    return np.asarray(scores @ membership.astype(np.float32), dtype=np.float32)


def _choose(profile: Profile, pool: Pool, rows: I64, fits: F32, near: F32) -> Shortlist:
    subscriber = profile.subscriber
    named = (
        pool.by_authors(author_keys(subscriber.followed_authors)),
        pool.with_keywords(subscriber.include_keywords),
        pool.by_authors(find_liked_authors(profile)),
    )
    by_part = fits[:, 1:]
    whole = fits[:, 0] + z_scores(pool.upvotes[rows][:, None])[:, 0]
    whole += z_scores(by_part).max(axis=1, initial=0)
    if subscriber.categories:
        whole += pool.in_categories(subscriber.categories)[rows]
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[_best(whole, N_BEST)] = True
    for part in by_part.T:
        chosen[_best(part, N_OF_PARTS // by_part.shape[1])] = True
    for marked in named:
        hits = np.flatnonzero(marked[rows])
        chosen[hits[_best(whole[hits], N_NAMED)]] = True
    others = np.flatnonzero(~chosen)
    # In this order a paper is much like those beside it, for which it stands. The order does not
    # depend on the other subscribers of the block, as `fits` does in its last digits.
    others = others[np.argsort(near[rows[others]], kind="stable")]
    n = min(N_SAMPLED if len(profile.liked) else N_SAMPLED_WITHOUT_LIKES, len(others))
    sample = others[((np.arange(n) + 0.5) * len(others) / n).astype(np.int64)]
    weights = chosen.astype(np.float32)
    weights[sample] = len(others) / len(sample)
    on = np.flatnonzero(weights)
    return Shortlist(rows[on], weights[on])


def _best(scores: F32, n: int) -> I64:
    """Return the rows of the n best; of equal ones, the first.

    The last digits are left out: they depend on how many subscribers are multiplied at once.
    """
    return find_largest(np.round(scores, 3), n)
