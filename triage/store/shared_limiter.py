"""Whose turn it is at a gate, for all processes that share a database."""

from __future__ import annotations

from collections.abc import Callable

from triage import store
from triage.domain import request_limits
from triage.domain.protocols import Clock, MustWait, Outcome
from triage.store import Database


class SharedRequestLimiter:
    """`Turns` at one gate, kept in the database.

    Processes on several machines need clocks that agree; those of one machine have one. Times are
    read while the right to write is held, for waiting for it takes time, too.

    Args:
        name: of the gate; whoever asks the same server must use the same.
        owner: names this process and this object, and nothing else ever.
        is_gone: whether an owner is known to be a process that has ended. Its turn is free then;
            that of one who cannot be known about is free once no request can last so long.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        name: str,
        rules: request_limits.Rules,
        *,
        owner: str,
        is_gone: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._clock = clock
        self._name = name
        self._rules = rules
        self._owner = owner
        self._is_gone = is_gone

    def acquire(self) -> MustWait | None:
        # Most who come must wait: they ask without holding up whoever writes.
        with self._database.read() as conn:
            standing, not_yet = self._decide(before := store.request_limits.load(conn, self._name))
        if standing == before:
            return not_yet
        with self._database.write() as conn:
            standing, not_yet = self._decide(store.request_limits.load(conn, self._name))
            store.request_limits.save(conn, self._name, standing)
        return not_yet

    def _decide(
        self, standing: request_limits.LimiterState
    ) -> tuple[request_limits.LimiterState, MustWait | None]:
        return request_limits.acquire(
            standing, self._rules, self._owner, self._clock.now(), self._is_gone
        )

    def release(
        self, outcome: Outcome, asked_s: float | None = None, stretch: float = 1.0
    ) -> MustWait:
        with self._database.write() as conn:
            before = store.request_limits.load(conn, self._name)
            now = self._clock.now()
            after, not_yet = request_limits.release(
                before, self._rules, self._owner, now, outcome, asked_s, stretch
            )
            store.request_limits.save(conn, self._name, after)
        return not_yet
