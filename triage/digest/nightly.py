"""The nightly run: from sources to mail, one digest for each subscriber who is due.

    fetch → encode → for each subscriber: rank → build the message → queue → drain

All steps before sending can be repeated: after a crash, run it again. A source or a subscriber that
fails is reported and skipped; the others continue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import blake2b

import structlog

from triage import store
from triage.delivery.outbox import DrainReport, Outbox
from triage.digest.source_report import day_report, named_report
from triage.domain.crash_points import crash_point
from triage.domain.digest_calendar import digest_due, recap_due, window_days
from triage.domain.protocols import Clock, Progress, Source, silent
from triage.domain.records import (
    LIKES,
    EncodedPapers,
    Interest,
    OutgoingMessage,
    Paper,
    Slate,
    Subscriber,
    SubscriberState,
    Vote,
)
from triage.papers.ingest import fetch
from triage.ranking.exploration import slate_rng
from triage.ranking.features import FEATURE_VERSION
from triage.ranking.serving.active_models import ActiveModels, encode_new, ensure_active_models
from triage.ranking.serving.calibrations import Calibrations
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import (
    DigestRules,
    fill_slate,
    interests_of,
    load_pool,
    load_profile,
    rank,
    select_missed,
)
from triage.ranking.serving.user_model_cache import UserModelCache
from triage.store import Connection, Database

log = structlog.get_logger()

ONE_DAY = timedelta(days=1)
# The day of a source that ends when the reader's next has begun, west of it.
MOST_BEHIND = timedelta(days=2)

NO_PAPERS = "no_papers"
LEFT_OUT = tuple(f"digests that failed on weekday {n}" for n in range(7))
"""The jobs under which `Nightly.queue` notes whose digest failed, and why, as JSON.

