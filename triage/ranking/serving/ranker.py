"""Ranks the papers of a day for one subscriber and builds the slate.

The papers of the last days (the pool) are filtered, described by features, scored, and cut to a
slate with reasons. The nightly run, previews and evaluations all use this module. The nightly run
ranks a shortlist of a large pool; all others rank every paper.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import islice, pairwise

import numpy as np

from triage import store
from triage.domain.digest_calendar import WEEK
from triage.domain.protocols import Encoder, Scorer
from triage.domain.records import (
    F32,
    F64,
    I64,
    LIKES,
    EncodedPapers,
    Encodings,
    EventKind,
    Impression,
    Interest,
    Paper,
    Placement,
    Profile,
    Reason,
    Subscriber,
    UserModel,
    Vote,
)
from triage.ranking.calibration import Calibration, logit
from triage.ranking.cold_start import sigmoid
from triage.ranking.evidence import apply_less_like_this
from triage.ranking.explanations import explain_placement, sum_liked_words
from triage.ranking.features import FEATURES, feature_matrix, split_phrases
from triage.ranking.interest_clusters import (
    Interests,
    cluster_interests,
    name_interests,
)
from triage.ranking.own_papers import find_known_authors, select_likes
from triage.ranking.pool import Pool
from triage.ranking.serving.calibrations import load_prior
from triage.ranking.shortlist import Shortlist, take_all
from triage.ranking.slate import InterestShares, build_slate
from triage.store import Connection

Learner = Callable[[Connection, Profile], UserModel | None]
"""Returns the user model for a profile without one, None if it cannot be fitted."""

# A subscriber without a vote in this many days does not want to be asked for votes.
ASKING_DAYS = 30
_COMMUNITY = FEATURES.index("upvotes_log1p")


@dataclass(frozen=True, slots=True)
class DigestRules:
    """The rules of a slate, see `[digest]` in the configuration."""

    size: int
    max_age_days: int
    score_floor: float
    exploration_slots: int

    def of(self, subscriber: Subscriber) -> DigestRules:
        """Return these rules with the subscriber's own preferences."""
        size, floor = subscriber.size, subscriber.score_floor
        return replace(
            self,
            size=self.size if size is None else size,
            score_floor=self.score_floor if floor is None else floor,
            exploration_slots=self.exploration_slots if subscriber.explores else 0,
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """The n candidates of one subscriber; row i of the arrays is candidate i.

    They are all `n_eligible` papers of the pool that the subscriber may get, or a shortlist.
    `features` is float32 (n, n_features), `scores` float64 (n,). `chances` are those of a vote and
    `priors` the same before corrections, float64 (n,), in the order of the scores. `asking` is true
    for a new subscriber with an empty profile.
    """

    profile: Profile
    pool: Pool
    candidates: EncodedPapers
    n_eligible: int
    features: F32
    scores: F64
    chances: F64
    priors: F64
    interests: Interests
    asking: bool = False

    def aims(self) -> InterestShares:
        """Return the shares of the subscriber's interests."""
        nearest = self.interests.nearest(self.candidates.encodings.latent)
        return InterestShares(nearest, self.interests.shares)

    def lowest_score(self, chance: float) -> float:
        """Return the lowest score with at least this chance; infinity if no paper has it.

        Nothing is known of a subscriber without likes and phrases. So all chances are small, and
        do not count.
        """
        if not self.interests.clusters:
            return 0.0
        return float(self.scores[self.chances >= chance].min(initial=np.inf))

    def best(self, k: int) -> list[Paper]:
        """Return the k best candidates, best first, ties in stored order."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [self.candidates.papers[row] for row in order]

    def rank_of(self, paper_id: int) -> int | None:
        """Return a candidate's 1-based rank, or None if it is not one."""
        ids = [paper.id for paper in self.best(len(self.scores))]
        return ids.index(paper_id) + 1 if paper_id in ids else None


def load_library(conn: Connection, encoder: Encoder, papers: Sequence[Paper]) -> EncodedPapers:
    """Return papers with their stored vectors, without those that have none yet."""
    by_id, empty = {paper.id: paper for paper in papers}, encoder.encode(())
    ids, vectors = store.encodings.load(conn, encoder.version, [p.id for p in papers], like=empty)
    return EncodedPapers(tuple(by_id[id] for id in ids), vectors)


def load_pool(conn: Connection, encoder: Encoder, on: date, days: int) -> Pool:
    """Return all encoded papers listed on `on` or in the `days` days before it."""
    first = on - timedelta(days=days)
    found = load_library(conn, encoder, store.papers.listed_between(conn, first, on))
    return Pool(found.papers, found.encodings)


def load_profile(
    conn: Connection,
    encoder: Encoder,
    subscriber: Subscriber,
    votes: Sequence[Vote],
    user_model_of: Learner | None = None,
) -> Profile:
    """Return the profile of a subscriber.

    Args:
        votes: the latest vote on each paper, newest first.
        user_model_of: returns the user model; by default the profile has none.
    """
    (profile,) = load_profiles(conn, encoder, [subscriber], {subscriber.id: votes})
    if user_model_of is None:
        return profile
    return replace(profile, user_model=user_model_of(conn, profile))


def load_profiles(
    conn: Connection,
    encoder: Encoder,
    subscribers: Sequence[Subscriber],
    votes: Mapping[int, Sequence[Vote]],
) -> list[Profile]:
    """Return the profiles of subscribers, without user models; see `load_profile`."""
    ids = [each.id for each in subscribers]
    voted = {vote.paper_id for id in ids for vote in votes.get(id, ())}
    library = load_library(conn, encoder, list(store.papers.load(conn, voted).values()))
    phrases = [split_phrases(each.interests) for each in subscribers]
    encoded = encoder.encode([phrase for several in phrases for phrase in several])
    ends = np.cumsum([0, *map(len, phrases)])
    before = store.interests.of_each(conn, ids)
    rows = {paper.id: row for row, paper in enumerate(library.papers)}
    return [
        _profile(
            subscriber, votes.get(subscriber.id, ()), library, rows, before[subscriber.id],
            wanted, encoded.select(slice(*span)),
        )
        for subscriber, wanted, span in zip(subscribers, phrases, pairwise(ends), strict=True)
    ]  # fmt: skip


def _profile(
    subscriber: Subscriber,
    votes: Sequence[Vote],
    library: EncodedPapers,
    rows: Mapping[int, int],
    before: tuple[Interest, ...],
    phrases: tuple[str, ...],
    encoded_phrases: Encodings,
) -> Profile:
    """Return a profile from votes on the papers of `library`, whose rows are given by their ids."""
    likes = select_likes([vote for vote in votes if vote.kind in LIKES])
    dislikes = [vote for vote in votes if vote.kind not in LIKES]
    likes, dislikes = (
        [vote for vote in several if vote.paper_id in rows] for several in (likes, dislikes)
    )
    liked, disliked = (
        library.select(np.array([rows[vote.paper_id] for vote in several], dtype=np.int64))
        for several in (likes, dislikes)
    )
    own = frozenset(vote.paper_id for vote in votes if vote.own is not None)
    papers = {id: library.papers[rows[id]] for id in own if id in rows}
    return Profile(
        subscriber=subscriber,
        liked=liked,
        liked_at=tuple(vote.at for vote in likes),
        disliked=disliked,
        disliked_at=tuple(vote.at for vote in dislikes),
        phrases=phrases,
        interests=encoded_phrases,
        less_of=tuple(
            vote.reason if vote.kind is EventKind.LESS_LIKE_THIS else None for vote in dislikes
        ),
        interests_before=before,
        own_papers=own,
        own_authors=find_known_authors(votes, papers) if own else frozenset(),
    )


def load_own_authors(conn: Connection, votes: Sequence[Vote]) -> frozenset[str]:
    """Return the author keys that these votes show to be the subscriber's."""
    own = [vote.paper_id for vote in votes if vote.own is not None]
    return find_known_authors(votes, store.papers.load(conn, own)) if own else frozenset()


def rank(
    profile: Profile,
    pool: Pool,
    scorer: Scorer,
    *,
    seen: Collection[int],
    on: date,
    max_age_days: int,
    calibration: Calibration | None = None,
) -> Ranking:
    """Score the eligible papers of the pool; without any the ranking is empty.

    Args:
        calibration: by default the one that comes with the program, without corrections.
    """
    subscriber, own = profile.subscriber, profile.own_authors
    rows = pool.find_eligible(subscriber, seen, on, max_age_days, own)
    return rank_shortlist(profile, pool, take_all(rows), scorer, on, calibration)


def rank_shortlist(
    profile: Profile,
    pool: Pool,
    shortlist: Shortlist,
    scorer: Scorer,
    on: date,
    calibration: Calibration | None = None,
) -> Ranking:
    """Score the papers of a shortlist, as `rank` does with all papers."""
    candidates = pool.select(shortlist.rows)
    weights = shortlist.weights if shortlist.n_eligible > len(candidates) else None
    features = feature_matrix(profile, candidates, on, weights)
    interests = cluster_interests(profile, on, pool.threshold)
    scores = _scores(scorer, features, profile.subscriber.community)
    scores = apply_less_like_this(scores, profile, candidates, interests, on)
    since = profile.subscriber.active_since or profile.subscriber.created_at
    is_new = since is None or (on - since.date()).days < ASKING_DAYS
    chances, priors = (calibration or Calibration(load_prior())).chances(
        scores, pool.listed[shortlist.rows], weights
    )
    return Ranking(
        profile=profile,
        pool=pool,
        candidates=candidates,
        n_eligible=shortlist.n_eligible,
        features=features,
        scores=scores,
        chances=chances,
        priors=priors,
        interests=interests,
        asking=not interests.clusters and is_new,
    )


def listing_days(papers: EncodedPapers) -> I64:
    """Return the day on which each paper was listed, as an ordinal, int64 (n,)."""
    return np.array([paper.listed_on.toordinal() for paper in papers.papers], dtype=np.int64)


def _scores(scorer: Scorer, features: F32, community: float) -> F64:
    """Return the scores; `community` multiplies what upvotes add to the logit."""
    scores = scorer.score(features)
    if community == 1:
        return scores
    without = features.copy()
    without[:, _COMMUNITY] = 0
    base = logit(scorer.score(without))
    return sigmoid(base + community * (logit(scores) - base))


def interests_of(ranking: Ranking, encoder: Encoder) -> tuple[Interest, ...]:
    """Return the subscriber's interests with names, the largest first."""
    return name_interests(ranking.interests, ranking.profile, ranking.pool.mean_tfidf, encoder)


def select_missed(
    ranking: Ranking, rules: DigestRules, shown: Collection[int], on: date, n: int
) -> tuple[Paper, ...]:
    """Return at most `n` of the best papers of the week before `on` that no slate had, best first.

    Papers below the subscriber's score floor are left out; `shown` are the ids of today's slate.
    """
    floor = ranking.lowest_score(rules.of(ranking.profile.subscriber).score_floor)
    barred, papers = ranking.aims().find_paused(), ranking.candidates.papers
    best = (
        papers[row]
        for row in np.argsort(-ranking.scores, kind="stable")
        if ranking.scores[row] >= floor and not barred[row]
    )
    week = range((on - WEEK).toordinal(), on.toordinal())
    wanted = (p for p in best if p.listed_on.toordinal() in week and p.id not in shown)
    return tuple(islice(wanted, n))


def fill_slate(
    ranking: Ranking, rules: DigestRules, scorer: Scorer, encoder: Encoder, rng: np.random.Generator
) -> tuple[Impression, ...]:
    """Return the slate of a ranking, by the subscriber's rules, with the reasons of each paper."""
    rules = rules.of(ranking.profile.subscriber)
    placements = build_slate(
        ranking.scores,
        ranking.candidates.encodings.latent,
        size=rules.size,
        floor=ranking.lowest_score(rules.score_floor),
        n_exploration=rules.exploration_slots,
        rng=rng,
        aims=ranking.aims(),
        asking=ranking.asking and rules.exploration_slots > 0,
    )
    return tuple(
        Impression(
            paper=ranking.candidates.papers[placement.row],
            position=placement.position,
            score=float(ranking.chances[placement.row]),
            propensity=placement.propensity,
            policy=placement.policy,
            features=ranking.features[placement.row],
            reasons=reasons,
            prior=float(ranking.priors[placement.row]),
        )
        for placement, reasons in zip(
            placements, explain(ranking, placements, scorer, encoder), strict=True
        )
    )


def explain(
    ranking: Ranking, placements: Sequence[Placement], scorer: Scorer, encoder: Encoder
) -> list[tuple[Reason, ...]]:
    """Return the reasons of each of these candidates, see `explain_placement`."""
    rows = [placement.row for placement in placements]
    contributions = scorer.contributions(ranking.features[rows])
    if ranking.profile.subscriber.community != 1:
        contributions[:, _COMMUNITY] *= ranking.profile.subscriber.community
    # With one interest its name adds nothing to a reason.
    names: dict[int, str] = {}
    if len(ranking.interests.clusters) > 1:
        names = dict(enumerate(each.name for each in interests_of(ranking, encoder)))
    nearest = ranking.aims().nearest
    liked_words = sum_liked_words(ranking.profile, ranking.pool.common_terms)
    return [
        explain_placement(
            ranking.profile,
            ranking.candidates,
            placement,
            ranking.features[placement.row],
            contribution,
            encoder,
            names.get(int(nearest[placement.row]), ""),
            liked_words,
        )
        for placement, contribution in zip(placements, contributions, strict=True)
    ]
