"""The settings and services that the parts of a sender share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from triage.delivery.rate_limits import RateLimits
from triage.delivery.sent_log import SentLog
from triage.domain.protocols import Clock, Mailer
from triage.store import Database

# A lease is renewed every third of this, since sending may take much longer: up to 600 s for the
# last answer alone (RFC 5321, 4.5.3.2). A dead sender on this machine is noticed at once.
LEASE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class SenderContext:
    """The settings and services of one sender.

    Attributes:
        owner: the unique name of this sender in leases.
        is_gone: returns whether the owner of a lease is known to have died.
        ambiguous: what to do with a message if it is unknown whether it arrived.
        connections: how many messages are sent at once.
        lease: how long a sender keeps a claimed message without renewing the lease.
        envelope_sender: returns the bounce address for a Message-ID; "" for the one in From.
        sender: the address in From; the ramp-up counts its days.
        address_hash: returns the key under which an address is suppressed; not secret by default.
        journal: the sent log, written before the database; None for no log.
        monotonic: a monotonic clock in seconds; by default `clock` is used.
    """

    database: Database
    mailer: Mailer
    clock: Clock
    owner: str
    is_gone: Callable[[str], bool]
    ambiguous: Literal["resend", "hold"] = "resend"
    connections: int = 1
    pace: RateLimits = field(default_factory=RateLimits)
    lease: timedelta = LEASE
    envelope_sender: Callable[[str], str] = lambda _: ""
    sender: str = ""
    address_hash: Callable[[str], str] = str.casefold
    journal: SentLog | None = None
    monotonic: Callable[[], float] | None = None

    def seconds(self) -> float:
        """Return the monotonic time; it is not comparable between senders."""
        return self.monotonic() if self.monotonic else self.clock.now().timestamp()
