"""Hands frozen messages over and accounts for every one of them.

    rendered ─→ claimed ─→ in_doubt ─→ sent
       ↑  │        │           ├──→ deferred ─→ rendered …   (not now: the same bytes later)
       │  │        │           └──→ failed                   (never: its papers may be shown again)
       │  └→ cancelled (left, paused, erased: its papers may be shown again)
       └── a claim whose sender died goes back, after the transport was asked whether it arrived

A message is `in_doubt` from just before the transport gets it until its answer is stored, so a
crash in between is seen and never taken for either outcome.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from triage import store
from triage.errors import MailDeferred, MailerBroken, MailRefused, MailUncertain
from triage.killpoint import pass_by
from triage.ports import Clock, Mailer
from triage.records import MessageState as State
from triage.records import OutgoingMessage, SubscriberState
from triage.store import Database
from triage.store.messages import StoredMessage

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = structlog.get_logger()

# Longer than the slowest lawful hand-over: 30 s to connect, five phases of 300 s, 600 s for the
# last answer (RFC 5321, 4.5.3.2). A sender of this machine that died is known to be gone at once.
LEASE = timedelta(minutes=40)
SEND_WINDOW = timedelta(hours=12)
BACK_OFF = tuple(timedelta(minutes=m) for m in (1, 5, 15, 30, 60, 120))


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What became of the messages that were waiting.

    `broken` says what to mend when the mailer could hand over nothing and the rest was not tried.
    """

    sent: int = 0
    deferred: int = 0
    failed: int = 0
    cancelled: int = 0
    in_flight: int = 0
    broken: str = ""


