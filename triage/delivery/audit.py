"""Audits the database: every digest that was due is accounted for, exactly once.

For each date, due = planned + rendered + claimed + deferred + in_doubt + sent + held + failed +
cancelled + skipped. The attempts of a message match its state, and a sent message has the
receiver's reply. The papers that may be shown again are those of messages that were not sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from triage import store
from triage.delivery.sent_log import SentLog
from triage.delivery.sent_log_check import KEPT, complete_sent_log, unrecorded_message_ids
from triage.domain.mail_addresses import why_unmailable
from triage.domain.protocols import Clock
from triage.domain.records import MessageState as State
from triage.domain.records import SubscriberState
from triage.errors import DatabaseError
from triage.store import Connection, Database
from triage.store.audit_queries import Shown

if TYPE_CHECKING:
    from sqlalchemy import Row

MEND = (
    "stop triage; restore the newest back-up in which `triage audit` finds no fault; then run"
    " `triage outbox reconcile`, which marks what was sent since as sent"
)
RECONCILE = "run `triage outbox reconcile`; until then nothing is sent"

RECENT = timedelta(days=3)
_STATES = frozenset(map(str, State))
# The allowed outcomes of the last attempt in each state; None means no attempt.
_WAITING = {None, "broken", "stopped", "crashed", "resent"}
_LAST: dict[str, set[str | None]] = {
    State.PLANNED: {None},
    State.RENDERED: _WAITING,
    State.CLAIMED: {""},
    State.IN_DOUBT: {"", "uncertain"},
    State.DEFERRED: {"deferred"},
    State.SENT: {"sent"},
    State.HELD: {"held"},
    State.FAILED: _WAITING | {"deferred", "failed"},
    State.CANCELLED: _WAITING | {"deferred", "cancelled"},
    State.SKIPPED: {None},
}
_NEED_BYTES = {State.RENDERED, State.CLAIMED, State.IN_DOUBT, State.DEFERRED, State.HELD}
_HAVE_REASONS = {State.FAILED, State.CANCELLED, State.SKIPPED}
# Only in these states may papers be shown again, and not if the message may have arrived.
_PAPERS_RELEASED = {State.FAILED, State.CANCELLED}
_MAY_HAVE_ARRIVED = {"operator", "journal_lost"}
_REASONS_TO_FAIL = {"expired", "poison"}
# In which phase an attempt with this outcome ended, for outcomes that have only one.
_PHASES = {"crashed": State.CLAIMED}
_PHASES |= dict.fromkeys(("sent", "held", "resent", "uncertain"), State.IN_DOUBT)


@dataclass(frozen=True, slots=True)
class Fault:
    """An inconsistency: what it is, the ids that it concerns, and what to do."""

    what: str
    ids: tuple[str, ...]
    do: str = MEND


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit.

    Attributes:
        days: for each date the number `due` and the number in each state, without zeros.
        resends: how many messages were sent again although they may have arrived.
        requested: how many digests `triage digest resend` has sent once more.
        left_out: the addresses of active subscribers who get no digest, each with the reason. These
            are no faults of the database, so they stop no mail.
    """

    days: dict[date, dict[str, int]]
    faults: tuple[Fault, ...]
    resends: int
    requested: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_balanced(self) -> bool:
        return not self.faults


def audit(
    database: Database, journal: SentLog | None = None, *, since: date | None = None
) -> Audit:
    """Check messages, attempts, slates and the sent log against each other.

    Args:
        journal: the sent log; None leaves it out.
        since: check only digests from this date on, and read neither bytes of messages nor
            subscribers.
    """
    found: dict[str, list[str]] = {}
    resends = 0
    left_out = {}
    with database.read() as conn:
        forgotten_before = store.jobs.last_done(conn, store.attempts.FORGOTTEN)
        for message, attempts, shown in store.audit_queries.entries(conn, since):
            resends += message.resends
            for what in _faults_of(message, attempts, shown, forgotten_before):
                found.setdefault(what, []).append(message.message_id)
        found |= store.audit_queries.orphans(conn, since)
        days = store.audit_queries.days(conn, since)
        requested = store.messages.n_resent(conn)
        found["dates with a wrong number of digests"] = [
            f"{on}: {counts['due']} due, {n} accounted for"
            for on, counts in days.items()
            if (n := sum(counts.get(state, 0) for state in _STATES)) != counts["due"]
        ]
        if since is None:
            found |= store.audit_queries.doubles(conn)
            found["messages whose bytes have changed"] = store.audit_queries.changed_bytes(conn)
            left_out = find_left_out(conn)
    faults = [Fault(what, tuple(ids)) for what, ids in found.items() if ids]
    if journal is not None:
        if damage := journal.damage():
            what = "lines of the sent log that cannot be read"
            faults.append(Fault(what, (damage,), RECONCILE))
        if since is None and (missing := unrecorded_message_ids(database, journal)):
            what = "messages that the sent log has as sent and the database does not"
            faults.append(Fault(what, tuple(missing), RECONCILE))
    return Audit(days, tuple(faults), resends, requested, left_out)


def find_left_out(conn: Connection) -> dict[str, str]:
    """Return the addresses of active subscribers to whom no digest can go, each with the reason."""
    active = [SubscriberState.ACTIVE]
    why = {
        each.email: f"the row in the database cannot be read ({each.why})"
        for each in store.subscribers.unreadable(conn, active)
    }
    for each in store.subscribers.everyone(conn, active):
        if reason := why_unmailable(each.email):
            why[each.email] = f"no mail can go to this address: {reason}"
    return why


