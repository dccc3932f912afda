"""What becomes of messages whose sender died, or of which only the receiver knows.

claimed   → rendered, or failed when three senders died over it
in_doubt  → sent      the oracle says that it arrived
          → rendered  the oracle says that it did not; or nobody knows, and it is sent again soon
          → held      nobody knows, and an operator decides
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from triage import store
from triage.journal import Journal
from triage.killpoint import pass_by
from triage.ports import Clock
from triage.records import MessageState as State
from triage.records import Sent
from triage.sender_context import Ambiguous, SenderContext
from triage.store import Database
from triage.store.messages import StoredMessage

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = structlog.get_logger()

# A message that killed so many senders is left alone, and so is one that was in doubt so often.
MOST_CRASHES = 3
MOST_RESENDS = 3
# Exchange drops a second copy that comes within an hour; this leaves room for its queues.
RESEND_WITHIN = timedelta(minutes=10)
# Receivers write their log a moment after they have answered, or would have.
LOG_IS_WRITTEN = timedelta(seconds=5)

FOUND = "found at the receiver"
NOT_THERE = "the receiver does not have it: sent again"
UNKNOWN = "nobody knows whether it arrived"

Tell = Callable[[State], None]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What asking the oracle again came to."""

    sent: int = 0
    waiting: int = 0
    unknown: int = 0


class Doubts:
    """Settles what senders left behind; what its own sender holds when it asks, it has dropped."""

    def __init__(self, context: SenderContext) -> None:
        self._context = context
        self._database = context.database
        self._clock = context.clock
        self._lease = context.rules.lease
        self._first_seen: dict[tuple[object, ...], float] = {}
        self._one_at_a_time = threading.Lock()

    def settle(self, tell: Tell, *, while_sending: bool = False) -> float | None:
        """Settle what can be; return after how many seconds there is more to do, None if never.

        Args:
            while_sending: what this sender holds it has in hand, and has not dropped.
        """
        with self._one_at_a_time:
            with self._database.read() as conn:
                in_flight = store.messages.in_flight(conn)
            if while_sending:
                in_flight = [each for each in in_flight if each.lease_owner != self._context.owner]
            waits = [self._settle_one(message, tell) for message in in_flight]
            signs = {_sign(message) for message in in_flight}
            self._first_seen = {k: at for k, at in self._first_seen.items() if k in signs}
            return min((wait for wait in waits if wait is not None), default=None)

    def reconcile(self) -> Reconciled:
        """Ask the oracle about all that is held, however long ago that was."""
        with self._database.read() as conn:
            held = store.messages.in_states(conn, [State.HELD])
        counts: dict[bool | None, int] = {True: 0, False: 0, None: 0}
        for message in held:
            arrived = self._arrived(message)
            with self._database.write() as conn:
                if arrived:
                    _found(conn, message, self._clock.now())
                elif arrived is False:
                    _send_again(conn, message, self._clock.now(), NOT_THERE)
            counts[arrived] += 1
        return Reconciled(counts[True], counts[False], counts[None])

    def _settle_one(self, message: StoredMessage, tell: Tell) -> float | None:
        wait = self._seconds_held(message)
        if wait is None or wait > 0:
            return wait
        if message.state is State.CLAIMED:
            tell_state = self._take_back(message)
        else:
            arrived = self._arrived(message)
            # An older program did not say since when.
            age = self._clock.now() - (message.doubted_at or message.created_at)
            if not arrived and timedelta(0) <= age < LOG_IS_WRITTEN:
                # Who lives and knows that it does not know need not be waited for.
                return (LOG_IS_WRITTEN - age).total_seconds() if message.lease_owner else None
            tell_state = self._decide(message, arrived, soon=age <= RESEND_WITHIN)
        if tell_state is not None and tell_state is not State.RENDERED:
            tell(tell_state)
        pass_by("resumed")
        # What waits to be sent again is there to be handed over, now.
        return 0.0 if tell_state is State.RENDERED else None

    def _arrived(self, message: StoredMessage) -> bool | None:
        """Tell whether a message arrived; what the transport says is written into the journal."""
        journal = self._context.journal
        if journal is not None and journal.holds(message.message_id):
            return True
        arrived = self._context.mailer.delivered(message.message_id)
        if arrived:
            note(journal, message, self._clock.now())
        return arrived

    def _seconds_held(self, message: StoredMessage) -> float | None:
        """Return for how long nobody else may touch a message; None while its sender lives."""
        owner = message.lease_owner or ""
        if owner in ("", self._context.owner) or self._context.is_gone(owner):
            return 0.0
        # Clocks may differ, so what counts is for how long, by ours, it has shown no sign of life.
        now = self._context.seconds()
        seen_at = self._first_seen.setdefault(_sign(message), now)
        left_s = max(self._lease.total_seconds() - (now - seen_at), 0.0)
        until, present = message.lease_until or message.created_at, self._clock.now()
        # A lease that lasts longer than any is given was written by a clock that was wrong.
        seems_alive = present < until <= present + 2 * self._lease
        return None if left_s and seems_alive else left_s

    def _take_back(self, message: StoredMessage) -> State | None:
        """Take back a message that was not handed over; who dropped it may have died of it."""
        crashes = message.crashes + (message.lease_owner != self._context.owner)
        with self._database.write() as conn:
            return crashed(conn, message, crashes, "its sender died", self._clock.now())

    def _decide(self, message: StoredMessage, arrived: bool | None, *, soon: bool) -> State | None:
        ambiguous = self._context.rules.ambiguous
        again = arrived is False or (soon and ambiguous is Ambiguous.RESEND)
        with self._database.write() as conn:
            now = self._clock.now()
            if arrived:
                state = _found(conn, message, now)
            elif again and message.resends < MOST_RESENDS:
                why = UNKNOWN if arrived is None else NOT_THERE
                crashes = message.crashes + bool(message.lease_owner)
                state = _send_again(conn, message, now, why, crashes)
            else:
                state = changed(conn, message, State.HELD, now, "held", UNKNOWN)
        if state is State.HELD:
            log.warning("held: `triage outbox resolve` decides", message_id=message.message_id)
        return state


