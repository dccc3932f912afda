"""Sends one message and stores the outcome, whatever happens during sending.

    rendered ─→ claimed ─→ in_doubt ─→ sent
       ↑  │        │ │         ├─────→ held     (unknown whether it arrived: `doubts`)
       │  │        │ │         ↓
       │  │        │ └────→ deferred ─→ …       (not now: the same bytes later)
       │  │        └→ deferred ─→ failed        (never: its papers may be shown again)
       │  └→ cancelled                          (left, paused, erased: papers may be shown again)
       └── the sender died, and the transport reported that the message did not arrive

A message is `in_doubt` from just before the step that makes the receiver take it until the answer
is stored. So a crash in between is seen, and is counted neither as sent nor as not sent. The
statement that claims a message checks that the subscriber still wants it; so does the statement
that puts it in doubt.

A message that is refused for good is deferred, and fails at the end of the drain. If too many are
refused, the fault is hardly theirs: then all of them keep waiting until an operator decides.
"""

from __future__ import annotations

import threading
import zlib
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import structlog

from triage import store
from triage.delivery import rate_limits, recovery
from triage.delivery.drain_progress import Drain, Halted, Later
from triage.delivery.refusals import classify, enhanced_code
from triage.delivery.sender_context import SenderContext
from triage.domain.crash_points import crash_point
from triage.domain.mail_addresses import to_ascii
from triage.domain.records import MessageState as State
from triage.domain.records import OutgoingMessage
from triage.errors import (
    DatabaseError,
    MailDeferred,
    MailerBroken,
    MailError,
    MailRefused,
    MailUncertain,
)
from triage.store import Connection, SharedWrites
from triage.store.messages import StoredMessage

log = structlog.get_logger()

SEND_WINDOW = timedelta(hours=12)
# The clock that says that a message is too late may be ahead. It is believed after so long.
LATE_FOR = timedelta(hours=1)
BACK_OFF = tuple(timedelta(minutes=m) for m in (1, 5, 15, 30, 60, 120))


class _Stopped(Exception):
    """The message may not be sent, which was found just before the last step."""

    def __init__(self, state: State | None) -> None:
        super().__init__()
        self.state = state


