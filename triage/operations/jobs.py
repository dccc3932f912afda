"""Find in the database which jobs are due, and do them.

    every minute:   fetch sources that may have news → encode new papers → queue due digests → send
    once a day:     train, back up and more (in another thread, so that digests do not wait)

No state is kept in memory between two ticks: after a downtime, the first tick does what was missed.
If several schedulers run, only the one with the lease makes digests; all of them send.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import date, datetime, time, timedelta
from typing import Protocol

import structlog

from triage import store
from triage.delivery.outbox import Outbox
from triage.digest.nightly import Queued
from triage.domain import digest_calendar
from triage.domain.announcement_calendar import arxiv_today
from triage.domain.protocols import Clock, Progress, Source
from triage.domain.records import Subscriber, SubscriberState, Verdict
from triage.errors import DatabaseError, NotFound, TriageError
from triage.papers.ingest import fetch
from triage.store import Database

log = structlog.get_logger()

LEASE = timedelta(minutes=15)
# Training may take long, and it does not hurt if the other scheduler starts it later.
JOBS_LEASE = timedelta(hours=3)
SETTLED = frozenset({Verdict.COMPLETE, Verdict.EMPTY_EXPECTED})
# Time between two fetches of a source: while digests wait for its day, while a day that delays no
# digest is incomplete, and once the day is complete.
OPEN_AGAIN = timedelta(minutes=15)
OLDER_AGAIN = timedelta(hours=1)
SETTLED_AGAIN = timedelta(hours=4)
# How long a digest waits for an incomplete source day. Then it is sent and says what is missing.
PATIENCE = timedelta(hours=6)
NAMED_FAILED = "fetch named papers"
ONE_DAY = timedelta(days=1)

Sources = Callable[[], Sequence[Source]]


class Queue(Protocol):
    def __call__(
        self, on: date, *, only: Collection[int], only_latest: bool, progress: Progress
    ) -> Queued: ...


@dataclass(frozen=True, slots=True)
class Job:
    """A job that runs once a day at `at` (UTC), or in intervals of `every`.

    `do` returns the outcome as a short text.
    """

    name: str
    at: time
    do: Callable[[], str]
    every: timedelta | None = None

    def is_due(self, last_at: datetime | None, now: datetime) -> bool:
        if self.every is None or last_at is None:
            return digest_calendar.job_due(self.at, last_at, now)
        return not last_at <= now < last_at + self.every


@dataclass(frozen=True, slots=True)
class Schedule:
    """Does the jobs that are due.

    Attributes:
        queue: makes the digests of a date for some subscribers; see `Nightly.queue`.
        sources: returns new source objects, which read the current day.
        fetch_named: asks for the papers that people named; returns the errors.
        awaited: the sources for whose day digests wait, each with the number of days by which
            that day is before the date of the digest.
        owner: the name of this process in leases.
        encode: computes the vectors of new papers, so that the pages show them before the night.
        is_gone: returns whether the owner of a lease is known to have died.
        distrust: returns why the clock cannot be believed yet; "" if it can be.
    """

    database: Database
    clock: Clock
    queue: Queue
    outbox: Outbox
    _: KW_ONLY
    sources: Sources
    fetch_named: Callable[[], Sequence[str]]
    awaited: Mapping[str, int]
    jobs: Sequence[Job]
    owner: str
    encode: Callable[[], object] = lambda: None
    is_gone: Callable[[str], bool] = lambda _: False
    distrust: Callable[[], str] = lambda: ""

    def tick(self) -> None:
        """Fetch, queue and send what is due; only send if another scheduler has the lease."""
        if why := self.distrust():
            log.error("nothing is read, made or sent: the clock may be wrong", why=why)
            return
        if not self._take_lease("digests", LEASE):
            # A night of very many digests takes hours, and each sender takes other messages.
            self.outbox.drain()
            return
        self._set_days_aside()
        self._fetch()
        self._fetch_named()
        self._encode()
        if not self._take_lease("digests", LEASE):
            return
        if why := self.outbox.check():
            # From a restored database, digests that were sent already would be made again.
            log.error("no digests are made or sent", why=why)
            return
        for on, subscribers in sorted(self._find_due().items()):
            only = {each.id for each in subscribers}
            try:
                queued = self.queue(on, only=only, only_latest=True, progress=self._renew_lease)
            except NotFound as error:
                log.info("no digests yet", why=str(error))
                break
            log.info("queued", on=str(on), made=queued.made, skipped=queued.skipped)
            for problem in queued.problems:
                log.error("no digest", on=str(on), why=problem)
            if not self._take_lease("digests", LEASE):
                return
        self.outbox.drain()

    def do_jobs(self) -> None:
        """Do the daily jobs that are due; if one fails, store the error and go on."""
        if self.distrust() or not self._take_lease("jobs", JOBS_LEASE):
            return
        for job in self.jobs:
            if self.distrust():
                # The clock was set meanwhile, and the next job may be one that deletes.
                return
            if job.is_due(self._last_done(job.name), self.clock.now()):
                try:
                    outcome = job.do()
                except TriageError as error:
                    outcome = f"failed: {error}"
                except Exception as error:
                    # No error of one job may stop the next ones.
                    log.exception("job failed", name=job.name)
                    outcome = f"failed: {type(error).__name__}"
                log.info("job", name=job.name, outcome=outcome)
                with self.database.write() as conn:
                    store.jobs.note_done(conn, job.name, self.clock.now(), outcome)

    def stop(self) -> None:
        """Release the leases, so that another scheduler can start at once."""
        now = self.clock.now()
        with self.database.write() as conn:
            for name in ("digests", "jobs"):
                store.jobs.give_lease_back(conn, name, self.owner, now)

    def _take_lease(self, name: str, duration: timedelta) -> bool:
        """Take or renew a lease; return False if another scheduler has it."""
        now = self.clock.now()
        return self.database.execute(
            store.jobs.take_lease, name, self.owner, now + duration, now, self.is_gone
        )

    def _renew_lease(self, stage: str, done: int, total: int) -> None:  # noqa: ARG002
        self._take_lease("digests", LEASE)

    def _last_done(self, name: str) -> datetime | None:
        """Return when a job was done last; None if never, or later than now by a wrong clock."""
        now = self.clock.now()
        last_at = self.database.fetch(store.jobs.last_done, name)
        if last_at is None or last_at <= now:
            return last_at
        log.warning("set aside: done later than now, by a wrong clock", name=name, at=str(last_at))
        self.database.execute(store.jobs.forget, name, last_at)
        return None

    def _set_days_aside(self) -> None:
        """Forget the days of sources that were read by a clock ahead of the present one."""
        if not self.database.fetch(store.sources.has_days_ahead, self.clock.now()):
            return
        with self.database.write() as conn:
            days = store.sources.forget_days_ahead(conn, self.clock.now())
        log.warning("set aside: days read by a wrong clock", days=[f"{s} {on}" for s, on in days])

    def _fetch(self) -> None:
        now = self.clock.now()
        for source in self.sources():
            name = f"fetch {source.name}"
            last_at = self._last_done(name)
            wait = self._fetch_interval(source.name, arxiv_today(now))
            if last_at is not None and now - last_at < wait:
                continue
            problems = fetch(self.database, [source], self.clock)
            self.database.execute(store.jobs.note_done, name, now, "; ".join(problems) or "done")

    def _fetch_named(self) -> None:
        """Ask for the papers that people named, unless that failed a short time ago."""
        failed_at = self._last_done(NAMED_FAILED)
        now = self.clock.now()
        if failed_at is not None and now - failed_at < OPEN_AGAIN:
            return
        if problems := self.fetch_named():
            self.database.execute(store.jobs.note_done, NAMED_FAILED, now, "; ".join(problems))

    def _encode(self) -> None:
        try:
            self.encode()
        except DatabaseError:
            raise
        except Exception:
            # The digests encode again, and say what is wrong if they cannot be made.
            log.exception("papers not encoded")

    def _fetch_interval(self, source: str, today: date) -> timedelta:
        days_behind = self.awaited.get(source)
        # In the time zone of the source, it may be tomorrow already.
        verdicts = self._newest_verdicts(today - (days_behind or 0) * ONE_DAY, today + ONE_DAY)
        if verdicts.get(source) in SETTLED:
            return SETTLED_AGAIN
        return OPEN_AGAIN if days_behind == 0 else OLDER_AGAIN

    def _newest_verdicts(self, first: date, last: date) -> Mapping[str, Verdict]:
        """Return the verdict of each source's newest day from `first` to `last`."""
        days = self.database.fetch(store.sources.days, first, last)
        return {day.source: day.verdict for day in days}

    def _is_complete(self, on: date) -> bool:
        """Tell whether a digest for that date does not have to wait for any source."""
        return all(
            self._newest_verdicts(day, day).get(name) in SETTLED
            for name, days_behind in self.awaited.items()
            for day in [on - days_behind * ONE_DAY]
        )

    def _find_due(self) -> dict[date, list[Subscriber]]:
        """Return the subscribers whose digest is due, by the local date of the digest."""
        now = self.clock.now()
        today = arxiv_today(now)
        is_complete = {day: self._is_complete(day) for day in (today - ONE_DAY, today)}
        with self.database.read() as conn:
            last, ahead = store.slates.newest(conn, now), store.slates.ahead(conn, now)
            active = store.subscribers.everyone(conn, [SubscriberState.ACTIVE])
        due: dict[date, list[Subscriber]] = {}
        for subscriber in active:
            on = digest_calendar.due_on(subscriber, last.get(subscriber.id), now)
            if on is None or (subscriber.id, on) in ahead:
                continue
            # The subscriber's date may be ahead of the source's day, or behind it in the evening.
            sent_by = digest_calendar.digest_at(on, subscriber.hour, subscriber.zone) + PATIENCE
            if now >= sent_by or is_complete.get(min(on, today), True):
                due.setdefault(on, []).append(subscriber)
                if not digest_calendar.is_known_zone(subscriber.zone):
                    who = subscriber.public_id
                    log.error("the time zone is not known, so UTC is used", subscriber=who)
        if due and ahead:
            later = sorted({str(on) for _, on in ahead})[:5]
            log.warning("set aside: digests made by a wrong clock", n=len(ahead), dates=later)
        return due
