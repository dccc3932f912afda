"""Proves that the books balance: every digest that was due is accounted for, once.

For each date, due = planned + rendered + claimed + deferred + in_doubt + sent + held + failed +
cancelled + skipped. A message in any state has exactly the attempts that lead there, and one that
was sent has the receiver's answer. What was shown, what was sent and what may be shown again agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from triage import store
from triage.errors import DatabaseError
from triage.journal import Journal
from triage.ports import Clock
from triage.reconcile import KEPT, complete, unknown
from triage.records import MessageState as State
from triage.store import Database
from triage.store.books import Entry

MEND = (
    "stop triage; restore the newest back-up that `triage audit` finds sound, and then run"
    " `triage outbox reconcile`, which marks what was sent since"
)
RECONCILE = "run `triage outbox reconcile`; until then nothing is sent"

RECENT = timedelta(days=3)
_STATES = frozenset(map(str, State))
# What may have been the last outcome of a message in each state; None: there was no attempt.
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
_NEED_BYTES = {
    State.RENDERED,
    State.CLAIMED,
    State.IN_DOUBT,
    State.DEFERRED,
    State.HELD,
}
_HAVE_REASONS = {State.FAILED, State.CANCELLED, State.SKIPPED}
# Only these give papers back, and not if the message may have arrived.
_GIVE_BACK = {State.FAILED, State.CANCELLED}
_MAY_HAVE_ARRIVED = {"operator", "journal_lost"}
_REASONS_TO_FAIL = {"expired", "poison"}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not balance: what, which ids, and what to do."""

    what: str
    ids: tuple[str, ...]
    do: str = MEND


@dataclass(frozen=True, slots=True)
class Audit:
    """What the books say.

    Attributes:
        days: by date how many were due and how many there are in each state, states that nobody is
            in left out.
        resends: how many messages went again though they may have arrived.
    """

    days: dict[date, dict[str, int]]
    faults: tuple[Fault, ...]
    resends: int

    @property
    def is_balanced(self) -> bool:
        return not self.faults


def audit(
    database: Database,
    journal: Journal | None = None,
    *,
    since: date | None = None,
) -> Audit:
    """Compare everything with everything.

    Args:
        journal: is compared, too.
        since: the quick form: digests from this date on, and no bytes are read.
    """
    found: dict[str, list[str]] = {}
    with database.read() as conn:
        forgotten_before = store.attempts.forgotten_before(conn)
        for entry in store.books.entries(conn, since):
            for what in faults_of(entry, forgotten_before):
                found.setdefault(what, []).append(entry.message_id)
        found |= store.books.orphans(conn, since)
        days = store.books.days(conn, since)
        found["dates on which not everything that was due is accounted for"] = [
            f"{on}: {counts['due']} due, {n} accounted for"
            for on, counts in days.items()
            if (n := sum(counts.get(state, 0) for state in _STATES)) != counts["due"]
        ]
        if since is None:
            found |= store.books.doubles(conn)
            found["messages whose bytes are not those that were frozen"] = (
                store.books.changed_bytes(conn)
            )
        resends = store.books.n_resends(conn, since)
    faults = [Fault(what, tuple(ids)) for what, ids in found.items() if ids]
    if journal is not None:
        if damage := journal.damage():
            what = "lines of the sent journal that cannot be read"
            faults.append(Fault(what, (damage,), RECONCILE))
        if since is None and (told := unknown(database, journal)):
            what = "messages that were sent, as the sent journal says, and are not marked as sent"
            faults.append(Fault(what, tuple(told), RECONCILE))
    return Audit(days, tuple(faults), resends)


def audit_in_words(database: Database, journal: Journal, clock: Clock) -> str:
    """Audit everything, and tidy the journal; the nightly chore.

    Raises:
        DatabaseError: the books do not balance.
    """
    found = audit(database, journal)
    if not found.is_balanced:
        ids = [f"{fault.what} ({len(fault.ids)})" for fault in found.faults]
        raise DatabaseError(f"{'; '.join(ids)}: `triage audit` says which and what to do")
    now = clock.now()
    complete(database, journal, now - RECENT)
    journal.forget(now - KEPT)
    n = sum(counts["due"] for counts in found.days.values())
    return f"{n} digests of {len(found.days)} days are accounted for"


def faults_of(entry: Entry, forgotten_before: datetime | None = None) -> Iterator[str]:
    """Yield in words what does not agree about one message.

    Args:
        forgotten_before: a message that ended before then may have no attempts any more.
    """
    if entry.state not in _STATES:
        yield "messages in a state that there is not"
        return
    yield from _faults_of_place(entry)
    ended = forgotten_before is not None and entry.updated_at < forgotten_before
    if not (ended and entry.state in store.messages.ENDED and not entry.attempts):
        yield from _faults_of_attempts(entry)
        yield from _faults_of_end(entry)
    yield from _faults_of_state(entry)
    yield from _faults_of_papers(entry)