class MessageSender:
    """Sends messages. Several threads may use it at once."""

    def __init__(self, context: SenderContext) -> None:
        self._context = context
        self._writes = SharedWrites(context.database)
        self._clock = context.clock
        self._guard = threading.Lock()
        self._in_hand: set[int] = set()

    def send(self, message: StoredMessage, drain: Drain) -> State | Later | Halted | None:
        """Send one message; return its end state, or None if it has none yet.

        Raises:
            MailerBroken: no message can be sent now; this one waits, and no attempt is counted.
            DatabaseError: the outcome cannot be stored; the lease protects the message meanwhile.
        """
        claimed = self._writes(lambda conn: self._claim(conn, message))
        if not isinstance(claimed, tuple):
            return claimed
        with self._guard:
            self._in_hand.add(message.id)
        try:
            return self._send(*claimed, drain)
        finally:
            with self._guard:
                self._in_hand.discard(message.id)

    def renew(self) -> None:
        """Renew the leases of all messages that are being sent."""
        with self._guard:
            in_hand = sorted(self._in_hand)
        if in_hand:
            owner, until = self._context.owner, self._clock.now() + self._context.lease
            self._writes(lambda conn: store.messages.renew(conn, owner, in_hand, until))

    def _send(self, claimed: StoredMessage, mime: bytes, drain: Drain) -> State | Halted | None:
        crash_point("claimed")
        current = claimed

        def about_to_end() -> None:
            nonlocal current
            started = self._context.seconds()
            doubted = self._writes(lambda conn: self._doubt(conn, claimed))
            if not isinstance(doubted, StoredMessage):
                raise _Stopped(doubted)
            current = doubted
            if not self._still_holds(doubted, started):
                raise _Stopped(None)
            crash_point("in_doubt")

        try:
            sender = self._context.envelope_sender(claimed.message_id)
            recipient = to_ascii(claimed.recipient)
            outgoing = OutgoingMessage(claimed.message_id, recipient, mime, sender)
            reply = self._context.mailer.send(outgoing, about_to_end)
        except _Stopped as stop:
            # If the lease ran out, nothing was handed over, and another sender may send it.
            return self._let_go(current, stop.state)
        except MailDeferred as error:
            why = str(error)
            if error.is_about_us:
                self._give_back(current, error)
                return Halted(why, is_about_us=True)
            if not error.is_offered and drain.may_return(why):
                return Halted(why, returned=self._give_back(current, error))
            state = self._defer(current, error)
            return state if error.is_offered else Halted(why, state)
        except MailRefused as error:
            self._refuse(current, error, drain)
            return None
        except MailUncertain as error:
            self._leave_in_doubt(current, str(error))
            return None
        except MailerBroken as error:
            self._give_back(current, error)
            raise
        except DatabaseError:
            raise
        except Exception as error:
            log.exception("not sent", message_id=claimed.message_id)
            with drain.guard:
                drain.n_crashed += 1
            return self._handle_crash(current, f"{type(error).__name__} while it was sent")
        except BaseException:
            if current is claimed:
                self._let_go(claimed, None)
            raise
        crash_point("handed_over")
        with drain.guard:
            drain.n_sent += 1
            drain.refusals.add(is_refused=False)
        try:
            recovery.add_to_sent_log(self._context.journal, claimed, self._clock.now())
            crash_point("journalled")
        finally:
            # If the sent log fails, the database still has it; then nothing more is sent.
            state = self._end(current, State.SENT, "sent", reply, sent_at=self._clock.now())
        crash_point("settled")
        return state

    def _claim(
        self, conn: Connection, message: StoredMessage
    ) -> tuple[StoredMessage, bytes] | State | Later | None:
        """Claim a message if the rate limits allow it, it is wanted, and it has not expired."""
        crash_point("claiming")
        now = self._clock.now()
        is_late = now - message.created_at >= SEND_WINDOW and not message.resends
        if is_late:
            # A subscriber is locked before their messages, and this one may count against them.
            store.subscribers.lock(conn, [message.subscriber_id])
        if not store.messages.lock(conn, message):
            return None
        rates = self._rates(conn, message, now)
        buckets = store.send_rates.lock(conn, rates) if rates else {}
        tokens = {
            name: rate_limits.tokens_now(
                buckets[name],
                rate,
                now,
                rate_limits.RAMP_UP_BURST_S if name == rate_limits.RAMP_UP else rate_limits.BURST_S,
            )
            for name, rate in rates.items()
        }
        for name, n_tokens in tokens.items():
            if n_tokens < rate_limits.WHOLE:
                store.send_rates.save(conn, name, n_tokens, now)
                return Later(name, rate_limits.next_token_at(n_tokens, rates[name], now))
        if is_late:
            cancelled = self._cancel_unwanted(conn, message, now)
            if cancelled or message.updated_at - message.created_at >= SEND_WINDOW:
                return cancelled or self._expire(conn, message, now)
            # If the clock is set back, `waiting` takes this for a wrong clock's: it goes at once.
            store.messages.amend(conn, message, now, not_before=now + LATE_FOR)
            return None
        claimed = store.messages.move(
            conn,
            message,
            State.CLAIMED,
            now,
            wanted_at=self._context.address_hash(message.recipient),
            attempts=message.attempts + 1,
            lease_owner=self._context.owner,
            lease_epoch=message.lease_epoch + 1,
            lease_until=now + self._context.lease,
        )
        if claimed is None:
            return self._cancel_unwanted(conn, message, now)
        for name, n_tokens in tokens.items():
            store.send_rates.save(conn, name, max(n_tokens - 1.0, 0.0), now)
        store.attempts.begin(conn, claimed.id, claimed.lease_epoch, now)
        return claimed, store.messages.mime(conn, claimed.id)

    def _expire(self, conn: Connection, message: StoredMessage, now: datetime) -> State | None:
        state = _end_unsent(conn, message, State.FAILED, "expired", now)
        reply = message.last_reply
        if state and classify("report", 0, enhanced_code(reply), reply).is_unreachable:
            refusal = MailRefused(reply, reason="expired", is_unreachable=True)
            self._count_against(conn, message, refusal, now)
        return state

    def _rates(self, conn: Connection, message: StoredMessage, now: datetime) -> dict[str, float]:
        pace, day = self._context.pace, None
        if pace.ramp_up_per_hour and message.kind == store.messages.DIGEST:
            # Only digests count: mail that somebody has just requested is not delayed.
            day = (
                now - store.send_rates.first_used_or_now(conn, f"from {self._context.sender}", now)
            ).days
        return pace.rates(rate_limits.domain_of(message.recipient), day)

    def _doubt(self, conn: Connection, claimed: StoredMessage) -> StoredMessage | State | None:
        """Put a message in doubt, or cancel it if it is no longer wanted."""
        now = self._clock.now()
        # Whoever leaves from now on does so after this message was put in doubt.
        store.subscribers.hold(conn, claimed.subscriber_id)
        doubted = store.messages.move(
            conn,
            claimed,
            State.IN_DOUBT,
            now,
            wanted_at=self._context.address_hash(claimed.recipient),
            doubted_at=now,
            lease_until=now + self._context.lease,
        )
        crash_point("doubting")
        if doubted is not None:
            return doubted
        cancelled = self._cancel_unwanted(conn, claimed, now)
        if cancelled:
            recovery.end_attempt(conn, claimed, now, "cancelled", "")
        return cancelled

    def _cancel_unwanted(
        self, conn: Connection, message: StoredMessage, now: datetime
    ) -> State | None:
        """Cancel a message if its subscriber left, paused or was suppressed."""
        address_hash = self._context.address_hash(message.recipient)
        reason = store.messages.unwanted_because(conn, message, address_hash)
        return _end_unsent(conn, message, State.CANCELLED, reason, now) if reason else None

    # -- how it ended ------------------------------------------------------------------------------

    def _end(
        self, message: StoredMessage, state: State, outcome: str, reply: str, **fields: Any
    ) -> State | None:
        """Store how an attempt ended; None if another sender has the message now."""
        return self._writes(
            lambda conn: recovery.end_attempt_in_state(
                conn, message, state, self._clock.now(), outcome, reply, **fields
            )
        )

    def _give_back(self, message: StoredMessage, error: MailError) -> StoredMessage:
        """Let a message wait as before, and return it; the attempt does not count."""
        n = message.attempts - 1
        self._end(message, State.RENDERED, "broken", str(error), attempts=n)
        return replace(message, state=State.RENDERED, attempts=n, last_reply=str(error))

    def _defer(self, message: StoredMessage, error: MailDeferred) -> State | None:
        now = self._clock.now()
        if now - message.created_at >= SEND_WINDOW:
            expired = MailRefused(str(error), reason="expired", is_unreachable=error.is_unreachable)
            return self._writes(lambda conn: self._fail(conn, message, message.state, expired))
        return self._end(message, State.DEFERRED, "deferred", str(error), **_later(message, now))

    def _refuse(self, message: StoredMessage, refusal: MailRefused, drain: Drain) -> None:
        """Defer what was refused for good; it fails when the drain ends well.

        If too many were refused, place a hold and raise MailerBroken.
        """

        def store_it(conn: Connection) -> StoredMessage | None:
            now, reply = self._clock.now(), str(refusal)
            fields = {"last_reply": reply, **_later(message, now)}
            deferred = store.messages.move(conn, message, State.DEFERRED, now, **fields)
            if deferred:
                recovery.end_attempt(conn, message, now, "deferred", reply)
            return deferred

        deferred = self._writes(store_it)
        with drain.guard:
            if deferred:
                drain.refused.append((deferred, message.state, refusal))
            too_many = drain.refusals.add(is_refused=True)
        if too_many:
            why = self._writes(lambda conn: self._hold(conn, str(refusal)))
            if why:
                raise MailerBroken(why)

    def _hold(self, conn: Connection, reply: str) -> str:
        """Stop all sending after many refusals; return why, or "" if an operator has resumed."""
        now = self._clock.now()
        store.take_turn(conn, store.Turn.REFUSALS)
        resumed_at = store.jobs.last_done(conn, recovery.REFUSALS)
        if resumed_at and timedelta(0) <= now - resumed_at < SEND_WINDOW:
            return ""
        why = (
            f"too many messages were refused, the last one because {reply}. All of them wait, and"
            " nothing more is sent: see `triage outbox list`, correct what is wrong, then run"
            " `triage outbox resume`"
        )
        store.sending_holds.place(conn, recovery.REFUSALS, why, now)
        return why

    def fail_refused(self, drain: Drain) -> int:
        """Fail what the server refused for good in a drain that ended well; return how many."""
        refused, drain.refused = drain.refused, []
        # Two senders that fail theirs at once lock the subscribers in one order.
        in_order = sorted(refused, key=lambda each: each[0].subscriber_id)

        def store_them(conn: Connection) -> int:
            return sum(self._fail(conn, *each) is not None for each in in_order)

        return self._writes(store_them) if refused else 0

    def _fail(
        self, conn: Connection, message: StoredMessage, phase: State, refusal: MailRefused
    ) -> State | None:
        """Fail a message for good; None if another sender has it now."""
        now, reply = self._clock.now(), str(refusal)
        store.subscribers.lock(conn, [message.subscriber_id])
        fields = {"last_reply": reply, "reason": refusal.reason}
        if store.messages.move(conn, message, State.FAILED, now, **fields) is None:
            return None
        of = message.id, message.lease_epoch
        store.attempts.end(conn, *of, now, phase=phase, outcome="failed", reply=reply)
        recovery.release_papers(conn, message, now)
        if refusal.no_such_mailbox or refusal.is_unreachable:
            self._count_against(conn, message, refusal, now)
        return State.FAILED

    def _count_against(
        self, conn: Connection, message: StoredMessage, refusal: MailRefused, now: datetime
    ) -> None:
        """Count a refusal by the mailbox as a report of the same would be (`bounces.intake`)."""
        from triage.delivery.bounces.classify import Kind
        from triage.delivery.bounces.intake import POINTS, suppress_one, why_suppress

        reply = str(refusal)
        store.bounces.add(
            conn,
            content_hash=sha256(f"refused {message.message_id}".encode()).hexdigest(),
            kind=Kind.HARD if refusal.no_such_mailbox else Kind.SOFT,
            status=enhanced_code(reply),
            message_id=message.id,
            subscriber_id=message.subscriber_id,
            raw=reply.encode(),
            received_at=now,
        )
        why = why_suppress(store.bounces.days(conn, message.subscriber_id, list(POINTS)))
        if why is None:
            return
        subscriber = store.subscribers.contact(conn, id=message.subscriber_id)
        if subscriber is not None:
            suppress_one(conn, subscriber, message.recipient, self._context.address_hash, why, now)

    def _leave_in_doubt(self, message: StoredMessage, why: str) -> None:
        """Release the lease of a message that may have arrived; a later drain settles it."""
        log.warning("in doubt", message_id=message.message_id, why=why)

        def store_it(conn: Connection) -> None:
            now = self._clock.now()
            free: dict[str, Any] = {"lease_owner": "", "lease_until": now, "doubted_at": now}
            if store.messages.amend(conn, message, now, last_reply=why, **free):
                recovery.end_attempt(conn, message, now, "uncertain", why)

        self._writes(store_it)

    def _handle_crash(self, message: StoredMessage, why: str) -> State | None:
        """Store that sending a message raised an unexpected error."""
        if message.state is State.IN_DOUBT:
            self._leave_in_doubt(message, why)
            return None
        crashes = message.crashes + 1
        state = self._writes(
            lambda conn: recovery.end_crashed_attempt(
                conn, message, crashes, why, self._clock.now()
            )
        )
        return state if state is State.FAILED else None

    def _let_go(self, message: StoredMessage, state: State | None) -> State | None:
        """Let a message wait again if it has no end state; it was certainly not handed over."""
        if state is None:
            self._end(message, State.RENDERED, "stopped", message.last_reply)
        return state

    # -- leases ------------------------------------------------------------------------------------

    def _still_holds(self, message: StoredMessage, since: float) -> bool:
        """Return whether our lease lasts, by the monotonic clock and by the wall clock."""
        assert message.lease_until is not None  # noqa: S101 - it has just been set
        elapsed = self._context.seconds() - since
        lease_s = self._context.lease.total_seconds()
        return elapsed < lease_s and self._clock.now() < message.lease_until


def _end_unsent(
    conn: Connection, message: StoredMessage, state: State, reason: str, at: datetime
) -> State | None:
    """End a message without an attempt; its papers may be shown again."""
    if store.messages.move(conn, message, state, at, reason=reason) is None:
        return None
    recovery.release_papers(conn, message, at)
    return state


def _later(message: StoredMessage, now: datetime) -> dict[str, Any]:
    """Return the fields of a message that is tried again after its back-off."""
    # From 0.8 to 1.2, so that messages that failed together are not all retried together.
    name = f"{message.message_id} {message.attempts}".encode()
    jitter = 0.8 + 0.4 * (zlib.crc32(name) / 0xFFFF_FFFF)
    wait = BACK_OFF[min(message.attempts, len(BACK_OFF)) - 1] * jitter
    return {"not_before": now + wait, "crashes": 0}
