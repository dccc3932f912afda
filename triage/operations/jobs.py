"""What is due at this minute is found in the database, and done.

    every minute:   fetch what may have news → queue the digests that are due → drain the outbox
    every few s:    answer who subscribes or logs in     (apart: they wait for nobody's digest)
    once a day:     retrain, back up                     (apart: no digest waits for them)

Nothing is kept in memory between two ticks, so a process that was down catches up with its first
one, and of two schedulers the one that holds the lease works.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Protocol

import structlog

from triage import store
from triage.delivery.outbox import Outbox
from triage.digest.nightly import Queued
from triage.domain.announcement_calendar import arxiv_today
from triage.domain.digest_calendar import chore_due, digest_at, due_on
from triage.domain.protocols import Clock, Source
from triage.domain.records import Subscriber, SubscriberState, Verdict
from triage.errors import NotFound, TriageError
from triage.papers.ingest import fetch
from triage.store import Database

log = structlog.get_logger()

LEASE = timedelta(minutes=15)
# A training may take long, and nobody waits for the other scheduler's.
CHORES_LEASE = timedelta(hours=3)
SETTLED = frozenset({Verdict.COMPLETE, Verdict.EMPTY_EXPECTED})
# How soon a source is asked again: while a day that is waited for is open, while another one is,
# and once it is settled.
OPEN_AGAIN = timedelta(minutes=15)
OLDER_AGAIN = timedelta(hours=1)
SETTLED_AGAIN = timedelta(hours=4)
# How long a digest waits for a day that is not settled; then it goes out and says so.
PATIENCE = timedelta(hours=6)
ONE_DAY = timedelta(days=1)

Sources = Callable[[], Sequence[Source]]


class Queue(Protocol):
    def __call__(self, on: date, *, only: Collection[int]) -> Queued: ...


@dataclass(frozen=True, slots=True)
class Job:
    """Something done once a day, at `at` in UTC; `do` returns in words what came of it.

    `every` lets it be done so often instead, at any time.
    """

    name: str
    at: time
    do: Callable[[], str]
    every: timedelta | None = None

    def is_due(self, last_at: datetime | None, now: datetime) -> bool:
        if self.every is None or last_at is None:
            return chore_due(self.at, last_at, now)
        return now - last_at >= self.every


class Schedule:
    """Does what is due.

    Args:
        queue: makes the digests of a date for these subscribers, as `Nightly.queue` does.
        sources: returns the live sources, each for the day that it is there.
        awaited: the sources whose open day holds a digest back for a while, with how many days
            that day lies behind the digest's.
        owner: names this process in leases.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        queue: Queue,
        outbox: Outbox,
        *,
        sources: Sources,
        awaited: Mapping[str, int],
        chores: Sequence[Job],
        owner: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._queue = queue
        self._outbox = outbox
        self._sources = sources
        self._awaited = awaited
        self._chores = chores
        self._owner = owner

    def tick(self) -> None:
        """Fetch, queue and send what is due now; do nothing if another scheduler has the lease."""
        if not self._holds("digests", LEASE):
            return
        self._fetch()
        if not self._holds("digests", LEASE):
            return
        if why := self._outbox.check():
            # A database that was restored would make what it has forgotten once more.
            log.error("no digests are made or sent", why=why)
            return
        for on, subscribers in sorted(self._due().items()):
            try:
                queued = self._queue(on, only={each.id for each in subscribers})
            except NotFound as error:
                log.info("no digests yet", why=str(error))
                break
            log.info("queued", on=str(on), made=queued.made, skipped=queued.skipped)
            if not self._holds("digests", LEASE):
                return
        self._outbox.drain()

    def do_chores(self) -> None:
        """Do the daily chores that are due; one that fails is noted, and the others are done."""
        if not self._holds("chores", CHORES_LEASE):
            return
        for chore in self._chores:
            with self._database.read() as conn:
                last_at = store.jobs.last_done(conn, chore.name)
            if chore.is_due(last_at, self._clock.now()):
                try:
                    outcome = chore.do()
                except TriageError as error:
                    outcome = f"failed: {error}"
                except Exception as error:
                    # Whatever one chore's trouble is, the next one is done.
                    log.exception("chore failed", name=chore.name)
                    outcome = f"failed: {type(error).__name__}"
                log.info("chore", name=chore.name, outcome=outcome)
                with self._database.write() as conn:
                    store.jobs.note_done(conn, chore.name, self._clock.now(), outcome)

    def stop(self) -> None:
        """Give the leases back, so that another scheduler need not wait for them to run out."""
        now = self._clock.now()
        with self._database.write() as conn:
            for name in ("digests", "chores"):
                store.jobs.give_lease_back(conn, name, self._owner, now)

    def _holds(self, name: str, so_long: timedelta) -> bool:
        """Take or renew a lease; return False if another scheduler has it."""
        now = self._clock.now()
        with self._database.write() as conn:
            return store.jobs.take_lease(conn, name, self._owner, now + so_long, now)

    def _fetch(self) -> None:
        now = self._clock.now()
        for source in self._sources():
            name = f"fetch {source.name}"
            with self._database.read() as conn:
                last_at = store.jobs.last_done(conn, name)
            if last_at is not None and now - last_at < self._again(source.name, arxiv_today(now)):
                continue
            problems = fetch(self._database, [source], self._clock)
            with self._database.write() as conn:
                store.jobs.note_done(conn, name, now, "; ".join(problems) or "done")

    def _again(self, source: str, today: date) -> timedelta:
        """Return how soon after a fetch a source is asked again."""
        behind = self._awaited.get(source)
        # It may be tomorrow already where the source is.
        verdicts = self._verdicts(today - (behind or 0) * ONE_DAY, today + ONE_DAY)
        if verdicts.get(source) in SETTLED:
            return SETTLED_AGAIN
        return OPEN_AGAIN if behind == 0 else OLDER_AGAIN

    def _verdicts(self, first: date, last: date) -> Mapping[str, Verdict]:
        """Return how the newest day of each source stands."""
        with self._database.read() as conn:
            return {day.source: day.verdict for day in store.sources.days(conn, first, last)}

    def _is_settled(self, on: date) -> bool:
        """Tell whether a digest of that date need not wait for any source."""
        return all(
            self._verdicts(day, day).get(name) in SETTLED
            for name, behind in self._awaited.items()
            for day in [on - behind * ONE_DAY]
        )

    def _due(self) -> dict[date, list[Subscriber]]:
        """Return who is due a digest now, by the local date that it is for."""
        now = self._clock.now()
        today = arxiv_today(now)
        settled = {day: self._is_settled(day) for day in (today - ONE_DAY, today)}
        with self._database.read() as conn:
            last = store.slates.newest(conn)
            active = store.subscribers.everyone(conn, [SubscriberState.ACTIVE])
        due: dict[date, list[Subscriber]] = {}
        for subscriber in active:
            on = due_on(subscriber, last.get(subscriber.id), now)
            if on is None:
                continue
            at = digest_at(on, subscriber.hour, subscriber.zone)
            # A reader's date may be ahead of the source's day, or behind it in the evening.
            is_settled = settled.get(min(on, today), True)
            if not is_settled and now < at + PATIENCE:
                continue
            due.setdefault(on, []).append(subscriber)
        return due
