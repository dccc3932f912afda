"""A polite pace: token buckets, and the line in which messages wait for their turn."""

from __future__ import annotations

import heapq
import threading
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from triage.ports import Clock
from triage.store.messages import StoredMessage

EVERYBODY = "*"
RAMP_UP = "ramp-up"
# What is less than a whole token by this much is one, but for rounding.
WHOLE = 1.0 - 1e-6
# How much of a second's worth may go at once, so that a fast pace needs no clock of its own.
BURST_S = 0.05
# Of a ramp-up's pace more, for whoever has to wait for it goes home and comes back each minute.
RAMP_UP_BURST_S = 120.0
# The pace doubles daily; after so many days it is that of everybody.
RAMP_UP_DAYS = 30
# Whoever waits looks again so often whether the others have gone home.
LONGEST_NAP_S = 1.0
# After this long a bucket is asked again, however long it said that one should wait.
SLOWEST_S = 60.0
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast messages may go; 0 is as fast as can.

    Attributes:
        per_second: how many in all.
        per_domain_per_second: how many to one domain.
        per_domain_at_once: how many of one sender are on their way to one domain.
        ramp_up_per_hour: how many on the first day of a new sending address; each day twice as
            many. Nobody knows the address yet, and receivers distrust whoever begins with many.
    """

    per_second: float = 0.0
    per_domain_per_second: float = 0.0
    per_domain_at_once: int = 0
    ramp_up_per_hour: float = 0.0

    def rates(self, domain: str, day: int | None = None) -> dict[str, float]:
        """Return the rate of each bucket that a message to a domain takes a token from.

        Args:
            day: for how many days the address has been sending; None for a message that no
                ramp-up holds back.
        """
        rates = {EVERYBODY: self.per_second, domain: self.per_domain_per_second}
        if day is not None and day < RAMP_UP_DAYS:
            rates[RAMP_UP] = self.ramp_up_per_hour / 3600 * 2 ** max(day, 0)
        return {name: rate for name, rate in rates.items() if rate > 0}


def tokens_now(
    bucket: tuple[float, datetime] | None, rate: float, now: datetime, burst_s: float = BURST_S
) -> float:
    """Return how many tokens a bucket holds.

    Args:
        bucket: how many it held, and when; None for a new one, which is full.
        rate: tokens a second.
        burst_s: how many seconds' worth it holds at most, but always a whole token.
    """
    most = max(1.0, rate * burst_s)
    if bucket is None:
        return most
    tokens, at = bucket
    # A clock that was set back gives nothing and takes nothing.
    return min(most, tokens + max((now - at).total_seconds(), 0.0) * rate)


def next_token_at(tokens: float, rate: float, now: datetime) -> datetime:
    """Return when a bucket that holds so many tokens will hold a whole one."""
    # Rounding may not let somebody look again and again within the same moment.
    return now + timedelta(seconds=max((1.0 - tokens) / rate, 0.001))


def domain_of(address: str) -> str:
    return address.rpartition("@")[2].casefold()


class Line:
    """Messages that wait, in their order; where a domain has to wait, others go first.

    Several threads take from it.

    Args:
        at_once: how many messages to one domain may be on their way; 0 for any number.
    """

    def __init__(self, messages: Iterable[StoredMessage], clock: Clock, at_once: int = 0) -> None:
        self._clock = clock
        self._at_once = at_once
        self._on_their_way: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._by_domain: dict[str, deque[tuple[int, StoredMessage]]] = {}
        for n, message in enumerate(messages):
            self._by_domain.setdefault(domain_of(message.recipient), deque()).append((n, message))
        self._places = {m.id: n for line in self._by_domain.values() for n, m in line}
        self._free_at: dict[str, datetime] = {}
        self._turns = [(_EVER, line[0][0], domain) for domain, line in self._by_domain.items()]
        heapq.heapify(self._turns)
        self._stopped = False

    def take(self) -> StoredMessage | None:
        """Return the next message whose turn has come; wait for it; None when there is none."""
        while True:
            with self._guard:
                message, nap_s = self._next()
            if message is not None or nap_s is None:
                return message
            self._clock.sleep(min(nap_s, LONGEST_NAP_S))

    def done(self, message: StoredMessage) -> None:
        """Note that a message that was taken is no longer on its way."""
        with self._guard:
            self._on_their_way[domain_of(message.recipient)] -= 1

    def put_back(self, message: StoredMessage) -> None:
        """Let a message wait on in its place."""
        domain = domain_of(message.recipient)
        with self._guard:
            line = self._by_domain[domain]
            line.appendleft((self._places[message.id], message))
            heapq.heappush(self._turns, (_EVER, line[0][0], domain))

    def not_before(self, name: str, at: datetime) -> None:
        """Let the messages to a domain, or all of them, wait; but look again now and then."""
        soon = self._clock.now() + timedelta(seconds=SLOWEST_S)
        with self._guard:
            self._free_at[name] = min(at, soon)

    def stop(self) -> None:
        """Send everybody home."""
        with self._guard:
            self._stopped = True

    def _next(self) -> tuple[StoredMessage | None, float | None]:
        """Return a message, or how many seconds to wait for one, or neither."""
        now = self._clock.now()
        everybody = self._free_at.get(EVERYBODY, _EVER)
        while self._turns and not self._stopped:
            if nap_s := _seconds_until(everybody, now):
                return None, nap_s
            _, _, domain = self._turns[0]
            line = self._by_domain[domain]
            if not line:
                heapq.heappop(self._turns)
                continue
            free_at = self._free_at.get(domain, _EVER)
            if 0 < self._at_once <= self._on_their_way[domain]:
                free_at = max(free_at, now + timedelta(seconds=BURST_S))
            if free_at > self._turns[0][0]:
                heapq.heapreplace(self._turns, (free_at, line[0][0], domain))
                continue
            if nap_s := _seconds_until(free_at, now):
                return None, nap_s
            _, message = line.popleft()
            self._on_their_way[domain] += 1
            if line:
                heapq.heapreplace(self._turns, (free_at, line[0][0], domain))
            else:
                heapq.heappop(self._turns)
            return message, None
        return None, None


def _seconds_until(at: datetime, now: datetime) -> float:
    """Return how long to wait for `at`; not at all where the clock must have been set back."""
    left_s = (at - now).total_seconds()
    return left_s if 0 < left_s <= SLOWEST_S else 0.0
