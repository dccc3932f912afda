"""What the sent log says about a message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class SentEntry:
    """A message that the receiving server has accepted, as in the sent log.

    `subscriber` is a public id. `key` identifies the digest; `message_id` changes with the domain.
    """

    at: datetime
    message_id: str
    subscriber: str
    on: date
    kind: str

    @property
    def key(self) -> tuple[str, date, str]:
        return (self.subscriber, self.on, self.kind)