# -- steps of a message ----------------------------------------------------------------------------


def changed(
    conn: Connection,
    message: StoredMessage,
    state: State,
    at: datetime,
    outcome: str,
    reply: str,
    **fields: Any,
) -> State | None:
    """Move a message on and end its attempt; None if it is no longer ours."""
    if store.messages.move(conn, message, state, at, last_reply=reply, **fields) is None:
        return None
    end_attempt(conn, message, at, outcome, reply)
    return state


def crashed(
    conn: Connection, message: StoredMessage, crashes: int, reply: str, at: datetime
) -> State | None:
    """Let a claimed message wait again, or give it up when it brought down too many senders."""
    if crashes < MOST_CRASHES:
        return changed(conn, message, State.RENDERED, at, "crashed", reply, crashes=crashes)
    last = {"crashes": crashes, "reason": "poison"}
    state = changed(conn, message, State.FAILED, at, "crashed", reply, **last)
    if state:
        log.error("given up: senders died of it", message_id=message.message_id, times=crashes)
        release_papers(conn, message, at)
    return state


def release_papers(conn: Connection, message: StoredMessage, at: datetime) -> None:
    """Let the papers of a message that goes to nobody be shown again."""
    # One that was in doubt once may have arrived: its papers are not shown a second time.
    if message.slate_id is not None and not message.resends:
        store.slates.release(conn, message.slate_id, at)


def note(journal: Journal | None, message: StoredMessage, at: datetime) -> None:
    """Write down outside of the database that a message was sent.

    Raises:
        DatabaseError: it cannot be written down.
    """
    if journal is not None:
        subscriber = message.subscriber_public_id
        journal.add(Sent(at, message.message_id, subscriber, message.on, message.kind))


def end_attempt(
    conn: Connection, message: StoredMessage, at: datetime, outcome: str, reply: str
) -> None:
    """Write down how the attempt that a message stands in ended."""
    phase = State.IN_DOUBT if message.state is State.HELD else message.state
    epoch = message.lease_epoch
    store.attempts.end(conn, message.id, epoch, at, phase=phase, outcome=outcome, reply=reply)


def _found(
    conn: Connection, message: StoredMessage, at: datetime, reply: str = FOUND
) -> State | None:
    sent_at = message.doubted_at or at
    return changed(conn, message, State.SENT, at, "sent", reply, sent_at=sent_at)


def _send_again(
    conn: Connection, message: StoredMessage, at: datetime, why: str, crashes: int = 0
) -> State | None:
    again = {"resends": message.resends + 1, "crashes": crashes}
    return changed(conn, message, State.RENDERED, at, "resent", why, **again)


# -- what an operator decides ----------------------------------------------------------------------


def resolve(
    database: Database,
    clock: Clock,
    decision: State,
    message_ids: Collection[str] = (),
    journal: Journal | None = None,
) -> int:
    """Settle held messages as an operator says; all of them if none is named; return how many.

    Args:
        decision: `sent`, `rendered` to send it again, or `cancelled`.
    """
    with database.write() as conn:
        held = store.messages.in_states(conn, [State.HELD], message_ids)
        for message in held:
            now = clock.now()
            if decision is State.SENT:
                note(journal, message, now)
                _found(conn, message, now, "an operator says that it arrived")
            elif decision is State.RENDERED:
                _send_again(conn, message, now, "an operator says that it did not arrive")
            else:
                # Its papers are not shown again, for it may have arrived.
                why = "an operator says that it need not go"
                changed(conn, message, decision, now, "cancelled", why, reason="operator")
    return len(held)


def retry(database: Database, clock: Clock, message_ids: Collection[str] = ()) -> int:
    """Let messages that were put off go with the next drain; all of them if none is named."""
    with database.write() as conn:
        put_off = store.messages.in_states(conn, [State.DEFERRED], message_ids)
        for message in put_off:
            store.messages.amend(conn, message, clock.now(), not_before=None)
    return len(put_off)


def _sign(message: StoredMessage) -> tuple[object, ...]:
    return (message.id, message.lease_epoch, message.lease_until)
