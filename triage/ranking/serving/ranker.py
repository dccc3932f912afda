"""Ranks the papers of a day for one subscriber and builds the slate.

The papers of the last days (the pool) are filtered, described by features, scored, and cut to a
slate with reasons. The nightly run, previews and evaluations all use this module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import islice

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
from triage.ranking.candidates import select_eligible
from triage.ranking.cold_start import sigmoid
from triage.ranking.evidence import apply_less_like_this
from triage.ranking.explanations import explain_placement
from triage.ranking.features import FEATURES, feature_matrix, split_phrases
from triage.ranking.interest_clusters import (
    Interests,
    cluster_interests,
    name_interests,
    similarity_threshold,
)
from triage.ranking.own_papers import find_known_authors, select_likes
from triage.ranking.serving.calibrations import load_prior
from triage.ranking.slate import InterestShares, build_slate
from triage.ranking.term_names import find_common_terms
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
    """All n candidates of one subscriber; row i of the arrays is candidate i.

    `features` is float32 (n, n_features), `scores` float64 (n,). `chances` are those of a vote and
    `priors` the same before corrections, float64 (n,), in the order of the scores. `asking` is true
    for a new subscriber with an empty profile.
    """

    profile: Profile
    candidates: EncodedPapers
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


def load_pool(conn: Connection, encoder: Encoder, on: date, days: int) -> EncodedPapers:
    """Return all encoded papers listed on `on` or in the `days` days before it."""
    first = on - timedelta(days=days)
    return load_library(conn, encoder, store.papers.listed_between(conn, first, on))


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
    likes = select_likes([vote for vote in votes if vote.kind in LIKES])
    dislikes = [vote for vote in votes if vote.kind not in LIKES]
    liked, liked_at = _voted_on(conn, encoder, likes)
    disliked, disliked_at = _voted_on(conn, encoder, dislikes)
    less_of = {v.paper_id: v.reason for v in dislikes if v.kind is EventKind.LESS_LIKE_THIS}
    wanted = split_phrases(subscriber.interests)
    profile = Profile(
        subscriber=subscriber,
        liked=liked,
        liked_at=liked_at,
        disliked=disliked,
        disliked_at=disliked_at,
        phrases=wanted,
        interests=encoder.encode(wanted),
        less_of=tuple(less_of.get(paper.id) for paper in disliked.papers),
        interests_before=store.interests.of(conn, subscriber.id),
        own_papers=frozenset(vote.paper_id for vote in votes if vote.own is not None),
        own_authors=load_own_authors(conn, votes),
    )
    if user_model_of is None:
        return profile
    return replace(profile, user_model=user_model_of(conn, profile))


def load_own_authors(conn: Connection, votes: Sequence[Vote]) -> frozenset[str]:
    """Return the author keys that these votes show to be the subscriber's."""
    own = [vote.paper_id for vote in votes if vote.own is not None]
    return find_known_authors(votes, store.papers.load(conn, own)) if own else frozenset()


def _voted_on(
    conn: Connection, encoder: Encoder, votes: Sequence[Vote]
) -> tuple[EncodedPapers, tuple[datetime, ...]]:
    papers = store.papers.load(conn, [vote.paper_id for vote in votes])
    stored = [papers[vote.paper_id] for vote in votes if vote.paper_id in papers]
    library = load_library(conn, encoder, stored)
    voted_at = {vote.paper_id: vote.at for vote in votes}
    return library, tuple(voted_at[paper.id] for paper in library.papers)


def rank(
    profile: Profile,
    pool: EncodedPapers,
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
    rows = select_eligible(
        pool.papers, profile.subscriber, frozenset(seen), on, max_age_days, profile.own_authors
    )
    candidates = pool.select(rows)
    features = feature_matrix(profile, candidates, on)
    interests = cluster_interests(profile, on, similarity_threshold(pool.encodings.latent))
    scores = _scores(scorer, features, profile.subscriber.community)
    scores = apply_less_like_this(scores, profile, candidates, interests, on)
    since = profile.subscriber.active_since or profile.subscriber.created_at
    is_new = since is None or (on - since.date()).days < ASKING_DAYS
    asking = not interests.clusters and is_new
    listed = listing_days(candidates)
    chances, priors = (calibration or Calibration(load_prior())).chances(scores, listed)
    return Ranking(profile, candidates, features, scores, chances, priors, interests, asking)


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
    return name_interests(ranking.interests, ranking.profile, ranking.candidates, encoder)


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
    common = find_common_terms(ranking.candidates.encodings.tfidf)
    return [
        explain_placement(
            ranking.profile,
            ranking.candidates,
            placement,
            ranking.features[placement.row],
            contribution,
            encoder,
            names.get(int(nearest[placement.row]), ""),
            common,
        )
        for placement, contribution in zip(placements, contributions, strict=True)
    ]
