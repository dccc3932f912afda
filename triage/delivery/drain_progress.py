"""What the threads of one drain tell each other."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from triage.delivery.refusals import RefusalCount
from triage.domain.records import MessageState as State
from triage.errors import MailRefused
from triage.store.messages import StoredMessage


@dataclass(frozen=True, slots=True)
class Later:
    """A message must wait until `at`: the token bucket of that name is empty."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Halted:
    """Nothing more can be sent for now: by this thread, or by all.

    Attributes:
        state: the state of the message.
        returned: the message if it was not offered and waits as before, for other threads.
        is_about_us: the server refuses whatever we send.
    """

    why: str
    state: State | None = None
    returned: StoredMessage | None = None
    is_about_us: bool = False


@dataclass
class Drain:
    """What the threads of one drain have seen.

    Attributes:
        n_threads: how many began to send.
        left: which of them ended, as the server grants fewer sessions.
        why: why the last one ended; "" if the drain was stopped for another reason.
        refused: deferred messages that fail if the drain ends well, and in which phase.
    """

    n_threads: int = 1
    n_sent: int = 0
    n_crashed: int = 0
    left: set[int] = field(default_factory=set)
    why: str = ""
    refusals: RefusalCount = field(default_factory=RefusalCount)
    refused: list[tuple[StoredMessage, State, MailRefused]] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def may_return(self, why: str) -> bool:
        """Return whether a message that was not offered can wait for another session."""
        with self.guard:
            self.why = why
            if not self.n_sent and len(self.left) + 1 < self.n_threads:
                self.left.add(threading.get_ident())
                return True
            return self.n_sent > 0
