"""Compares the sent journal with the database, and mends what a restored database has forgotten.

A database that was restored knows as waiting, or does not know at all, what was sent after it was
copied. The journal knows. Where the two disagree nothing is sent until `reconcile` has told the
database; where the journal itself is lost, nothing is until a person has said what to believe.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

from triage import store
from triage.doubts import end_attempt
from triage.due import latest_digest_on
from triage.errors import ConfigError
from triage.journal import NAME, Journal, JournalDamaged
from triage.ports import Clock
from triage.records import MessageState as State
from triage.records import Sent, SubscriberState
from triage.store import Database

HOLD = "sent journal"
# Longer than back-ups are worth restoring.
KEPT = timedelta(days=90)
CHUNK = 500
SAID = "the sent journal says that it was sent"
UNKNOWN = "journal_lost"

_OVER = frozenset({State.SENT, State.FAILED, State.CANCELLED, State.SKIPPED})
# What is in doubt is settled by asking the journal first, so it needs no person.
_HARMLESS = _OVER | {State.IN_DOUBT}
_IN_HAND = {State.CLAIMED, State.IN_DOUBT, State.HELD}
_CHOICE = (
    "if the database is the newest there was, `triage outbox reconcile --without-journal send`"
    " begins a new journal and sends what waits; if it was restored,"
    " `triage outbox reconcile --without-journal skip` sends nothing that was due until now"
)


class WithoutJournal(StrEnum):
    """What is believed where the journal cannot be asked."""

    SEND = "send"
    SKIP = "skip"


@dataclass(slots=True)
class Agreed:
    """What `reconcile` did.

    Attributes:
        marked: digests that waited and had been sent.
        tombstones: digests that the database did not know.
        skipped: digests that go to nobody, for nobody knows whether they were sent.
    """

    marked: int = 0
    tombstones: int = 0
    skipped: int = 0


def disagreement(database: Database, journal: Journal, clock: Clock) -> str:
    """Return why nothing may be sent, and pause sending; "" where journal and database agree.

    Reads the journal from its end to where it says nothing new, for what a restored database does
    not know is what was sent last.
    """
    why = _lost(database, journal, clock)
    if not why:
        try:
            n = sum(map(len, _unknown(database, journal.newest_first(), to_the_end=False)))
        except JournalDamaged as error:
            why = f"{error}; {_CHOICE}"
        else:
            if n:
                why = (
                    f"the sent journal has {n} digests or more as sent that the database has not,"
                    " as if it had been restored: `triage outbox reconcile` marks them, and then"
                    " what is left is sent"
                )
    if why:
        with database.write() as conn:
            store.holds.place(conn, HOLD, why, clock.now())
    return why


def unknown(database: Database, journal: Journal) -> list[str]:
    """Return the Message-IDs of all that the journal has and the database does not have as sent."""
    found = _unknown(database, journal.readable(), to_the_end=True)
    return [sent.message_id for part in found for sent in part]


def reconcile(
    database: Database,
    journal: Journal,
    clock: Clock,
    without: WithoutJournal | None = None,
) -> Agreed:
    """Let the database know of all that was sent, and let sending go on.

    Args:
        without: what is believed if the journal is lost, another one, or damaged.

    Raises:
        ConfigError: the journal is one of these, and nothing was said.
    """
    why = _lost(database, journal, clock) or journal.damage()
    if why and without is None:
        raise ConfigError(why if _CHOICE in why else f"{why}; {_CHOICE}")
    agreed = Agreed()
    for part in _unknown(database, journal.readable(), to_the_end=True):
        _mend(database, part, agreed)
    now = clock.now()
    if why:
        if without is WithoutJournal.SKIP:
            agreed.skipped = _skip(database, clock)
        generation = secrets.token_hex(16)
        journal.restart(generation, now)
        with database.write() as conn:
            store.journals.adopt(conn, _name(database), generation, now)
    complete(database, journal, now - KEPT)
    with database.write() as conn:
        store.holds.lift(conn, HOLD)
    return agreed


def complete(database: Database, journal: Journal, since: datetime) -> int:
    """Write into the journal what only the database has as sent since then; return how many.

    There is something only if the journal could not be written for a while.
    """
    # Clocks are set: a line may be out of order by a little.
    ids = {sent.message_id for sent in journal.readable() if sent.at >= since - timedelta(days=1)}
    with database.read() as conn:
        missing = store.journals.unjournalled(conn, ids, since)
    for sent in missing:
        journal.add(sent)
    return len(missing)


def _name(database: Database) -> str:
    """Return the name of the journal in the database: beside a server each sender has its own."""
    return NAME if database.is_file else f"{NAME} of {socket.gethostname()}"


def _lost(database: Database, journal: Journal, clock: Clock) -> str:
    """Return what is wrong with the journal as a whole; begin it where there never was one."""
    with database.read() as conn:
        wanted = store.journals.generation(conn, _name(database))
    try:
        found = journal.generation()
    except JournalDamaged as error:
        return f"{error}; {_CHOICE}"
    if wanted is None:
        # The file comes first, so after a crash in between the next start finds it and takes it.
        found = found or journal.begin(secrets.token_hex(16), clock.now())
        with database.write() as conn:
            store.journals.adopt(conn, _name(database), found, clock.now())
    elif found is None:
        return f"the sent journal {journal.path} is gone: put it back; or, {_CHOICE}"
    elif found != wanted:
        return f"the sent journal {journal.path} is that of another database; {_CHOICE}"
    return ""


def _unknown(
    database: Database, lines: Iterator[Sent], *, to_the_end: bool
) -> Iterator[list[Sent]]:
    """Yield, in parts, what the journal has as sent and the database could send again."""
    while part := list(islice(lines, CHUNK)):
        with database.read() as conn:
            states = store.journals.states(conn, part)
        found = [sent for sent in part if sent.key in states and states[sent.key] not in _HARMLESS]
        if found:
            yield found
        elif not to_the_end:
            return


def _mend(database: Database, part: list[Sent], agreed: Agreed) -> None:
    with database.write() as conn:
        for sent in part:
            message = store.journals.find(conn, sent.key)
            if message is None:
                store.journals.leave_tombstone(conn, sent, State.SENT, SAID)
                agreed.tombstones += 1
            elif message.state not in _OVER:
                store.journals.mark_sent(conn, message, sent, SAID)
                agreed.marked += 1


def _skip(database: Database, clock: Clock) -> int:
    """Let nothing go that was due until now, for all of it may have been sent; say how many."""
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
            # Its papers are not shown again, for it may have arrived.
            store.messages.move(conn, message, State.CANCELLED, now, reason=UNKNOWN)
        active = store.subscribers.everyone(conn, [SubscriberState.ACTIVE])
        due = 0
        for reader in active:
            on = latest_digest_on(now, reader.hour, reader.zone, reader.weekdays)
            if on is not None and store.slates.by_day(conn, reader.id, on) is None:
                name = f"skipped.{secrets.token_hex(10)}"
                gone = Sent(now, name, reader.public_id, on, store.journals.DIGEST)
                store.journals.leave_tombstone(conn, gone, State.SKIPPED, "", UNKNOWN)
                due += 1
    return len(waiting) + due
