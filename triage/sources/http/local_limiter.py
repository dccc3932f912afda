"""A request limiter for one process."""

from __future__ import annotations

from triage.domain import request_limits
from triage.domain.protocols import Clock, MustWait, Outcome


class LocalRequestLimiter:
    """A `RequestLimiter` whose state is in memory."""

    def __init__(self, clock: Clock, rules: request_limits.Rules) -> None:
        self._clock = clock
        self._rules = rules
        self._standing = request_limits.LimiterState()

    def acquire(self) -> MustWait | None:
        self._standing, not_yet = request_limits.acquire(
            self._standing, self._rules, "this process", self._clock.now(), lambda _: False
        )
        return not_yet

    def release(
        self, outcome: Outcome, asked_s: float | None = None, stretch: float = 1.0
    ) -> MustWait:
        now = self._clock.now()
        self._standing, not_yet = request_limits.release(
            self._standing, self._rules, "this process", now, outcome, asked_s, stretch
        )
        return not_yet
