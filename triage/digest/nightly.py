"""The nightly run: from sources to mail, one digest for each subscriber who is due.

    fetch → encode → for each block of subscribers: rank → build the messages → queue → drain

All steps before sending can be repeated: after a crash, run it again. A source or a subscriber that
fails is reported and skipped; the others continue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Protocol

import structlog

from triage import store
from triage.delivery.outbox import DrainReport, Outbox
from triage.digest.block import Night, find_due, make_slates
from triage.domain.chunks import chunks
from triage.domain.crash_points import crash_point
from triage.domain.digest_calendar import digest_due, latest_digest_on
from triage.domain.protocols import Clock, Progress, Source, silent
from triage.domain.records import OutgoingMessage, Slate, Subscriber, SubscriberState
from triage.papers.ingest import fetch
from triage.ranking.serving.active_models import ActiveModels, encode_new, ensure_active_models
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import DigestRules
from triage.store import Database
from triage.store.messages import Digest

log = structlog.get_logger()

NO_PAPERS = "no_papers"
LEFT_OUT = tuple(f"digests that failed on weekday {n}" for n in range(7))
"""The jobs under which `Nightly.queue` notes whose digest failed, and why, as JSON.

There is one for each weekday of a digest, so that no more than a week is kept.
"""
BLOCK = 100
"""So many subscribers are ranked together, and their digests stored in one transaction."""
FEWEST_BLOCKS = 4
"""Fewer are made before other processes have started and loaded what a night needs."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A digest that is ready to send; it shows the first `n_papers` of its slate."""

    message: OutgoingMessage
    n_papers: int


PaperKeys = Mapping[int, tuple[tuple[str, str], ...]]
"""The outside ids of papers by their ids, see `store.papers.keys_of`."""


class Compose(Protocol):
    """Builds the message of a slate."""

    def __call__(self, slate: Slate, now: datetime, *, keys: PaperKeys) -> Composed: ...


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
class Block:
    """The subscribers whose digests are made together, by any process; again does no harm.

    Attributes:
        models: the versions of encoder and scorer.
        days: the highest age limit of papers that any subscriber of the run has.
        spread: over how long a time the digests may go, each at a moment of its own.
        only_latest: whether no digest is stored if a later one is due by then.
    """

    run_id: int
    on: date
    models: tuple[str, str]
    days: int
    subscriber_ids: tuple[int, ...]
    spread: timedelta = timedelta()
    only_latest: bool = False


@dataclass(frozen=True, slots=True)
class QueuedBlock:
    """The number of digests made and of those without papers, and why others were left out.

    `left_out` has the reason by the subscriber's public id.
    """

    made: int = 0
    skipped: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: QueuedBlock) -> QueuedBlock:
        left_out = {**self.left_out, **other.left_out}
        return QueuedBlock(self.made + other.made, self.skipped + other.skipped, left_out)


QueueBlocks = Callable[[Sequence[Block]], Iterator[tuple[Block, QueuedBlock | str]]]
"""Returns what became of blocks, or of parts of them: the text says why nothing did."""


