"""Drains the outbox: sends everything that is due, over several connections."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from triage import store
from triage.delivery.drain_progress import Drain, Halted, Later
from triage.delivery.hand_over import MessageSender
from triage.delivery.rate_limits import RAMP_UP, SendQueue
from triage.delivery.recovery import OracleReport, Recovery, Report
from triage.delivery.sender_context import SenderContext
from triage.domain.records import MessageState as State
from triage.errors import DatabaseError, MailerBroken, TriageError

log = structlog.get_logger()

PARTLY_SENT = 3
# A thread that lost its session waits so long, in seconds, before each new try.
SESSION_WAITS = (0.1, 0.5, 2.0, 8.0)


@dataclass(frozen=True, slots=True)
class DrainReport:
    """How many messages ended in each state.

    Attributes:
        in_flight: how many are still claimed or in doubt.
        crashed: how many wait again after an unexpected error.
        broken: why the drain stopped early, and what to mend; "" if it did not.
    """

    sent: int = 0
    deferred: int = 0
    failed: int = 0
    cancelled: int = 0
    held: int = 0
    in_flight: int = 0
    crashed: int = 0
    broken: str = ""

    @property
    def exit_code(self) -> int:
        """0 if all went well, 1 if something did not and nothing was sent, else 3.

        What another process is sending is partly done, and no trouble.
        """
        troubles = (self.deferred, self.failed, self.held, self.crashed, self.broken)
        if any(troubles) and not self.sent:
            return TriageError.exit_code
        return PARTLY_SENT if any(troubles) or self.in_flight else 0


class Outbox:
    """Drains the outbox through one mailer.

    Args:
        check: returns why no mail may be sent or composed now; "" if it may.
    """

    def __init__(self, context: SenderContext, check: Callable[[], str] = lambda: "") -> None:
        self.check = check
        self._context = context
        self._courier = MessageSender(context)
        self._doubts = Recovery(context)
        self._n_crashed = 0

    def drain(self, on_message: Callable[[State], None] = lambda _: None) -> DrainReport:
        """Send everything that is due, except what another sender has leased."""
        counts: Counter[State] = Counter()
        guard = threading.Lock()

        def report(state: State) -> None:
            with guard:
                counts[state] += 1
                on_message(state)

        self._n_crashed = 0
        more = threading.Event()

        def settle_others() -> None:
            if self._doubts.settle_stale(report, while_sending=True) == 0.0:
                more.set()

        broken = self.check()
        if broken:
            log.error("no mail is sent", why=broken)
            return DrainReport(broken=broken)
        try:
            more.set()
            while more.is_set() and not broken:
                more.clear()
                with self._renewed_leases(settle_others):
                    broken = self._send_and_settle(report)
        finally:
            self._context.mailer.close()
        in_flight = len(self._context.database.fetch(store.messages.in_flight))
        ends = (State.SENT, State.DEFERRED, State.FAILED, State.CANCELLED, State.HELD)
        return DrainReport(
            **{end: counts[end] for end in ends},
            in_flight=in_flight,
            crashed=self._n_crashed,
            broken=broken,
        )

    def send_account_mail(self) -> None:
        """Send due account mails at once, also while a drain is running.

        Messages in doubt are left to the next drain.
        """
        waiting = self._context.database.fetch(
            store.messages.waiting, self._context.clock.now(), only_notes=True
        )
        if not waiting or self.check():
            return
        try:
            with self._renewed_leases():
                self._send_due(lambda _: None, only_notes=True)
        finally:
            self._context.mailer.close()

    def reconcile(self) -> OracleReport:
        """Ask the oracle again about all held messages."""
        try:
            return self._doubts.ask_oracle_about_held()
        finally:
            self._context.mailer.close()

    def _send_and_settle(self, report: Report) -> str:
        """Send until nothing is due; return what to mend if that is not possible, else ""."""
        while True:
            self._doubts.settle_stale(report)
            broken = self._send_due(report)
            wait = self._doubts.settle_stale(report)
            if broken or wait is None:
                return broken
            self._context.clock.sleep(wait)

    def _send_due(self, report: Report, *, only_notes: bool = False) -> str:
        """Send what is due once; return what to mend if that is not possible, else ""."""
        with self._context.database.read() as conn:
            holds = store.sending_holds.reasons(conn)
            now = self._context.clock.now()
            waiting = [] if holds else store.messages.waiting(conn, now, only_notes=only_notes)
        if holds:
            return "; ".join(holds.values())
        healthy = [message for message in waiting if not message.crashes]
        # A message that crashed its sender goes last and alone, so that it disturbs no other.
        suspects = [message for message in waiting if message.crashes]
        drain = Drain(self._context.connections)
        try:
            queue = SendQueue(healthy, self._context.clock, self._context.pace.per_domain_at_once)
            stopped = self._send_parallel(queue, drain, report)
            if not stopped and queue.has_more:
                stopped = drain.why
            drain.n_threads, drain.left = 1, set()
            if not stopped:
                stopped = self._work(SendQueue(suspects, self._context.clock), drain, report)
        except MailerBroken as error:
            log.error("no mail can be sent", why=str(error))
            return str(error)
        finally:
            self._n_crashed += drain.n_crashed
        for _ in range(self._courier.fail_refused(drain)):
            report(State.FAILED)
        return stopped

    def _send_parallel(self, queue: SendQueue, drain: Drain, report: Report) -> str:
        """Send what is in the queue over several connections; return why that was stopped."""
        if drain.n_threads == 1:
            return self._work(queue, drain, report)
        with ThreadPoolExecutor(drain.n_threads, "sender") as pool:
            try:
                work = [
                    pool.submit(self._work, queue, drain, report) for _ in range(drain.n_threads)
                ]
                return max(future.result() for future in work)
            finally:
                queue.stop()

    def _work(self, queue: SendQueue, drain: Drain, report: Report) -> str:
        """Send while there are messages and a session; return why all must stop, "" if not."""
        n_sent = n_losses = 0
        try:
            while (message := queue.take()) is not None:
                try:
                    state = self._courier.send(message, drain)
                finally:
                    queue.done(message)
                if isinstance(state, Later) and state.name == RAMP_UP:
                    log.info("the ramp-up limit is reached", until=str(state.at))
                    drain.why = ""
                    queue.stop()
                elif isinstance(state, Later):
                    queue.not_before(state.name, state.at)
                    queue.put_back(message)
                elif isinstance(state, Halted):
                    if state.returned is None:
                        log.error("the server accepts nothing more for now", why=state.why)
                        drain.why = ""
                        if state.state is not None:
                            report(state.state)
                        queue.stop()
                        return state.why if state.is_about_us else ""
                    queue.put_back(state.returned)
                    # The sessions that the server grants do the work.
                    if not n_sent or n_losses == len(SESSION_WAITS):
                        log.info("one session less", why=state.why)
                        return ""
                    self._context.clock.sleep(SESSION_WAITS[n_losses])
                    n_losses += 1
                elif state is not None:
                    n_sent, n_losses = n_sent + (state is State.SENT), 0
                    report(state)
        except BaseException:
            queue.stop()
            raise
        return ""

    @contextmanager
    def _renewed_leases(self, settle_others: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Renew the leases of our messages until the block ends.

        `settle_others` runs each time, too: messages of a sender that died must not wait until a
        long drain ends.
        """
        over = threading.Event()

        def renew() -> None:
            while not over.wait(self._context.lease.total_seconds() / 3):
                try:
                    self._courier.renew()
                    settle_others()
                except DatabaseError as error:
                    log.warning("leases not renewed", why=str(error))

        thread = threading.Thread(target=renew, name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
