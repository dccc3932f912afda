"""Compares the sent log with the database, and repairs a database that was restored.

In a restored database, messages that were sent after the copy was made are waiting or missing. The
sent log has them. While the two disagree, nothing is sent until `reconcile` updates the database.
If the log itself is lost, nothing is sent until an operator decides what to do.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal

from triage import store
from triage.delivery.recovery import end_attempt
from triage.delivery.sent_log import NAME, SentLog, SentLogDamaged
from triage.domain.digest_calendar import latest_digest_on
from triage.domain.protocols import Clock
from triage.domain.records import MessageState as State
from triage.domain.records import SubscriberState
from triage.domain.sent_entry import SentEntry
from triage.errors import ConfigError
from triage.store import Database

HOLD = "sent journal"
# No back-up that is older than this is worth restoring.
KEPT = timedelta(days=90)
CHUNK = 500
REPLY = "the sent log has it as sent"
UNKNOWN = "journal_lost"

_OVER = frozenset({State.SENT, State.FAILED, State.CANCELLED, State.SKIPPED})
# A message in doubt is looked up in the sent log anyway before it is sent again.
_HARMLESS = _OVER | {State.IN_DOUBT}
_IN_HAND = {State.CLAIMED, State.IN_DOUBT, State.HELD}
_CHOICE = (
    "if the database was not restored, run `triage outbox reconcile --without-journal send`: it"
    " starts a new sent log and sends what is waiting. If it was restored, run"
    " `triage outbox reconcile --without-journal skip`: it sends nothing that was due until now"
)


@dataclass(slots=True)
class ReconcileReport:
    """What `reconcile` did.

    Attributes:
        marked: waiting digests that the log has as sent, and that are now marked as sent.
        tombstones: sent digests that were missing in the database; an empty one was stored.
        skipped: digests that are not sent, because it is unknown whether they were sent before.
    """

    marked: int = 0
    tombstones: int = 0
    skipped: int = 0


def check_sent_log(database: Database, journal: SentLog, clock: Clock) -> str:
    """Place a hold if the sent log and the database disagree; return why, "" if they agree.

    Reads the log backwards, and stops at a part that has nothing new: what a restored database
    does not have is what was sent last.
    """
    why = _lost(database, journal, clock)
    if not why:
        try:
            n = sum(map(len, _unknown(database, journal.newest_first(), to_the_end=False)))
        except SentLogDamaged as error:
            why = f"{error}; {_CHOICE}"
        else:
            if n:
                why = (
                    f"the sent log has at least {n} digests that the database does not have as"
                    " sent; it was probably restored. Run `triage outbox reconcile`: it marks them"
                    " as sent, and then the other digests are sent"
                )
    if why:
        with database.write() as conn:
            store.sending_holds.place(conn, HOLD, why, clock.now())
    return why


def unrecorded_message_ids(database: Database, journal: SentLog) -> list[str]:
    """Return the Message-IDs that the sent log has and the database does not have as sent."""
    found = _unknown(database, journal.readable(), to_the_end=True)
    return [sent.message_id for part in found for sent in part]


def reconcile(
    database: Database,
    journal: SentLog,
    clock: Clock,
    without: Literal["send", "skip"] | None = None,
) -> ReconcileReport:
    """Mark in the database what the sent log has as sent, and lift the hold.

    Args:
        without: what to do with waiting mail if the log is lost, damaged, or that of another
            database.

    Raises:
        ConfigError: the log is one of these, and `without` is None.
    """
    why = _lost(database, journal, clock) or journal.damage()
    if why and without is None:
        raise ConfigError(why if _CHOICE in why else f"{why}; {_CHOICE}")
    agreed = ReconcileReport()
    for part in _unknown(database, journal.readable(), to_the_end=True):
        with database.write() as conn:
            store.take_turn(conn, store.Turn.SENT_LOG)
            for sent in part:
                message = store.sent_log.find(conn, sent.key)
                if message is None:
                    store.sent_log.leave_tombstone(conn, sent, State.SENT, REPLY)
                    agreed.tombstones += 1
                elif message.state not in _OVER:
                    store.sent_log.mark_sent(conn, message, sent, REPLY)
                    agreed.marked += 1
    now = clock.now()
    if why:
        if without == "skip":
            agreed.skipped = _skip(database, clock)
        generation = secrets.token_hex(16)
        journal.restart(generation, now)
        database.execute(store.sent_log.adopt, _name(database), generation, now)
    complete_sent_log(database, journal, now - KEPT)
    database.execute(store.sending_holds.lift, HOLD)
    return agreed


def complete_sent_log(database: Database, journal: SentLog, since: datetime) -> int:
    """Add to the sent log what only the database has as sent since then; return how many.

    There are such messages only if the log could not be written for a while.
    """
    # A clock may have been set back, so lines may be slightly out of order.
    ids = {sent.message_id for sent in journal.readable() if sent.at >= since - timedelta(days=1)}
    missing = database.fetch(store.sent_log.find_unlogged, ids, since)
    for sent in missing:
        journal.add(sent)
    return len(missing)


def _name(database: Database) -> str:
    """Return the name of the log in the database; with PostgreSQL each machine has its own log."""
    return NAME if database.is_file else f"{NAME} of {socket.gethostname()}"


def _lost(database: Database, journal: SentLog, clock: Clock) -> str:
    """Return what is wrong with the sent log as a whole, or ""; create it for a new database."""
    expected = database.fetch(store.sent_log.generation, _name(database))
    try:
        found = journal.generation()
    except SentLogDamaged as error:
        return f"{error}; {_CHOICE}"
    if expected is None:
        # The file is created first: after a crash in between the next start adopts it.
        found = found or journal.create_if_missing(secrets.token_hex(16), clock.now())
        with database.write() as conn:
            store.sent_log.adopt(conn, _name(database), found, clock.now())
    elif found is None:
        return f"the sent log {journal.path} is missing: put it back; or, {_CHOICE}"
    elif found != expected:
        return f"the sent log {journal.path} belongs to another database; {_CHOICE}"
    return ""


def _unknown(
    database: Database, lines: Iterator[SentEntry], *, to_the_end: bool
) -> Iterator[list[SentEntry]]:
    """Yield, in parts, what the log has as sent and the database could send again."""
    while part := list(islice(lines, CHUNK)):
        states = database.fetch(store.sent_log.states, part)
        found = [sent for sent in part if sent.key in states and states[sent.key] not in _HARMLESS]
        if found:
            yield found
        elif not to_the_end:
            return


def _skip(database: Database, clock: Clock) -> int:
    """Cancel all digests that were due until now, as they may have been sent; return how many."""
    now = clock.now()
    with database.write() as conn:
        waiting = store.messages.in_states(conn, [s for s in State if s not in _OVER])
        for message in waiting:
            if message.state in _IN_HAND:
                end_attempt(conn, message, now, "cancelled", "")
            if message.state is State.IN_DOUBT:
                held = store.messages.move(conn, message, State.HELD, now)
                assert held is not None  # noqa: S101 - nobody else writes now
                message = held
            # It may have arrived, so its papers are not shown again.
            store.messages.move(conn, message, State.CANCELLED, now, reason=UNKNOWN)
        active = store.subscribers.everyone(conn, [SubscriberState.ACTIVE])
        due = 0
        for subscriber in active:
            on = latest_digest_on(now, subscriber.hour, subscriber.zone, subscriber.weekdays)
            if on is not None and store.slates.by_day(conn, subscriber.id, on) is None:
                name = f"skipped.{secrets.token_hex(10)}"
                skipped = SentEntry(now, name, subscriber.public_id, on, store.sent_log.DIGEST)
                store.sent_log.leave_tombstone(conn, skipped, State.SKIPPED, "", UNKNOWN)
                due += 1
    return len(waiting) + due