There is one for each weekday of a digest, so that no more than a week is kept.
"""
MOST_REVISED = 5
MOST_MISSED = 5
SEED = 0


@dataclass(frozen=True, slots=True)
class Composed:
    """A digest that is ready to send; it shows the first `n_papers` of its slate."""

    message: OutgoingMessage
    n_papers: int


Compose = Callable[[Slate, datetime], Composed]


@dataclass(frozen=True, slots=True)
class Queued:
    """The number of digests made, the number without papers, and the errors."""

    made: int
    skipped: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunReport:
    """The result of a run; `problems` has one text for each source or subscriber that failed."""

    queued: int
    skipped: int
    drained: DrainReport
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Due:
    """A subscriber who is due, the date of the last digest, and the age limit of papers in days.

    `recap` tells whether the digest names what was missed in the week before.
    """

    subscriber: Subscriber
    since: date
    days: int
    recap: bool


@dataclass(frozen=True, slots=True)
class _Night:
    """The data that all digests of one date share."""

    on: date
    pair: ActiveModels
    pool: EncodedPapers
    user_models: UserModelCache
    calibrations: Calibrations


@dataclass
class Nightly:
    """Makes the digests of one date; the module docstring shows the steps."""

    database: Database
    clock: Clock
    model_store: ModelStore
    compose: Compose
    rules: DigestRules

    def run(
        self,
        on: date,
        sources: Sequence[Source],
        outbox: Outbox,
        *,
        only: Collection[int] | None = None,
        progress: Progress = silent,
    ) -> RunReport:
        """Run all steps for one date.

        Args:
            only: make digests for these subscribers alone.

        Raises:
            NotFound: no papers are stored at all.
        """
        unread = fetch(self.database, sources, self.clock, progress)
        crash_point("fetched")
        # A database that was restored would make what it has forgotten once more.
        queued = Queued(0, 0, ())
        if not outbox.check():
            queued = self.queue(on, only=only, progress=progress)
        log.info("drain")
        drained = outbox.drain()
        crash_point("drained")
        return RunReport(queued.made, queued.skipped, drained, (*unread, *queued.problems))

    def queue(
        self,
        on: date,
        *,
        only: Collection[int] | None = None,
        is_due: Callable[[Subscriber], bool] = lambda _: True,
        progress: Progress = silent,
        spread: timedelta = timedelta(),
    ) -> Queued:
        """Make and queue the digest of everyone who is due one for `on`.

        Args:
            only: as for `run`.
            is_due: is asked just before each digest is stored; where it says no, none is.
            spread: over how long a time the digests may go, each at a moment of its own.

        Raises:
            NotFound: no papers are stored at all.
        """
        with self.database.write() as conn:
            run_id = store.jobs.begin_run(conn, on, self.clock.now())
            # What was withdrawn since they were made is not sent: those digests are made anew.
            store.messages.drop_withdrawn(conn, on)
        pair = self._encode(on, progress)
        crash_point("encoded")
        with self.database.read() as conn:
            now = self.clock.now()
            last, ahead = store.slates.newest(conn, now), store.slates.ahead(conn, now)
            active = store.subscribers.everyone(conn, [SubscriberState.ACTIVE])
            last_on = {id: each.on for id, each in last.items()}
            wanted = [
                subscriber
                for subscriber in active
                if (only is None or subscriber.id in only)
                and digest_due(subscriber, last_on.get(subscriber.id), on)
                and (subscriber.id, on) not in ahead
            ]
            due = self._when_due(conn, wanted, on)
            days = max((each.days for each in due), default=0)
            pool = load_pool(conn, pair.encoder, on, days)
            night = _Night(on, pair, pool, UserModelCache(pair.encoder), Calibrations(conn))
        log.info("rank", on=str(on), due=len(due), papers=len(night.pool))
        counts = {True: 0, False: 0}
        left_out: dict[str, str] = {}
        for done, each in enumerate(due, start=1):
            with spare_the_others(each.subscriber, left_out):
                counts[self._queue_one(run_id, each, night, spread, is_due)] += 1
            progress("rank", done, len(due))
        with self.database.write() as conn:
            now = self.clock.now()
            store.jobs.note_done(conn, LEFT_OUT[on.weekday()], now, json.dumps(left_out))
            store.jobs.reach_stage(conn, run_id, "queued", now)
        crash_point("ranked")
        problems = tuple(f"subscriber {public_id}: {why}" for public_id, why in left_out.items())
        return Queued(counts[True], counts[False], problems)

    def preview(self, subscriber: Subscriber, on: date) -> Slate:
        """Make the slate that a subscriber would get for `on`; no slate is stored.

        Raises:
            NotFound: no papers are stored at all.
        """
        pair = self._encode(on, silent)
        with self.database.read() as conn:
            due = self._when_due(conn, [subscriber], on)[0]
            pool = load_pool(conn, pair.encoder, on, due.days)
            night = _Night(on, pair, pool, UserModelCache(pair.encoder), Calibrations(conn))
            return self._made(conn, due, night)[0]

    def _encode(self, on: date, progress: Progress) -> ActiveModels:
        pair = ensure_active_models(self.database, self.model_store, self.clock, on)
        log.info("encode", encoder=pair.encoder.version, scorer=pair.scorer.version)
        encode_new(self.database, pair.encoder, progress)
        return pair

    def _when_due(
        self, conn: Connection, subscribers: Sequence[Subscriber], on: date
    ) -> list[_Due]:
        max_age_days = self.rules.max_age_days
        sent = store.slates.sent_days(conn, on - timedelta(days=max_age_days))
        due = []
        for subscriber in subscribers:
            digests = sent.get(subscriber.id, [])
            days = window_days(max_age_days, digests, on)
            recap = subscriber.recap and recap_due(digests, on)
            due.append(_Due(subscriber, min([*digests[-1:], on - ONE_DAY]), days, recap))
        return due

    def _queue_one(
        self,
        run_id: int,
        due: _Due,
        night: _Night,
        spread: timedelta,
        is_due: Callable[[Subscriber], bool],
    ) -> bool:
        """Queue one digest, slate, impressions and bytes together; False if it has no papers."""
        with self.database.read() as conn:
            slate, interests = self._made(conn, due, night)
        now = self.clock.now()
        composed = self.compose(slate, now) if slate.impressions else None
        crash_point("composed")
        # After `now`: if the machine is suspended later still, the digest counts as made before.
        if not is_due(due.subscriber):
            return False
        message = None
        if composed is not None:
            message = composed.message
            slate = replace(slate, impressions=slate.impressions[: composed.n_papers])
        with self.database.write() as conn:
            if not store.messages.queue_once(
                conn,
                slate,
                message,
                run_id,
                now,
                skipped_because=NO_PAPERS,
                not_before=now + spread * _share(slate.public_id) if spread else None,
            ):
                # Another run was quicker.
                return False
            if message is not None:
                store.named_papers.mark_told(conn, due.subscriber.id, now)
            store.interests.save(conn, due.subscriber.id, interests, now)
            night.user_models.keep(conn, due.subscriber.id, now)
        crash_point("queued")
        return composed is not None

    def _made(
        self, conn: Connection, due: _Due, night: _Night
    ) -> tuple[Slate, tuple[Interest, ...]]:
        """Return a slate, and what the subscriber was found to read about."""
        subscriber, on, pair = due.subscriber, night.on, night.pair
        votes = store.events.votes(conn, subscriber.id)
        ranking = rank(
            load_profile(conn, pair.encoder, subscriber, votes, night.user_models.on(on)),
            night.pool,
            pair.scorer,
            seen=store.slates.shown_papers(conn, subscriber.id) | {v.paper_id for v in votes},
            on=on,
            max_age_days=due.days,
            calibration=night.calibrations.of(conn, subscriber.id, votes),
        )
        report = day_report(
            store.papers.counts_by_source(conn, due.since + ONE_DAY, on),
            store.sources.days(conn, due.since - MOST_BEHIND, on, by_category=True),
            since=due.since,
            on=on,
            n_candidates=len(ranking.candidates),
        )
        named = store.named_papers.outcome(conn, subscriber.id, untold=True)
        rng = slate_rng(SEED, subscriber.id, on)
        impressions = fill_slate(ranking, self.rules, pair.scorer, pair.encoder, rng)
        shown = {each.paper.id for each in impressions}
        slate = Slate(
            public_id=_public_id(subscriber, on),
            subscriber=subscriber,
            on=on,
            impressions=impressions,
            n_candidates=len(ranking.candidates),
            scorer_version=pair.scorer.version,
            encoder_version=pair.encoder.version,
            feature_version=FEATURE_VERSION,
            day_report=" ".join(filter(None, [report, named_report(named)])),
            revised=_revised(conn, subscriber, votes, due.since, on),
            recap=select_missed(ranking, self.rules, shown, on, MOST_MISSED) if due.recap else (),
        )
        return slate, interests_of(ranking, pair.encoder)


@contextmanager
def spare_the_others(subscriber: Subscriber, left_out: dict[str, str]) -> Iterator[None]:
    """Let a loop over subscribers go on if the step of one fails; log and note the reason.

    Args:
        left_out: gets the reason by the subscriber's public id.
    """
    try:
        yield
    except Exception as error:
        # Whatever one subscriber's trouble is, it must not cost the others their mail.
        log.exception("digest failed", subscriber=subscriber.public_id)
        left_out[subscriber.public_id] = str(error) or type(error).__name__


def _revised(
    conn: Connection, subscriber: Subscriber, votes: Sequence[Vote], since: date, on: date
) -> tuple[Paper, ...]:
    """Return what the subscriber liked and what was revised since then and the last digest."""
    if not subscriber.revisions:
        return ()
    liked = [vote for vote in votes if vote.kind in LIKES and vote.own is None]
    liked_on = {vote.paper_id: vote.at.date() for vote in liked}
    revised = store.papers.revised(conn, liked_on, since, on)
    return tuple(paper for paper, day in revised if liked_on[paper.id] < day)[:MOST_REVISED]


def _public_id(subscriber: Subscriber, on: date) -> str:
    # The same digest has the same name, so that even a repeated run repeats its Message-ID.
    name = f"{subscriber.public_id} {on}".encode()
    return blake2b(name, digest_size=10).hexdigest()


def _share(public_id: str) -> float:
    """Return a number in [0, 1), the same one for the same digest."""
    return int(public_id[:8], 16) / 2**32
