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
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import structlog

from triage import store
from triage.journal import Journal
from triage.killpoint import pass_by
from triage.ports import Clock, Mailer
from triage.records import MessageState as State
from triage.records import Sent
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


class Ambiguous(StrEnum):
    """What is done with a message of which nobody knows whether it arrived."""

    RESEND = "resend"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What asking the oracle again came to."""

    sent: int = 0
    waiting: int = 0
    unknown: int = 0


class Doubts:
    """Settles what senders left behind.

    Args:
        owner: names this sender; what it holds when it asks, it has dropped.
        is_gone: tells whether the sender that a lease names is known to have died.
        lease: so long a sender is believed to live after its last sign of life.
        monotonic: a clock in seconds that nobody sets; senders' clocks may differ.
        journal: knows what was sent before the database learned of it.
    """

    def __init__(
        self,
        database: Database,
        mailer: Mailer,
        clock: Clock,
        *,
        owner: str,
        is_gone: Callable[[str], bool],
        ambiguous: Ambiguous,
        lease: timedelta,
        monotonic: Callable[[], float],
        journal: Journal | None = None,
    ) -> None:
        self._database = database
        self._journal = journal
        self._mailer = mailer
        self._clock = clock
        self._owner = owner
        self._is_gone = is_gone
        self._ambiguous = ambiguous
        self._lease = lease
        self._monotonic = monotonic
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
                in_flight = [each for each in in_flight if each.lease_owner != self._owner]
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
                    _found(conn, message, self._clock)
                elif arrived is False:
                    _send_again(conn, message, self._clock, NOT_THERE)
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
        if self._journal is not None and self._journal.holds(message.message_id):
            return True
        arrived = self._mailer.delivered(message.message_id)
        if arrived:
            note(self._journal, message, self._clock)
        return arrived

    def _seconds_held(self, message: StoredMessage) -> float | None:
        """Return for how long nobody else may touch a message; None while its sender lives."""
        owner = message.lease_owner or ""
        if owner in ("", self._owner) or self._is_gone(owner):
            return 0.0
        # Clocks may differ, so what counts is for how long, by ours, it has shown no sign of life.
        now = self._monotonic()
        seen_at = self._first_seen.setdefault(_sign(message), now)
        left_s = max(self._lease.total_seconds() - (now - seen_at), 0.0)
        until, present = message.lease_until or message.created_at, self._clock.now()
        # A lease that lasts longer than any is given was written by a clock that was wrong.
        seems_alive = present < until <= present + 2 * self._lease
        return None if left_s and seems_alive else left_s

    def _take_back(self, message: StoredMessage) -> State | None:
        """Take back a message that was not handed over; who dropped it may have died of it."""
        crashes = message.crashes + (message.lease_owner != self._owner)
        with self._database.write() as conn:
            moved = crashed(conn, message, crashes, "its sender died", self._clock)
        return moved.state if moved else None

    def _decide(self, message: StoredMessage, arrived: bool | None, *, soon: bool) -> State | None:
        again = arrived is False or (soon and self._ambiguous is Ambiguous.RESEND)
        with self._database.write() as conn:
            if arrived:
                moved = _found(conn, message, self._clock)
            elif again and message.resends < MOST_RESENDS:
                why = UNKNOWN if arrived is None else NOT_THERE
                crashes = message.crashes + bool(message.lease_owner)
                moved = _send_again(conn, message, self._clock, why, crashes)
            else:
                moved = _changed(conn, message, State.HELD, self._clock, "held", UNKNOWN)
        if moved and moved.state is State.HELD:
            log.warning("held: `triage outbox resolve` decides", message_id=message.message_id)
        return moved.state if moved else None


def crashed(
    conn: Connection, message: StoredMessage, crashes: int, reply: str, clock: Clock
) -> StoredMessage | None:
    """Let a claimed message wait again, or give it up when it brought down too many senders."""
    if crashes < MOST_CRASHES:
        return _changed(conn, message, State.RENDERED, clock, "crashed", reply, crashes=crashes)
    moved = _changed(
        conn, message, State.FAILED, clock, "crashed", reply, crashes=crashes, reason="poison"
    )
    if moved:
        log.error("given up: senders died of it", message_id=message.message_id, times=crashes)
        if message.slate_id is not None and not message.resends:
            store.slates.release(conn, message.slate_id, clock.now())
    return moved


def note(journal: Journal | None, message: StoredMessage, clock: Clock) -> None:
    """Write down outside of the database that a message was sent.

    Raises:
        DatabaseError: it cannot be written down.
    """
    if journal is not None:
        journal.add(
            Sent(
                clock.now(),
                message.message_id,
                message.subscriber_public_id,
                message.on,
                message.kind,
            )
        )


def end_attempt(
    conn: Connection, message: StoredMessage, outcome: str, reply: str, clock: Clock
) -> None:
    """Write down how the attempt that a message stands in ended."""
    held = message.state is State.HELD
    store.attempts.end(
        conn,
        message.id,
        message.lease_epoch,
        clock.now(),
        phase=State.IN_DOUBT if held else message.state,
        outcome=outcome,
        reply=reply,
    )


def _changed(
    conn: Connection,
    message: StoredMessage,
    state: State,
    clock: Clock,
    outcome: str,
    reply: str,
    **fields: Any,
) -> StoredMessage | None:
    """Move a message on and end its attempt."""
    moved = store.messages.move(conn, message, state, clock.now(), last_reply=reply, **fields)
    if moved:
        end_attempt(conn, message, outcome, reply, clock)
    return moved


def _found(
    conn: Connection, message: StoredMessage, clock: Clock, reply: str = FOUND
) -> StoredMessage | None:
    sent_at = message.doubted_at or clock.now()
    return _changed(conn, message, State.SENT, clock, "sent", reply, sent_at=sent_at)


def _send_again(
    conn: Connection, message: StoredMessage, clock: Clock, why: str, crashes: int = 0
) -> StoredMessage | None:
    again = {"resends": message.resends + 1, "crashes": crashes}
    return _changed(conn, message, State.RENDERED, clock, "resent", why, **again)


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
            if decision is State.SENT:
                note(journal, message, clock)
                _found(conn, message, clock, "an operator says that it arrived")
            elif decision is State.RENDERED:
                _send_again(conn, message, clock, "an operator says that it did not arrive")
            else:
                # Its papers are not shown again, for it may have arrived.
                why = "an operator says that it need not go"
                _changed(conn, message, decision, clock, "cancelled", why, reason="operator")
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