def _faults_of_place(entry: Entry) -> Iterator[str]:
    if entry.email is None:
        yield "messages without a subscriber"
    if entry.slate_public_id is None:
        if entry.kind == store.journals.DIGEST:
            yield "messages without a slate"
    elif (entry.slate_subscriber_id, entry.slate_on) != (entry.subscriber_id, entry.on):
        yield "messages for another subscriber or date than their slate"
    elif entry.slate_public_id not in entry.message_id:
        yield "messages that have another digest's name"


def _faults_of_attempts(entry: Entry) -> Iterator[str]:
    attempts = entry.attempts
    outcomes = [each.outcome for each in attempts]
    if [each.number for each in attempts] != list(range(1, entry.lease_epoch + 1)):
        yield "messages with an attempt too many or too few"
    if entry.n_attempts != len(attempts) - outcomes.count("broken"):
        yield "messages whose attempts are miscounted"
    if entry.resends != outcomes.count("resent"):
        yield "messages whose resends are miscounted"
    if any((each.ended_at is None) != (each.outcome == "") for each in attempts):
        yield "messages with an attempt that has ended and has not"
    if "" in outcomes[:-1] or "sent" in outcomes[:-1]:
        yield "messages that were tried again while they were, or after they had been, sent"
    if any(each.phase != phase for each in attempts if (phase := _phase_of(each.outcome))):
        yield "messages with an attempt that cannot have ended where it did"
    closed = [each for each in attempts if each.outcome]
    if (not closed and entry.last_reply) or (
        closed and closed[-1].outcome != "cancelled" and closed[-1].reply != entry.last_reply
    ):
        yield "messages whose last answer is another one than their attempt's"


def _phase_of(outcome: str) -> str:
    """Return how far an attempt with this outcome had come; "" if that may differ."""
    if outcome in {"sent", "held", "resent", "uncertain"}:
        return State.IN_DOUBT
    return State.CLAIMED if outcome == "crashed" else ""


def _faults_of_end(entry: Entry) -> Iterator[str]:
    """Compare a message's state with its last attempt."""
    state = State(entry.state)
    last = entry.attempts[-1] if entry.attempts else None
    if (last.outcome if last else None) not in _LAST[state]:
        yield "messages in a state that their attempts did not lead to"
    if state is State.SENT and not (last and last.reply):
        yield "messages that were sent without an answer"
    failed_waiting = state is State.FAILED and (last is None or last.outcome != "failed")
    if (failed_waiting and entry.reason not in _REASONS_TO_FAIL) or (
        state is not State.FAILED and entry.reason in _REASONS_TO_FAIL
    ):
        yield "messages that ended for a reason that is not their end's"
    if last and state in {State.CLAIMED, State.IN_DOUBT}:
        doubted = entry.doubted_at is not None and entry.doubted_at >= last.started_at
        # A claim that was put in doubt at the very moment at which it was made cannot be told.
        at_once = doubted and entry.doubted_at == last.started_at
        if doubted != (state is State.IN_DOUBT) and not at_once:
            yield "messages that are in doubt and are not"


def _faults_of_state(entry: Entry) -> Iterator[str]:
    state = State(entry.state)
    if (entry.sent_at is not None) != (state is State.SENT):
        yield "messages that were sent and were not"
    if bool(entry.reason) != (state in _HAVE_REASONS):
        yield "messages that ended without a reason, or have one and did not end"
    if state in _NEED_BYTES:
        if not entry.has_body:
            yield "messages that wait without their bytes"
        if entry.email is not None and entry.recipient != entry.email:
            yield "messages that wait for another address than their subscriber's"
    if state in {State.PLANNED, State.SKIPPED} and entry.has_body:
        yield "messages that have bytes and nothing to send"
    if state in _GIVE_BACK and not entry.has_body and entry.mime_sha256 is None:
        yield "messages that ended without ever having had bytes"


def _faults_of_papers(entry: Entry) -> Iterator[str]:
    shown = entry.shown
    if not shown.n == shown.n_positions == shown.last:
        yield "messages of slates with a paper too many or too few"
    if shown.n_released and entry.state not in _GIVE_BACK:
        yield "messages whose papers may be shown again though they may have arrived"
    if (
        entry.state in _GIVE_BACK
        and not entry.resends
        and entry.reason not in _MAY_HAVE_ARRIVED
        and shown.n_released != shown.n
    ):
        yield "messages that went to nobody and whose papers are not shown again"
    if shown.n_released not in {0, shown.n}:
        yield "messages of which some papers may be shown again and some may not"