class Outbox:
    """Drains the outbox through one mailer.

    Args:
        owner: names this sender in leases; unlike that of any other.
        is_gone: tells whether the sender that a lease names is known to have died.
    """

    def __init__(
        self,
        database: Database,
        mailer: Mailer,
        clock: Clock,
        *,
        owner: str,
        is_gone: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._mailer = mailer
        self._clock = clock
        self._owner = owner
        self._is_gone = is_gone

    def drain(self, on_message: Callable[[State], None] = lambda _: None) -> DrainReport:
        """Hand over everything that is due; what another sender holds is left alone."""
        self.recover()
        counts = dict.fromkeys((State.SENT, State.DEFERRED, State.FAILED, State.CANCELLED), 0)
        with self._database.read() as conn:
            waiting = store.messages.waiting(conn, self._clock.now())
        broken = ""
        try:
            for message in waiting:
                state = self._deliver(message)
                if state is not None:
                    counts[state] += 1
                    on_message(state)
        except MailerBroken as error:
            broken = str(error)
            log.error("no mail can be sent", why=broken)
        finally:
            self._mailer.close()
        with self._database.read() as conn:
            in_flight = len(store.messages.in_flight(conn))
        return DrainReport(
            sent=counts[State.SENT],
            deferred=counts[State.DEFERRED],
            failed=counts[State.FAILED],
            cancelled=counts[State.CANCELLED],
            in_flight=in_flight,
            broken=broken,
        )

    def recover(self) -> None:
        """Take back the claims of senders that died: ask the transport, then send again or not."""
        with self._database.read() as conn:
            in_flight = store.messages.in_flight(conn)
        for message in in_flight:
            now = self._clock.now()
            expired = message.lease_until is None or message.lease_until <= now
            if not expired and not self._is_gone(message.lease_owner or ""):
                continue
            doubtful = message.state is State.IN_DOUBT
            arrived = doubtful and self._mailer.delivered(message.message_id)
            with self._database.write() as conn:
                if arrived:
                    reply = "found at the receiver"
                    store.messages.move(
                        conn, message, State.SENT, now, sent_at=now, last_reply=reply
                    )
                else:
                    resends = {"resends": message.resends + 1} if doubtful else {}
                    store.messages.move(conn, message, State.RENDERED, now, **resends)

    def _deliver(self, message: StoredMessage) -> State | None:
        """Carry one message through; return where it ended, or None if someone else has it."""
        claimed = self._claim(message)
        if claimed is None or claimed.state is State.CANCELLED:
            return claimed.state if claimed else None
        pass_by("claimed")
        with self._database.write() as conn:
            unwanted = self._cancel_unwanted(conn, claimed)
            recipient, mime = store.messages.content(conn, claimed.id)
            doubtful = unwanted or store.messages.move(
                conn, claimed, State.IN_DOUBT, self._clock.now()
            )
        if doubtful is None or doubtful.state is State.CANCELLED:
            return doubtful.state if doubtful else None
        pass_by("in_doubt")
        try:
            reply = self._mailer.send(OutgoingMessage(doubtful.message_id, recipient, mime))
        except MailDeferred as error:
            return self._put_off(doubtful, str(error))
        except MailRefused as error:
            return self._give_up(doubtful, error.reason, str(error), error.no_such_mailbox)
        except MailUncertain as error:
            # It stays in doubt; when the lease is over it is settled like that of a dead sender.
            log.warning("in doubt", message_id=doubtful.message_id, why=str(error))
            return None
        except MailerBroken:
            with self._database.write() as conn:
                before = {"attempts": message.attempts}
                store.messages.move(conn, doubtful, State.RENDERED, self._clock.now(), **before)
            raise
        pass_by("handed_over")
        now = self._clock.now()
        with self._database.write() as conn:
            moved = store.messages.move(
                conn, doubtful, State.SENT, now, sent_at=now, last_reply=reply
            )
        pass_by("settled")
        return moved.state if moved else None

    def _claim(self, message: StoredMessage) -> StoredMessage | None:
        """Take a message, or cancel it: whether it is still wanted is read in the same step."""
        now = self._clock.now()
        with self._database.write() as conn:
            unwanted = self._cancel_unwanted(conn, message)
            return unwanted or store.messages.move(
                conn,
                message,
                State.CLAIMED,
                now,
                attempts=message.attempts + 1,
                lease_owner=self._owner,
                lease_epoch=message.lease_epoch + 1,
                lease_until=now + LEASE,
            )

    def _cancel_unwanted(self, conn: Connection, message: StoredMessage) -> StoredMessage | None:
        """Cancel the message of somebody who left, paused or was erased; else do nothing."""
        subscriber = store.subscribers.by_id(conn, message.subscriber_id)
        if subscriber is not None and subscriber.state is SubscriberState.ACTIVE:
            return None
        now = self._clock.now()
        reason = subscriber.state if subscriber else "erased"
        moved = store.messages.move(conn, message, State.CANCELLED, now, reason=reason)
        # One that was in doubt once may have arrived: its papers are not shown a second time.
        if moved and message.slate_id is not None and not message.resends:
            store.slates.release(conn, message.slate_id, now)
        return moved

    def _put_off(self, message: StoredMessage, reply: str) -> State | None:
        now = self._clock.now()
        if now - message.created_at >= SEND_WINDOW:
            return self._give_up(message, "expired", reply)
        wait = BACK_OFF[min(message.attempts, len(BACK_OFF)) - 1] * _spread(message)
        with self._database.write() as conn:
            moved = store.messages.move(
                conn, message, State.DEFERRED, now, not_before=now + wait, last_reply=reply
            )
        return moved.state if moved else None

    def _give_up(
        self, message: StoredMessage, reason: str, reply: str, no_such_mailbox: bool = False
    ) -> State | None:
        now = self._clock.now()
        with self._database.write() as conn:
            moved = store.messages.move(
                conn, message, State.FAILED, now, reason=reason, last_reply=reply
            )
            if moved and message.slate_id is not None:
                store.slates.release(conn, message.slate_id, now)
            subscriber = store.subscribers.by_id(conn, message.subscriber_id)
            # Whoever has left in the meantime has left; that is the stronger wish.
            if no_such_mailbox and subscriber and subscriber.state is SubscriberState.ACTIVE:
                gone = SubscriberState.SUPPRESSED
                store.subscribers.set_state(conn, subscriber.id, gone, now)
        return moved.state if moved else None


def _spread(message: StoredMessage) -> float:
    """Return 0.8 to 1.2, so that messages that failed together do not all return together."""
    name = f"{message.message_id} {message.attempts}".encode()
    return 0.8 + 0.4 * (zlib.crc32(name) / 0xFFFF_FFFF)
