"""Drains the outbox: everything that is due goes to the courier, over several connections."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from triage import store
from triage.courier import Courier, Later
from triage.doubts import Doubts, Reconciled
from triage.errors import DatabaseError, MailerBroken
from triage.pace import RAMP_UP, Line
from triage.records import MessageState as State
from triage.sender_context import SenderContext

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What became of the messages that were waiting.

    `broken` says what to mend when nothing could be handed over and the rest was not tried.
    """

    sent: int = 0
    deferred: int = 0
    failed: int = 0
    cancelled: int = 0
    held: int = 0
    in_flight: int = 0
    broken: str = ""


class Outbox:
    """Drains the outbox through one mailer.

    Args:
        refusal: says why nothing may be sent now; "" while all is well.
    """

    def __init__(self, context: SenderContext, refusal: Callable[[], str] = lambda: "") -> None:
        self._refusal = refusal
        self._database = context.database
        self._mailer = context.mailer
        self._clock = context.clock
        self._rules = context.rules
        self._courier = Courier(context)
        self._doubts = Doubts(context)

    def paused_because(self) -> str:
        """Return why nothing may be sent now, and nothing made to be sent; "" if it may."""
        return self._refusal()

    def drain(self, on_message: Callable[[State], None] = lambda _: None) -> DrainReport:
        """Hand over everything that is due; what another sender holds is left alone."""
        counts: Counter[State] = Counter()
        guard = threading.Lock()

        def tell(state: State) -> None:
            with guard:
                counts[state] += 1
                on_message(state)

        again = threading.Event()

        def look_after_others() -> None:
            if self._doubts.settle(tell, while_sending=True) == 0.0:
                again.set()

        broken = self._refusal()
        if broken:
            log.error("no mail is sent", why=broken)
            return DrainReport(broken=broken)
        try:
            again.set()
            while again.is_set() and not broken:
                again.clear()
                with self._signs_of_life(look_after_others):
                    broken = self._hand_over_all(tell)
        finally:
            self._mailer.close()
        with self._database.read() as conn:
            in_flight = len(store.messages.in_flight(conn))
        return DrainReport(
            sent=counts[State.SENT],
            deferred=counts[State.DEFERRED],
            failed=counts[State.FAILED],
            cancelled=counts[State.CANCELLED],
            held=counts[State.HELD],
            in_flight=in_flight,
            broken=broken,
        )

    def drain_notes(self) -> None:
        """Hand over what is no digest and due: beside a drain, and never waiting for one.

        What is in doubt is left to the next drain.
        """
        with self._database.read() as conn:
            waiting = store.messages.waiting(conn, self._clock.now(), only_notes=True)
        if not waiting or self._refusal():
            return
        try:
            with self._signs_of_life():
                self._hand_over(lambda _: None, only_notes=True)
        finally:
            self._mailer.close()

    def reconcile(self) -> Reconciled:
        """Ask the oracle again about all that is held."""
        try:
            return self._doubts.reconcile()
        finally:
            self._mailer.close()

    def _hand_over_all(self, tell: Callable[[State], None]) -> str:
        """Hand over what is due until nothing is left; return what to mend first."""
        while True:
            self._doubts.settle(tell)
            broken = self._hand_over(tell)
            wait = self._doubts.settle(tell)
            if broken or wait is None:
                return broken
            self._clock.sleep(wait)

    def _hand_over(self, tell: Callable[[State], None], *, only_notes: bool = False) -> str:
        """Hand over what is due; return what to mend first if that cannot be done."""
        with self._database.read() as conn:
            holds = store.holds.reasons(conn)
            now = self._clock.now()
            waiting = [] if holds else store.messages.waiting(conn, now, only_notes=only_notes)
        if holds:
            return "; ".join(holds.values())
        crowd = [message for message in waiting if not message.crashes]
        # What may bring the sender down goes last and alone, so that it harms nothing but itself.
        suspects = [message for message in waiting if message.crashes]
        try:
            line = Line(crowd, self._clock, self._rules.pace.per_domain_at_once)
            self._side_by_side(line, self._rules.connections, tell)
            self._side_by_side(Line(suspects, self._clock), 1, tell)
        except MailerBroken as error:
            log.error("no mail can be sent", why=str(error))
            return str(error)
        return ""

    def _side_by_side(self, line: Line, n_threads: int, tell: Callable[[State], None]) -> None:
        if n_threads == 1:
            self._work(line, tell)
            return
        with ThreadPoolExecutor(n_threads, "sender") as pool:
            try:
                for ended in [pool.submit(self._work, line, tell) for _ in range(n_threads)]:
                    ended.result()
            finally:
                line.stop()

    def _work(self, line: Line, tell: Callable[[State], None]) -> None:
        try:
            while (message := line.take()) is not None:
                try:
                    state = self._courier.carry(message)
                finally:
                    line.done(message)
                if isinstance(state, Later) and state.name == RAMP_UP:
                    log.info("a new address sends no more for now", until=str(state.at))
                    line.stop()
                elif isinstance(state, Later):
                    line.not_before(state.name, state.at)
                    line.put_back(message)
                elif state is not None:
                    tell(state)
        except BaseException:
            line.stop()
            raise

    @contextmanager
    def _signs_of_life(
        self, look_after_others: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Renew the leases of what is in hand until the block ends.

        Others may die or freeze meanwhile, and what they held must not wait for the end of a long
        drain.
        """
        over = threading.Event()

        def renew() -> None:
            while not over.wait(self._rules.lease.total_seconds() / 3):
                try:
                    self._courier.renew()
                    look_after_others()
                except DatabaseError as error:
                    log.warning("leases not renewed", why=str(error))

        thread = threading.Thread(target=renew, name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
