"""Accounts for the papers that subscribers liked: an earlier digest had them, or why none had.

likes of some days → shown, or the last digest that could have had the paper → its outcome
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from triage import store
from triage.domain.paper_outcome import Outcome, PaperOutcome
from triage.domain.protocols import Clock, Progress, silent
from triage.domain.records import Subscriber
from triage.ranking.serving.active_models import (
    encode_new,
    ensure_active_models,
    load_active_models,
)
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.outcome_finder import Chance, OutcomeFinder
from triage.store import Connection, Database
from triage.training.evaluation.past_slates import Span


@dataclass(frozen=True, slots=True)
class Like:
    """A paper that a subscriber liked.

    Attributes:
        at: the time of the first vote on the paper in the days of the account.
        found: what had become of the paper before the vote was stored, or a digest that could have
            had it.
    """

    subscriber: Subscriber
    paper_id: int
    at: datetime
    found: PaperOutcome | Chance


@dataclass(frozen=True, slots=True)
class MissedPaper:
    """A paper that a subscriber liked without having been shown it: `paper` is its id outside."""

    email: str
    paper: str
    liked_at: datetime
    outcome: PaperOutcome


@dataclass(frozen=True, slots=True)
class RecallReport:
    """The papers that were liked from `first` to `until`, both included, in UTC.

    Attributes:
        recall: the shown papers among those that were shown or ranked, NaN without any. Filtered
            papers are left out, because no ranker could have shown them.
    """

    first: date
    until: date
    n_liked: int
    n_shown: int
    recall: float
    missed: tuple[MissedPaper, ...]


def measure_recall(
    database: Database,
    model_store: ModelStore,
    clock: Clock,
    span: Span,
    progress: Progress = silent,
) -> RecallReport:
    """Account for every paper that was liked in a span of days, with the current models.

    Args:
        progress: gets the stages "encode" and "rank".

    Raises:
        NotFound: no papers are stored.
    """
    pair = load_active_models(database, model_store) or ensure_active_models(
        database, model_store, clock, span.until
    )
    encode_new(database, pair.encoder, progress)
    with database.read() as conn:
        outcomes = OutcomeFinder(conn, span.max_age_days, pair)
        likes = list(list_likes(conn, outcomes, span.first, span.until))
        found = {n: like.found for n, like in enumerate(likes)}
        chances = [(n, each) for n, each in found.items() if isinstance(each, Chance)]
        chances.sort(key=lambda each: (each[1].on, each[1].subscriber.id))
        for done, (n, chance) in enumerate(chances, start=1):
            found[n] = outcomes.rank(chance)
            progress("rank", done, len(chances))
        papers = store.papers.load(conn, {like.paper_id for like in likes})
    missed = tuple(
        MissedPaper(
            like.subscriber.email,
            store.papers.outside_id(papers[like.paper_id]),
            like.at,
            outcome,
        )
        for like, outcome in zip(likes, found.values(), strict=True)
        if isinstance(outcome, PaperOutcome) and outcome.outcome is not Outcome.SHOWN
    )
    n_shown = len(likes) - len(missed)
    n_possible = n_shown + sum(each.outcome.outcome is Outcome.RANKED for each in missed)
    recall = n_shown / n_possible if n_possible else math.nan
    return RecallReport(span.first, span.until, len(likes), n_shown, recall, missed)


def count_likes(
    conn: Connection, first: date, until: date, max_age_days: int
) -> dict[date, Counter[Outcome]]:
    """Count the papers liked in each calendar month by outcome, without ranking them.

    So papers of muted interests count as ranked. The key is the first day of the month in UTC;
    months without a like are left out.
    """
    counts: dict[date, Counter[Outcome]] = {}
    for like in list_likes(conn, OutcomeFinder(conn, max_age_days), first, until):
        found = like.found
        outcome = Outcome.RANKED if isinstance(found, Chance) else found.outcome
        counts.setdefault(like.at.date().replace(day=1), Counter())[outcome] += 1
    return dict(sorted(counts.items()))


def list_likes(
    conn: Connection, outcomes: OutcomeFinder, first: date, until: date
) -> Iterator[Like]:
    """Yield the likes of some days in UTC, one subscriber after the other, the oldest first."""
    begin, end = (datetime.combine(on, time(), UTC) for on in (first, until + timedelta(days=1)))
    liked = store.events.liked_between(conn, begin, end)
    subscribers = {each.id: each for each in store.subscribers.everyone(conn)}
    for subscriber_id, papers in sorted(liked.items()):
        subscriber = subscribers.get(subscriber_id)
        if subscriber is None:
            continue
        shown = store.slates.shown_papers(conn, subscriber_id)
        for paper_id, (at, recorded_at) in papers.items():
            found = (
                PaperOutcome(Outcome.SHOWN)
                if paper_id in shown
                else outcomes.filter(subscriber, paper_id, recorded_at)
            )
            yield Like(subscriber, paper_id, at, found)
