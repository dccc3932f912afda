"""What the parts of a sender share: who sends, through what, and by which rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from triage.journal import Journal
from triage.pace import Pace
from triage.ports import Clock, Mailer
from triage.store import Database

# Renewed three times while it lasts, for a lawful hand-over may take much longer: 600 s for the
# last answer alone (RFC 5321, 4.5.3.2). A sender of this machine that died is known to be gone.
LEASE = timedelta(seconds=60)


class Ambiguous(StrEnum):
    """What is done with a message of which nobody knows whether it arrived."""

    RESEND = "resend"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Rules:
    """How mail is sent.

    Attributes:
        connections: how many messages are on their way at once.
        lease: so long a sender that shows no sign of life keeps what it claimed.
        envelope_sender: makes of a Message-ID the address to which that message comes back if it
            cannot be delivered; "" is as in From.
        sender: the address in From, which a ramp-up is for.
    """

    ambiguous: Ambiguous = Ambiguous.RESEND
    connections: int = 1
    pace: Pace = field(default_factory=Pace)
    lease: timedelta = LEASE
    envelope_sender: Callable[[str], str] = lambda _: ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class SenderContext:
    """Who sends, through what, and by which rules.

    Attributes:
        owner: names this sender in leases; unlike that of any other.
        is_gone: tells whether the sender that a lease names is known to have died.
        address_hash: the name under which an address is suppressed; one without a key if left out.
        journal: knows outside of the database what was sent, and is told before the database is.
        monotonic: a clock in seconds that nobody sets; the other one if left out.
    """

    database: Database
    mailer: Mailer
    clock: Clock
    owner: str
    is_gone: Callable[[str], bool]
    rules: Rules = field(default_factory=Rules)
    address_hash: Callable[[str], str] = str.casefold
    journal: Journal | None = None
    monotonic: Callable[[], float] | None = None

    def seconds(self) -> float:
        """Return the time of the clock that nobody sets; clocks of senders may differ."""
        return self.monotonic() if self.monotonic else self.clock.now().timestamp()
