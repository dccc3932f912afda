"""Rate limits for sending: token buckets, and the queue in which messages wait."""

from __future__ import annotations

import heapq
import threading
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from triage.domain.protocols import Clock
from triage.store.messages import StoredMessage

ALL_DOMAINS = "*"
RAMP_UP = "ramp-up"
# Counts as a whole token; allows for rounding.
WHOLE = 1.0 - 1e-6
# A bucket holds the tokens of so many seconds, so a high rate needs no finer clock.
BURST_S = 0.05
# More for the ramp-up: when it is empty the drain ends, and the next one starts a minute later.
RAMP_UP_BURST_S = 120.0
# The ramp-up rate doubles daily; after so many days it no longer applies.
RAMP_UP_DAYS = 30
# A waiting thread checks at least this often whether the queue was stopped.
LONGEST_NAP_S = 1.0
# A bucket is checked again after at most this long, as a clock may have been set.
SLOWEST_S = 60.0
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The rate limits; 0 means no limit.

    Attributes:
        per_second: messages per second in all.
        per_domain_per_second: messages per second to one domain.
        per_domain_at_once: messages that one sender may be sending to one domain at once.
        ramp_up_per_hour: digests per hour on the first day of a new sending address; twice as
            many on each following day. Receivers distrust a new address that sends many.
    """

    per_second: float = 0.0
    per_domain_per_second: float = 0.0
    per_domain_at_once: int = 0
    ramp_up_per_hour: float = 0.0

    def rates(self, domain: str, day: int | None = None) -> dict[str, float]:
        """Return the rate, in tokens per second, of each bucket that limits a message to a domain.

        Args:
            day: for how many days the address has been sending; None for no ramp-up.
        """
        rates = {ALL_DOMAINS: self.per_second, domain: self.per_domain_per_second}
        if day is not None and day < RAMP_UP_DAYS:
            rates[RAMP_UP] = self.ramp_up_per_hour / 3600 * 2 ** max(day, 0)
        return {name: rate for name, rate in rates.items() if rate > 0}


def tokens_now(
    bucket: tuple[float, datetime], rate: float, now: datetime, burst_s: float = BURST_S
) -> float:
    """Return how many tokens a bucket holds.

    Args:
        bucket: how many it held, and when.
        rate: tokens per second.
        burst_s: the capacity, in seconds of `rate`; it is at least one token.
    """
    most = max(1.0, rate * burst_s)
    tokens, at = bucket
    # A clock that was set back adds no tokens and removes none.
    return min(most, tokens + max((now - at).total_seconds(), 0.0) * rate)


def next_token_at(tokens: float, rate: float, now: datetime) -> datetime:
    """Return when a bucket with less than one token will have one."""
    # At least a millisecond, so that rounding causes no busy loop.
    return now + timedelta(seconds=max((1.0 - tokens) / rate, 0.001))


def domain_of(address: str) -> str:
    return address.rpartition("@")[2].casefold()


class SendQueue:
    """A queue of messages in their order; while a domain must wait, other domains go first.

    Several threads may take from it at once.

    Args:
        at_once: how many messages to one domain may be sent at once; 0 for no limit.
    """

    def __init__(self, messages: Iterable[StoredMessage], clock: Clock, at_once: int = 0) -> None:
        self._clock = clock
        self._at_once = at_once
        self._n_active: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._by_domain: dict[str, deque[tuple[int, StoredMessage]]] = {}
        for n, message in enumerate(messages):
            self._by_domain.setdefault(domain_of(message.recipient), deque()).append((n, message))
        self._places = {m.id: n for queue in self._by_domain.values() for n, m in queue}
        self._free_at: dict[str, datetime] = {}
        # A heap of (not before, place of the domain's first message, domain).
        self._turns = [(_EVER, queue[0][0], domain) for domain, queue in self._by_domain.items()]
        heapq.heapify(self._turns)
        self._stopped = False

    def take(self) -> StoredMessage | None:
        """Wait for the next message that may be sent, and return it; None if none is left."""
        while True:
            with self._guard:
                message, nap_s = self._next()
            if message is not None or nap_s is None:
                return message
            self._clock.sleep(min(nap_s, LONGEST_NAP_S))

    def done(self, message: StoredMessage) -> None:
        """Note that a message is no longer being sent."""
        with self._guard:
            self._n_active[domain_of(message.recipient)] -= 1

    def put_back(self, message: StoredMessage) -> None:
        """Put a message back at its old place."""
        domain = domain_of(message.recipient)
        with self._guard:
            queue = self._by_domain[domain]
            queue.appendleft((self._places[message.id], message))
            heapq.heappush(self._turns, (_EVER, queue[0][0], domain))

    def not_before(self, name: str, at: datetime) -> None:
        """Let messages to a domain, or all messages, wait until `at`, at most `SLOWEST_S`."""
        soon = self._clock.now() + timedelta(seconds=SLOWEST_S)
        with self._guard:
            self._free_at[name] = min(at, soon)

    @property
    def has_more(self) -> bool:
        """Whether messages are left."""
        with self._guard:
            return any(self._by_domain.values())

    def stop(self) -> None:
        """Let `take` return None from now on."""
        with self._guard:
            self._stopped = True

    def _next(self) -> tuple[StoredMessage | None, float | None]:
        """Return a message, or how many seconds to wait for one, or two None at the end."""
        now = self._clock.now()
        everybody = self._free_at.get(ALL_DOMAINS, _EVER)
        while self._turns and not self._stopped:
            if nap_s := _seconds_until(everybody, now):
                return None, nap_s
            _, _, domain = self._turns[0]
            queue = self._by_domain[domain]
            if not queue:
                heapq.heappop(self._turns)
                continue
            free_at = self._free_at.get(domain, _EVER)
            if 0 < self._at_once <= self._n_active[domain]:
                free_at = max(free_at, now + timedelta(seconds=BURST_S))
            if free_at > self._turns[0][0]:
                heapq.heapreplace(self._turns, (free_at, queue[0][0], domain))
                continue
            if nap_s := _seconds_until(free_at, now):
                return None, nap_s
            _, message = queue.popleft()
            self._n_active[domain] += 1
            if queue:
                heapq.heapreplace(self._turns, (free_at, queue[0][0], domain))
            else:
                heapq.heappop(self._turns)
            return message, None
        return None, None


def _seconds_until(at: datetime, now: datetime) -> float:
    """Return how long to wait until `at`; 0 if that is so long that the clock was set back."""
    left_s = (at - now).total_seconds()
    return left_s if 0 < left_s <= SLOWEST_S else 0.0