@dataclass
class Nightly:
    """Makes the digests of one date; the module docstring shows the steps.

    Attributes:
        workers: make the blocks of a large night; without them, this process makes all.
    """

    database: Database
    clock: Clock
    model_store: ModelStore
    compose: Compose
    rules: DigestRules
    workers: QueueBlocks | None = None
    _night: tuple[tuple[int, date, int], Night] | None = field(default=None, init=False)

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
        only_latest: bool = False,
        progress: Progress = silent,
        spread: timedelta = timedelta(),
    ) -> Queued:
        """Make and queue the digest of everyone who is due one for `on`.

        Args:
            only: as for `run`.
            only_latest, spread: see `Block`.

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
            due = find_due(conn, wanted, on, self.rules.max_age_days)
        days = max((each.days for each in due), default=0)
        names = {each.subscriber.id: each.subscriber.public_id for each in due}
        models = pair.encoder.version, pair.scorer.version
        blocks = [
            Block(run_id, on, models, days, tuple(some), spread, only_latest)
            for some in chunks(list(names), BLOCK)
        ]
        log.info("rank", on=str(on), due=len(due))
        total = QueuedBlock()
        done = 0
        for block, queued in self._queue_blocks(blocks):
            if isinstance(queued, str):
                queued = QueuedBlock(left_out={names[id]: queued for id in block.subscriber_ids})
            total += queued
            done += len(block.subscriber_ids)
            progress("rank", done, len(due))
        self._night = None
        with self.database.write() as conn:
            now = self.clock.now()
            left_out = json.dumps(dict(total.left_out))
            store.jobs.note_done(conn, LEFT_OUT[on.weekday()], now, left_out)
            store.jobs.reach_stage(conn, run_id, "queued", now)
        crash_point("ranked")
        problems = (f"subscriber {public_id}: {why}" for public_id, why in total.left_out.items())
        return Queued(total.made, total.skipped, tuple(problems))

    def _queue_blocks(self, blocks: Sequence[Block]) -> Iterator[tuple[Block, QueuedBlock | str]]:
        if self.workers is not None and len(blocks) >= FEWEST_BLOCKS:
            return self.workers(blocks)
        return ((block, self.queue_block(block)) for block in blocks)

    def queue_block(self, block: Block) -> QueuedBlock:
        """Make and queue the digests of a block; whoever has one already gets no other.

        If this fails, it is tried for each subscriber alone: one who fails is logged and left out.

        Raises:
            ModelError: the models of the block cannot be loaded.
        """
        night = self._load_night(block)
        with self.database.read() as conn:
            stored = store.subscribers.by_ids(conn, block.subscriber_ids)
        several = [each for each in stored if each.state is SubscriberState.ACTIVE]
        try:
            return self._queue_together(block, night, several)
        except Exception as error:
            log.warning("each digest of a block is made alone", why=str(error))
        total = QueuedBlock()
        for subscriber in several:
            left_out: dict[str, str] = {}
            with spare_the_others(subscriber, left_out):
                total += self._queue_together(block, night, [subscriber])
            total += QueuedBlock(left_out=left_out)
        return total

    def preview(self, subscriber: Subscriber, on: date) -> Slate:
        """Make the slate that a subscriber would get for `on`; no slate is stored.

        Raises:
            NotFound: no papers are stored at all.
        """
        pair = self._encode(on, silent)
        with self.database.read() as conn:
            due = find_due(conn, [subscriber], on, self.rules.max_age_days)
            night = Night.load(conn, pair, self.rules, on, due[0].days)
            return make_slates(conn, night, due).slates[0]

    def _encode(self, on: date, progress: Progress) -> ActiveModels:
        pair = ensure_active_models(self.database, self.model_store, self.clock, on)
        log.info("encode", encoder=pair.encoder.version, scorer=pair.scorer.version)
        encode_new(self.database, pair.encoder, progress)
        return pair

    def _load_night(self, block: Block) -> Night:
        """Return what the blocks of one run share; it is loaded once per process."""
        key = block.run_id, block.on, block.days
        if self._night is None or self._night[0] != key:
            encoder, scorer = block.models
            pair = ActiveModels(
                self.model_store.load_encoder(encoder), self.model_store.load_scorer(scorer)
            )
            with self.database.read() as conn:
                night = Night.load(conn, pair, self.rules, block.on, block.days)
            self._night = key, night
        return self._night[1]

    def _queue_together(
        self, block: Block, night: Night, several: Sequence[Subscriber]
    ) -> QueuedBlock:
        """Queue digests with slates, impressions and bytes in one transaction."""
        with self.database.read() as conn:
            due = find_due(conn, several, block.on, self.rules.max_age_days)
            made = make_slates(conn, night, due)
            shown = {each.paper.id for slate in made.slates for each in slate.impressions}
            keys = store.papers.keys_of(conn, shown)
        now = self.clock.now()
        digests = []
        for slate in made.slates:
            digest = self._compose(slate, now, keys, block.spread)
            crash_point("composed")
            # After `now`: if the machine is suspended later still, it counts as made before.
            if not block.only_latest or self._is_latest(slate):
                digests.append(digest)
        with self.database.write() as conn:
            new = store.messages.queue_each(conn, digests, block.run_id, now)
            sent = {each.slate.subscriber.id for each in digests if each.message} & new
            store.named_papers.mark_told(conn, sent, now)
            store.interests.save_each(conn, {id: made.interests[id] for id in new}, now)
            night.user_models.save_block(conn, made.user_models, now, only=new)
        crash_point("queued")
        return QueuedBlock(len(sent), len(new) - len(sent))

    def _is_latest(self, slate: Slate) -> bool:
        """Return whether no later digest is due: the machine may have been suspended meanwhile."""
        who = slate.subscriber
        return slate.on == latest_digest_on(self.clock.now(), who.hour, who.zone, who.weekdays)

    def _compose(self, slate: Slate, now: datetime, keys: PaperKeys, spread: timedelta) -> Digest:
        if not slate.impressions:
            return Digest(slate, None, NO_PAPERS)
        composed = self.compose(slate, now, keys=keys)
        slate = replace(slate, impressions=slate.impressions[: composed.n_papers])
        not_before = now + spread * _share(slate.public_id) if spread else None
        return Digest(slate, composed.message, not_before=not_before)


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


def _share(public_id: str) -> float:
    """Return a number in [0, 1), the same one for the same digest."""
    return int(public_id[:8], 16) / 2**32