def run_nightly_audit(database: Database, journal: SentLog, clock: Clock) -> str:
    """Audit everything, complete the sent log and drop its old lines; return a summary.

    Raises:
        DatabaseError: the audit found a fault.
    """
    result = audit(database, journal)
    if not result.is_balanced:
        counts = [f"{fault.what} ({len(fault.ids)})" for fault in result.faults]
        raise DatabaseError(f"{'; '.join(counts)}: run `triage audit` for the ids and what to do")
    now = clock.now()
    complete_sent_log(database, journal, now - RECENT)
    journal.forget(now - KEPT)
    n = sum(counts["due"] for counts in result.days.values())
    left_out = f", {len(result.left_out)} subscribers are left out" if result.left_out else ""
    return f"{n} digests of {len(result.days)} days are accounted for{left_out}"


def _faults_of(
    message: Row[Any], attempts: Sequence[Row[Any]], shown: Shown, forgotten_before: datetime | None
) -> Iterator[str]:
    """Yield the faults of one message; attempts from `forgotten_before` or earlier may be gone."""
    if message.state not in _STATES:
        yield "messages in an unknown state"
        return
    yield from _faults_of_place(message)
    ended = forgotten_before is not None and message.updated_at < forgotten_before
    if not (ended and message.state in store.messages.ENDED and not attempts):
        yield from _faults_of_attempts(message, attempts)
        yield from _faults_of_end(message, attempts)
    yield from _faults_of_state(message)
    yield from _faults_of_papers(message, shown)


def _faults_of_place(message: Row[Any]) -> Iterator[str]:
    if message.email is None:
        yield "messages without a subscriber"
    if message.slate_public_id is None:
        if message.kind == store.sent_log.DIGEST:
            yield "messages without a slate"
    elif (message.slate_subscriber_id, message.slate_on) != (message.subscriber_id, message.on):
        yield "messages whose subscriber or date differs from their slate"
    elif message.slate_public_id not in message.message_id:
        yield "messages whose Message-ID belongs to another digest"


def _faults_of_attempts(message: Row[Any], attempts: Sequence[Row[Any]]) -> Iterator[str]:
    outcomes = [each.outcome for each in attempts]
    if [each.number for each in attempts] != list(range(1, message.lease_epoch + 1)):
        yield "messages with a wrong number of attempts"
    if message.attempts != len(attempts) - outcomes.count("broken"):
        yield "messages with a wrong count of attempts"
    if message.resends != outcomes.count("resent"):
        yield "messages with a wrong count of resends"
    if any((each.ended_at is None) != (each.outcome == "") for each in attempts):
        yield "messages with an attempt that has an end time or an outcome, but not both"
    if not {"", "sent"}.isdisjoint(outcomes[:-1]):
        yield "messages that were tried again while an attempt was open, or after they were sent"
    if any(each.phase != _PHASES.get(each.outcome, each.phase) for each in attempts):
        yield "messages with an attempt whose outcome does not match its phase"
    closed = [("", ""), *((each.outcome, each.reply) for each in attempts if each.outcome)]
    outcome, reply = closed[-1]
    if outcome != "cancelled" and reply != message.last_reply:
        yield "messages whose last reply differs from that of their last attempt"


def _faults_of_end(message: Row[Any], attempts: Sequence[Row[Any]]) -> Iterator[str]:
    state = State(message.state)
    last = attempts[-1] if attempts else None
    outcome = last.outcome if last else None
    if outcome not in _LAST[state]:
        yield "messages whose state does not match their last attempt"
    if state is State.SENT and not (last and last.reply):
        yield "messages that were sent without a reply"
    has_reason = message.reason in _REASONS_TO_FAIL
    needs_reason = state is State.FAILED and outcome != "failed"
    if (needs_reason and not has_reason) or (has_reason and state is not State.FAILED):
        yield "messages whose reason does not match how they ended"
    if last and state in {State.CLAIMED, State.IN_DOUBT}:
        # If both times are equal, it is unknown which attempt put the message in doubt.
        at, began = message.doubted_at, last.started_at
        if at != began and (at is not None and at > began) != (state is State.IN_DOUBT):
            yield "messages whose state and time of doubt do not match"


def _faults_of_state(message: Row[Any]) -> Iterator[str]:
    state = State(message.state)
    if (message.sent_at is not None) != (state is State.SENT):
        yield "messages whose state and time of sending do not match"
    if bool(message.reason) != (state in _HAVE_REASONS):
        yield "messages that ended without a reason, or have one without an end"
    if state in _NEED_BYTES:
        if not message.has_body:
            yield "messages that wait without their bytes"
        if message.email is not None and message.recipient != message.email:
            yield "messages that wait with an address other than their subscriber's"
    if state in {State.PLANNED, State.SKIPPED} and message.has_body:
        yield "messages that have bytes although they are not to be sent"
    if state in _PAPERS_RELEASED and not message.has_body and message.mime_sha256 is None:
        yield "messages that ended and never had bytes"


def _faults_of_papers(message: Row[Any], shown: Shown) -> Iterator[str]:
    if not shown.n == shown.n_positions == shown.last:
        yield "messages whose slate has a wrong number of papers"
    if shown.n_released and message.state not in _PAPERS_RELEASED:
        yield "messages that may have arrived and whose papers may be shown again"
    if (
        message.state in _PAPERS_RELEASED
        and not message.resends
        and message.reason not in _MAY_HAVE_ARRIVED
        and shown.n_released != shown.n
    ):
        yield "messages that were not sent and whose papers are not shown again"
    if shown.n_released not in {0, shown.n}:
        yield "messages of which only some papers may be shown again"
