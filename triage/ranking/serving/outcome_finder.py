"""Tells what became of a paper for one subscriber: shown, ranked too low, or filtered out.

    paper, subscriber → the last digest that could have had the paper → its filters and its ranking,
    with what was known when it was made → PaperOutcome

The filters and the ranking are those of the digests. The models and the preferences are those of
now, because older ones are not stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from triage import store
from triage.domain.digest_calendar import Last, window_days, zone_or_utc
from triage.domain.paper_outcome import DigestFilter, Outcome, PaperOutcome
from triage.domain.protocols import Encoder
from triage.domain.records import Paper, Placement, Policy, Subscriber, Vote
from triage.ranking.candidates import find_filter
from triage.ranking.features import find_keywords
from triage.ranking.pool import Pool
from triage.ranking.serving.active_models import ActiveModels
from triage.ranking.serving.calibrations import Calibrations
from triage.ranking.serving.ranker import (
    Ranking,
    explain,
    interests_of,
    load_own_authors,
    load_pool,
    load_profile,
    rank,
)
from triage.ranking.serving.user_model_cache import UserModelCache
from triage.store import Connection

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Chance:
    """A paper, the digest that could have had it, and what was known when the digest was made.

    Attributes:
        at: when the digest was made; now, if it is still to come.
        votes: the latest vote on each paper, newest first.
        seen: ids of the papers with votes, and of those that earlier digests had.
        days: the age limit of papers in days.
    """

    paper: Paper
    subscriber: Subscriber
    on: date
    at: datetime
    votes: tuple[Vote, ...]
    seen: frozenset[int]
    days: int


class OutcomeFinder:
    """Finds the outcomes of papers.

    It keeps what it has loaded last. So many papers should be filtered in the order of subscribers
    and times, and ranked in the order of dates and subscribers.

    Args:
        max_age_days: the age limit of papers in the settings.
        pair: without models nothing can be ranked.
    """

    def __init__(
        self, conn: Connection, max_age_days: int, pair: ActiveModels | None = None
    ) -> None:
        self._conn = conn
        self._max_age_days = max_age_days
        self._pair = pair
        self._digests_of = lru_cache(maxsize=1)(self._load_digests)
        self._votes_of = lru_cache(maxsize=1)(self._load_votes)
        self._user_models = UserModelCache(pair.encoder) if pair else None
        self._calibrations: Calibrations | None = None
        self._pool: tuple[tuple[date, int], Pool] | None = None
        self._ranking: tuple[tuple[object, ...], Ranking] | None = None

    def find(self, subscriber: Subscriber, row: int, at: datetime) -> PaperOutcome:
        """Return what had become of a row of `papers` at a time, see `filter` and `rank`.

        A digest that shows the paper counts whenever it was made, and for all rows of the work.
        """
        shown = store.slates.find_shown(self._conn, subscriber.id, row)
        if shown is not None:
            on, score, reasons = shown
            texts = tuple(reason.text for reason in reasons)
            return PaperOutcome(Outcome.SHOWN, on, score=score, reasons=texts)
        found = self.filter(subscriber, row, at)
        return self.rank(found) if isinstance(found, Chance) else found

    def filter(self, subscriber: Subscriber, row: int, at: datetime) -> PaperOutcome | Chance:
        """Return the outcome of a paper that is filtered, else its chance to be shown.

        Args:
            row: of a paper that was not shown to the subscriber.
            at: digests that were made later, and votes that were stored later, are left out.

        Raises:
            sqlalchemy.exc.NoResultFound: there is no such row.
        """
        first_seen_at, why_not_listed = store.papers.first_seen(self._conn, row)
        if why_not_listed is not None:
            return _filtered(why_not_listed, self._describe_not_listed(why_not_listed, row))
        paper = store.papers.load(self._conn, [row])[row]
        chance = self._find_chance(subscriber, paper, first_seen_at, at)
        own = load_own_authors(self._conn, chance.votes)
        why = find_filter(paper, subscriber, chance.seen, chance.on, chance.days, own)
        return _filtered(why, _describe_filter(why, chance), chance.on) if why else chance

    def rank(self, chance: Chance) -> PaperOutcome:
        """Return the rank of a paper without filters, or the interest that keeps it out.

        The outcome is `UNKNOWN` if there are no models, or the paper has no vectors yet.
        """
        ranking = self._rank(chance)
        place = ranking.rank_of(chance.paper.id) if ranking else None
        if self._pair is None or ranking is None or place is None:
            return PaperOutcome(Outcome.UNKNOWN, chance.on)
        row = [paper.id for paper in ranking.candidates.papers].index(chance.paper.id)
        encoder, aims = self._pair.encoder, ranking.aims()
        if aims.find_paused()[row]:
            name = interests_of(ranking, encoder)[aims.nearest[row]].name
            why = f"it belongs to the interest “{name}”, which is muted or paused"
            return _filtered(DigestFilter.MUTED_INTEREST, why, chance.on)
        score = float(ranking.chances[row])
        placement = Placement(row, place, score, 1.0, Policy.RANKED)
        [reasons] = explain(ranking, [placement], self._pair.scorer, encoder)
        texts = tuple(reason.text for reason in reasons)
        n_candidates = len(ranking.candidates)
        return PaperOutcome(Outcome.RANKED, chance.on, place, n_candidates, score, texts)

    def _find_chance(
        self, subscriber: Subscriber, paper: Paper, first_seen_at: datetime, at: datetime
    ) -> Chance:
        """Return the last digest until `at` that could have the paper, else the one to come."""
        made, sent, shown = self._digests_of(subscriber.id)
        before = [digest for digest in made if digest.at <= at]
        today = at.astimezone(zone_or_utc(subscriber.zone)).date()
        coming = Last(max([today, *(digest.on + ONE_DAY for digest in before[:1])]), at)
        for digest in (*before, coming):
            days = window_days(self._max_age_days, sent, digest.on)
            is_in_time = first_seen_at <= digest.at
            if is_in_time and 0 <= (digest.on - paper.listed_on).days <= days:
                break
        votes = self._votes_of(subscriber.id, digest.at)
        seen = {vote.paper_id for vote in votes} | {id for on, id in shown if on < digest.on}
        return Chance(paper, subscriber, digest.on, digest.at, votes, frozenset(seen), days)

    def _load_votes(self, subscriber_id: int, at: datetime) -> tuple[Vote, ...]:
        return store.events.votes(self._conn, subscriber_id, recorded_before=at)

    def _load_digests(
        self, subscriber_id: int
    ) -> tuple[list[Last], list[date], list[tuple[date, int]]]:
        """Return a subscriber's digests, newest first, the days of those sent, and their papers."""
        made = store.slates.made(self._conn, subscriber_id)
        sent = store.slates.sent_days(self._conn, date.min, [subscriber_id]).get(subscriber_id, [])
        return made, sent, store.slates.shown_by_day(self._conn, subscriber_id)

    def _rank(self, chance: Chance) -> Ranking | None:
        if self._pair is None or self._user_models is None:
            return None
        key = chance.subscriber.id, chance.on, chance.votes, chance.seen
        if self._ranking is None or self._ranking[0] != key:
            first = chance.on - timedelta(days=chance.days)
            late = store.papers.stored_after(self._conn, chance.at, first, chance.on)
            learner = self._user_models.on(chance.on)
            self._calibrations = self._calibrations or Calibrations(self._conn)
            calibration = self._calibrations.of(
                self._conn, chance.subscriber.id, chance.votes, chance.on
            )
            ranking = rank(
                load_profile(
                    self._conn, self._pair.encoder, chance.subscriber, chance.votes, learner
                ),
                self._load_pool(chance, self._pair.encoder),
                self._pair.scorer,
                seen=chance.seen | late,
                on=chance.on,
                max_age_days=chance.days,
                calibration=calibration,
            )
            self._ranking = key, ranking
        return self._ranking[1]

    def _load_pool(self, chance: Chance, encoder: Encoder) -> Pool:
        key = chance.on, chance.days
        if self._pool is None or self._pool[0] != key:
            self._pool = key, load_pool(self._conn, encoder, *key)
        return self._pool[1]

    def _describe_not_listed(self, why: DigestFilter, row: int) -> str:
        if why is DigestFilter.WITHDRAWN:
            return "it was withdrawn"
        if why is DigestFilter.UNLISTED:
            return "no source has listed it as new: it is stored because somebody named it"
        [(into, _)] = store.works.merged(self._conn, [row]).values()
        work = store.papers.load(self._conn, [into])[into]
        return f"digests show this work as {store.papers.outside_id(work)}"


def _filtered(why: DigestFilter, sentence: str, on: date | None = None) -> PaperOutcome:
    return PaperOutcome(Outcome.FILTERED, on, reasons=(sentence,), filter=why)


def _describe_filter(why: DigestFilter, chance: Chance) -> str:
    if why is DigestFilter.SEEN:
        return "there was a vote on it before, and what has a vote is not shown"
    if why is DigestFilter.OWN:
        return "it is by the subscriber, and their own papers are not shown"
    if why is DigestFilter.DATE:
        listed = f"it was listed on {chance.paper.listed_on}"
        if chance.paper.listed_on > chance.on:
            return f"{listed}, which is later than this digest"
        return f"{listed}, and this digest has papers of at most {chance.days} days"
    found = find_keywords(chance.subscriber.exclude_keywords, chance.paper.text)
    quoted = ", ".join(f"“{keyword}”" for keyword in found)
    return f"it has the excluded {'keyword' if len(found) == 1 else 'keywords'} {quoted}"
