"""Recovers messages whose sender died, and messages whose delivery is uncertain.

claimed   → rendered  or failed, after three senders died while they sent it
in_doubt  → sent      the oracle reports that it arrived
          → rendered  it did not arrive; or it is unknown, and the message is sent again soon
          → held      it is unknown, and an operator decides

The oracle is the sent log, and then the transport (`Mailer.delivered`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from triage import store
from triage.delivery.sender_context import SenderContext
from triage.delivery.sent_log import SentLog
from triage.domain.crash_points import crash_point
from triage.domain.protocols import Clock
from triage.domain.records import MessageState as State
from triage.domain.records import SubscriberState
from triage.domain.sent_entry import SentEntry
from triage.store import Connection, Database
from triage.store.messages import StoredMessage

log = structlog.get_logger()

# After so many crashes of its sender a message fails; after so many resends it is held.
MOST_CRASHES = 3
MOST_RESENDS = 3
# Exchange drops a second copy that comes within an hour. Its queues need part of that hour.
RESEND_WITHIN = timedelta(minutes=10)
# Receivers write their log shortly after they answer, so the oracle is not final before.
LOG_IS_WRITTEN = timedelta(seconds=5)

REFUSALS = "refusals"
"""The hold that is in place after a drain in which many messages were refused."""

FOUND = "found at the receiver"
NOT_THERE = "the receiver does not have it: sent again"
UNKNOWN = "it is unknown whether it arrived"

Report = Callable[[State], None]


@dataclass(frozen=True, slots=True)
class OracleReport:
    """How many held messages the oracle decided, and how many it did not."""

    sent: int = 0
    waiting: int = 0
    unknown: int = 0


class Recovery:
    """Settles messages that a sender has claimed or put in doubt, and then left."""

    def __init__(self, context: SenderContext) -> None:
        self._context = context
        self._database = context.database
        self._clock = context.clock
        self._lease = context.lease
        self._first_seen: dict[tuple[object, ...], float] = {}
        self._one_at_a_time = threading.Lock()

    def settle_stale(self, report: Report, *, while_sending: bool = False) -> float | None:
        """Settle what can be settled now.

        Args:
            report: is called with the end state of each message.
            while_sending: this sender is working on its own messages: leave them alone. Without
                this flag they count as left behind.

        Returns:
            After how many seconds to settle again; None if there is nothing to wait for.
        """
        with self._one_at_a_time:
            in_flight = self._database.fetch(store.messages.in_flight)
            if while_sending:
                in_flight = [each for each in in_flight if each.lease_owner != self._context.owner]
            waits = [self._settle_one(message, report) for message in in_flight]
            leases = {_lease_key(message) for message in in_flight}
            self._first_seen = {k: at for k, at in self._first_seen.items() if k in leases}
            return min((wait for wait in waits if wait is not None), default=None)

    def ask_oracle_about_held(self) -> OracleReport:
        """Ask the oracle about all held messages, however old they are."""
        held = self._database.fetch(store.messages.in_states, [State.HELD])
        counts: dict[bool | None, int] = {True: 0, False: 0, None: 0}
        for message in held:
            arrived = self._arrived(message)
            with self._database.write() as conn:
                if arrived:
                    _found(conn, message, self._clock.now())
                elif arrived is False:
                    _send_again(conn, message, self._clock.now(), NOT_THERE)
            counts[arrived] += 1
        return OracleReport(counts[True], counts[False], counts[None])

    def _settle_one(self, message: StoredMessage, report: Report) -> float | None:
        wait = self._seconds_leased(message)
        if wait is None or wait > 0:
            return wait
        if message.state is State.CLAIMED:
            state = self._take_back(message)
        else:
            arrived = self._arrived(message)
            # Older versions of this program did not store `doubted_at`.
            age = self._clock.now() - (message.doubted_at or message.created_at)
            if not arrived and timedelta(0) <= age < LOG_IS_WRITTEN:
                # Without an owner its sender is alive and left it in doubt: the next drain asks.
                return (LOG_IS_WRITTEN - age).total_seconds() if message.lease_owner else None
            # Of one that is in doubt since later than now, nobody knows for how long it is.
            state = self._decide(message, arrived, soon=abs(age) <= RESEND_WITHIN)
        crash_point("resumed")
        if state is State.RENDERED:
            return 0.0
        if state is not None:
            report(state)
        return None

    def _arrived(self, message: StoredMessage) -> bool | None:
        """Return whether a message arrived; add what the transport reports to the sent log."""
        journal = self._context.journal
        if journal is not None and journal.has(message.message_id):
            return True
        arrived = self._context.mailer.delivered(message.message_id)
        if arrived:
            add_to_sent_log(journal, message, self._clock.now())
        return arrived

    def _seconds_leased(self, message: StoredMessage) -> float | None:
        """Return how long the lease of a message lasts; None while its sender seems alive."""
        owner = message.lease_owner or ""
        if owner in ("", self._context.owner) or self._context.is_gone(owner):
            return 0.0
        # Clocks of senders may differ, so our own clock measures how long a lease is not renewed.
        now = self._context.seconds()
        seen_at = self._first_seen.setdefault(_lease_key(message), now)
        left_s = max(self._lease.total_seconds() - (now - seen_at), 0.0)
        until, present = message.lease_until or message.created_at, self._clock.now()
        # A lease that ends later than any lease can comes from a clock that was wrong.
        seems_alive = present < until <= present + 2 * self._lease
        return None if left_s and seems_alive else left_s

    def _take_back(self, message: StoredMessage) -> State | None:
        """Let a claimed message wait again; the message may be why its sender died."""
        crashes = message.crashes + (message.lease_owner != self._context.owner)
        with self._database.write() as conn:
            return end_crashed_attempt(conn, message, crashes, "its sender died", self._clock.now())

    def _decide(self, message: StoredMessage, arrived: bool | None, *, soon: bool) -> State | None:
        again = arrived is False or (soon and self._context.ambiguous == "resend")
        with self._database.write() as conn:
            now = self._clock.now()
            if arrived:
                state = _found(conn, message, now)
            elif again and message.resends < MOST_RESENDS:
                why = UNKNOWN if arrived is None else NOT_THERE
                crashes = message.crashes + bool(message.lease_owner)
                state = _send_again(conn, message, now, why, crashes)
            else:
                why = f"{UNKNOWN}: {message.last_reply}" if message.last_reply else UNKNOWN
                state = end_attempt_in_state(conn, message, State.HELD, now, "held", why)
        if state is State.HELD:
            log.warning("held: `triage outbox resolve` decides", message_id=message.message_id)
        return state


# -- steps of a message ----------------------------------------------------------------------------


def end_attempt_in_state(
    conn: Connection,
    message: StoredMessage,
    state: State,
    at: datetime,
    outcome: str,
    reply: str,
    **fields: Any,
) -> State | None:
    """Move a message to a state and end its attempt; None if another sender has it now."""
    if store.messages.move(conn, message, state, at, last_reply=reply, **fields) is None:
        return None
    end_attempt(conn, message, at, outcome, reply)
    return state


def end_crashed_attempt(
    conn: Connection, message: StoredMessage, crashes: int, reply: str, at: datetime
) -> State | None:
    """Let a claimed message wait again; fail it if its sender crashed too often.

    If no other message was sent meanwhile, it is not this one that is to blame.
    """
    if crashes >= MOST_CRASHES and not store.messages.has_sent_another(conn, message):
        crashes = MOST_CRASHES - 1
    if crashes < MOST_CRASHES:
        return end_attempt_in_state(
            conn, message, State.RENDERED, at, "crashed", reply, crashes=crashes
        )
    last = {"crashes": crashes, "reason": "poison"}
    state = end_attempt_in_state(conn, message, State.FAILED, at, "crashed", reply, **last)
    if state:
        log.error("failed: its sender crashed", message_id=message.message_id, times=crashes)
        release_papers(conn, message, at)
    return state


def release_papers(conn: Connection, message: StoredMessage, at: datetime) -> None:
    """Let the papers of a message that is not sent be shown again."""
    # A message that was in doubt may have arrived: its papers are not shown again.
    if message.slate_id is not None and not message.resends:
        store.slates.release(conn, message.slate_id, at)


def add_to_sent_log(journal: SentLog | None, message: StoredMessage, at: datetime) -> None:
    """Add a sent message to the sent log; do nothing if there is none.

    Raises:
        DatabaseError: the log cannot be written.
    """
    if journal is not None:
        subscriber = message.subscriber_public_id
        journal.add(SentEntry(at, message.message_id, subscriber, message.on, message.kind))


def end_attempt(
    conn: Connection, message: StoredMessage, at: datetime, outcome: str, reply: str
) -> None:
    """Store how the current attempt of a message ended."""
    phase = State.IN_DOUBT if message.state is State.HELD else message.state
    epoch = message.lease_epoch
    store.attempts.end(conn, message.id, epoch, at, phase=phase, outcome=outcome, reply=reply)


def _found(
    conn: Connection, message: StoredMessage, at: datetime, reply: str = FOUND
) -> State | None:
    sent_at = message.doubted_at or at
    return end_attempt_in_state(conn, message, State.SENT, at, "sent", reply, sent_at=sent_at)


def _send_again(
    conn: Connection, message: StoredMessage, at: datetime, why: str, crashes: int = 0
) -> State | None:
    again = {"resends": message.resends + 1, "crashes": crashes}
    return end_attempt_in_state(conn, message, State.RENDERED, at, "resent", why, **again)


# -- what an operator decides ----------------------------------------------------------------------


def resolve(
    database: Database,
    clock: Clock,
    decision: State,
    message_ids: Collection[str] = (),
    journal: SentLog | None = None,
) -> int:
    """Settle held messages as an operator decided; return how many.

    Args:
        decision: `sent`, `rendered` to send it again, or `cancelled`.
        message_ids: which messages; empty for all.
    """
    with database.write() as conn:
        held = store.messages.in_states(conn, [State.HELD], message_ids)
        for message in held:
            now = clock.now()
            if decision is State.SENT:
                add_to_sent_log(journal, message, now)
                _found(conn, message, now, "an operator says that it arrived")
            elif decision is State.RENDERED:
                _send_again(conn, message, now, "an operator says that it did not arrive")
            else:
                # It may have arrived, so its papers are not shown again.
                why = "an operator says that it is not needed"
                end_attempt_in_state(
                    conn, message, decision, now, "cancelled", why, reason="operator"
                )
    return len(held)


def retry(database: Database, clock: Clock, message_ids: Collection[str] = ()) -> int:
    """Let deferred messages go with the next drain, all if none is named; return how many."""
    with database.write() as conn:
        deferred = store.messages.in_states(conn, [State.DEFERRED], message_ids)
        for message in deferred:
            store.messages.amend(conn, message, clock.now(), not_before=None)
    return len(deferred)


def resume(database: Database, clock: Clock) -> bool:
    """Lift the hold after many refusals, and send on whatever is refused; return if there was one.

    Until the send window ends, refusals cause no other hold.
    """
    with database.write() as conn:
        store.take_turn(conn, store.Turn.REFUSALS)
        if not store.sending_holds.lift(conn, REFUSALS):
            return False
        store.jobs.note_done(conn, REFUSALS, clock.now(), "resumed")
    retry(database, clock)
    return True


def lift_refused_since(
    database: Database,
    clock: Clock,
    since: datetime,
    address_hash: Callable[[str], str],
    *,
    dry_run: bool = False,
) -> tuple[int, int]:
    """Undo what refusals did since then.

    Addresses that were blocked because mail was refused are unblocked, and no refusal of that time
    counts against anybody, suppressed or not: it becomes `policy`. Addresses that an operator or a
    complaint blocked stay so.

    Args:
        dry_run: only count.

    Returns:
        How many addresses were unblocked, and how many refusals no longer count.
    """
    from triage.delivery.bounces.classify import Kind
    from triage.delivery.bounces.intake import POINTS

    with database.write() as conn:
        hashes = store.suppressions.refused_since(conn, since)
        if dry_run:
            return len(hashes), store.bounces.count_since(conn, list(POINTS), since)
        for subscriber in store.subscribers.contacts(conn, state=SubscriberState.SUPPRESSED):
            if address_hash(subscriber.email) in hashes:
                store.subscribers.lift(conn, subscriber.id, clock.now())
        for each in hashes:
            store.suppressions.remove(conn, each)
        return len(hashes), store.bounces.forgive(conn, list(POINTS), since, Kind.POLICY)


def _lease_key(message: StoredMessage) -> tuple[object, ...]:
    """Return what changes whenever a lease is renewed or taken over."""
    return (message.id, message.lease_epoch, message.lease_until)
