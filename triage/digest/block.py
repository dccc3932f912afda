"""Makes the slates of a block of subscribers: all that they need is loaded with a few queries.

What is the same for everybody is made once a night. A block of subscribers is ranked together:
one product of matrices gives each a shortlist of a large pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from hashlib import blake2b

from triage import store
from triage.digest.source_report import day_report, named_report
from triage.domain.digest_calendar import recap_due, window_days
from triage.domain.records import LIKES, Interest, Paper, Slate, Subscriber, Vote
from triage.domain.source_records import SourceDay
from triage.ranking.exploration import slate_rng
from triage.ranking.features import FEATURE_VERSION
from triage.ranking.pool import Pool
from triage.ranking.serving.active_models import ActiveModels
from triage.ranking.serving.calibrations import Calibrations
from triage.ranking.serving.ranker import (
    DigestRules,
    Ranking,
    fill_slate,
    interests_of,
    load_pool,
    load_profiles,
    rank_shortlist,
    select_missed,
)
from triage.ranking.serving.user_model_cache import UserModelBlock, UserModelCache
from triage.ranking.shortlist import shortlist_each
from triage.store import Connection

ONE_DAY = timedelta(days=1)
# The day of a source that ends when the reader's next has begun, west of it.
MOST_BEHIND = timedelta(days=2)
MOST_REVISED = 5
MOST_MISSED = 5
SEED = 0


@dataclass(frozen=True, slots=True)
class Due:
    """A subscriber who is due, the date of the last digest, and the age limit of papers in days.

    `recap` tells whether the digest names what was missed in the week before.
    """

    subscriber: Subscriber
    since: date
    days: int
    recap: bool


@dataclass(frozen=True, slots=True)
class Night:
    """The data that all digests of one date share; `days` is the highest age limit of any."""

    on: date
    days: int
    pair: ActiveModels
    pool: Pool
    user_models: UserModelCache
    calibrations: Calibrations
    rules: DigestRules
    _read: dict[date, tuple[dict[str, int], list[SourceDay]]] = field(default_factory=dict)

    @classmethod
    def load(
        cls, conn: Connection, pair: ActiveModels, rules: DigestRules, on: date, days: int
    ) -> Night:
        pool = load_pool(conn, pair.encoder, on, days)
        user_models = UserModelCache(pair.encoder)
        return cls(on, days, pair, pool, user_models, Calibrations(conn, tonight=on), rules)

    def report(self, conn: Connection, since: date, n_candidates: int) -> str:
        """Return the line about the sources that were read since a digest, see `day_report`."""
        if since not in self._read:
            self._read[since] = (
                store.papers.counts_by_source(conn, since + ONE_DAY, self.on),
                store.sources.days(conn, since - MOST_BEHIND, self.on, by_category=True),
            )
        counts, days = self._read[since]
        return day_report(counts, days, since=since, on=self.on, n_candidates=n_candidates)


@dataclass(frozen=True, slots=True)
class Slates:
    """The slates of a block, and what belongs to them.

    Attributes:
        interests: what the subscribers were found to read about, by their ids.
        user_models: the new ones among them wait to be stored.
    """

    slates: tuple[Slate, ...]
    interests: dict[int, tuple[Interest, ...]]
    user_models: UserModelBlock


def find_due(
    conn: Connection, subscribers: Sequence[Subscriber], on: date, max_age_days: int
) -> list[Due]:
    """Return since when and how far back the digest of each subscriber reaches."""
    ids = [each.id for each in subscribers]
    sent = store.slates.sent_days(conn, on - timedelta(days=max_age_days), ids)
    due = []
    for subscriber in subscribers:
        digests = sent.get(subscriber.id, [])
        days = window_days(max_age_days, digests, on)
        recap = subscriber.recap and recap_due(digests, on)
        due.append(Due(subscriber, min([*digests[-1:], on - ONE_DAY]), days, recap))
    return due


def make_slates(conn: Connection, night: Night, block: Sequence[Due]) -> Slates:
    """Return the slates of these subscribers; nothing is stored.

    The number of queries does not depend on the number of subscribers.
    """
    subscribers = [each.subscriber for each in block]
    ids = [each.id for each in subscribers]
    votes = store.events.votes_of_each(conn, ids)
    first = night.on - timedelta(days=night.days)
    shown = store.slates.shown_papers_of_each(conn, ids, first)
    calibrations = night.calibrations.of_each(conn, {id: votes[id] for id in ids})
    named = store.named_papers.untold_outcomes(conn, ids)
    revised = _load_revised(conn, night.on, block, votes)
    profiles = load_profiles(conn, night.pair.encoder, subscribers, votes)
    models = night.user_models.load_block(conn, profiles, night.on)
    profiles = [replace(each, user_model=models.of(each)) for each in profiles]
    eligible = [
        night.pool.find_eligible(
            due.subscriber,
            shown[due.subscriber.id] | {vote.paper_id for vote in votes[due.subscriber.id]},
            night.on,
            due.days,
            profile.own_authors,
        )
        for due, profile in zip(block, profiles, strict=True)
    ]
    slates, interests = [], {}
    shortlists = shortlist_each(profiles, night.pool, eligible)
    for due, profile, shortlist in zip(block, profiles, shortlists, strict=True):
        who = due.subscriber.id
        ranking = rank_shortlist(
            profile, night.pool, shortlist, night.pair.scorer, night.on, calibrations[who]
        )
        interests[who] = interests_of(ranking, night.pair.encoder)
        named_clusters = replace(ranking.interests, clusters=interests[who])
        ranking = replace(ranking, interests=named_clusters)
        report = night.report(conn, due.since, ranking.n_eligible)
        if who in named:
            report = " ".join(filter(None, [report, named_report(named[who])]))
        own = _select_revised(votes[who], revised, due)
        slates.append(_make_slate(night, due, ranking, report, own))
    return Slates(tuple(slates), interests, models)


def _make_slate(
    night: Night, due: Due, ranking: Ranking, report: str, revised: tuple[Paper, ...]
) -> Slate:
    pair, on, rules = night.pair, night.on, night.rules
    rng = slate_rng(SEED, due.subscriber.id, on)
    impressions = fill_slate(ranking, rules, pair.scorer, pair.encoder, rng)
    shown = {each.paper.id for each in impressions}
    return Slate(
        public_id=_public_id(due.subscriber, on),
        subscriber=due.subscriber,
        on=on,
        impressions=impressions,
        n_candidates=ranking.n_eligible,
        scorer_version=pair.scorer.version,
        encoder_version=pair.encoder.version,
        feature_version=FEATURE_VERSION,
        day_report=report,
        revised=revised,
        recap=select_missed(ranking, rules, shown, on, MOST_MISSED) if due.recap else (),
    )


def _liked_on(votes: Iterable[Vote]) -> dict[int, date]:
    liked = [vote for vote in votes if vote.kind in LIKES and vote.own is None]
    return {vote.paper_id: vote.at.date() for vote in liked}


def _load_revised(
    conn: Connection, on: date, block: Sequence[Due], votes: Mapping[int, Sequence[Vote]]
) -> list[tuple[Paper, date]]:
    """Return which liked papers of a block were revised since the last digest of any, and when."""
    wanted = [each for each in block if each.subscriber.revisions]
    ids = {id for each in wanted for id in _liked_on(votes[each.subscriber.id])}
    since = min((each.since for each in wanted), default=on)
    return store.papers.revised(conn, ids, since, on)


def _select_revised(
    votes: Sequence[Vote], revised: Sequence[tuple[Paper, date]], due: Due
) -> tuple[Paper, ...]:
    """Return what the subscriber liked and what was revised since then and the last digest."""
    if not revised or not due.subscriber.revisions:
        return ()
    liked_on = _liked_on(votes)
    own = (
        paper
        for paper, day in revised
        if day > due.since and paper.id in liked_on and liked_on[paper.id] < day
    )
    return tuple(own)[:MOST_REVISED]


def _public_id(subscriber: Subscriber, on: date) -> str:
    # The same digest has the same name, so that even a repeated run repeats its Message-ID.
    name = f"{subscriber.public_id} {on}".encode()
    return blake2b(name, digest_size=10).hexdigest()
