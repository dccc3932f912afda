"""A request limiter for one process."""

from __future__ import annotations

from triage.domain import request_limits
from triage.domain.protocols import Clock, MustWait, Outcome


class LocalRequestLimiter:
    """A `RequestLimiter` whose state is in memory."""

    def __init__(self, clock: Clock, rules: request_limits.Rules) -> None:
        self._clock = clock
        self._rules = rules
        self._state = request_limits.LimiterState()

    def acquire(self) -> MustWait | None:
        self._state, must_wait = request_limits.acquire(
            self._state, self._rules, "this process", self._clock.now(), lambda _: False
        )
        return must_wait

    def release(
        self, outcome: Outcome, asked_s: float | None = None, stretch: float = 1.0
    ) -> MustWait:
        now = self._clock.now()
        self._state, must_wait = request_limits.release(
            self._state, self._rules, "this process", now, outcome, asked_s, stretch
        )
        return must_wait
