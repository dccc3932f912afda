"""A source that one process at a time reads, of all that share a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from triage import store
from triage.domain.protocols import Clock, Source
from triage.domain.source_records import Batch
from triage.errors import SourceError
from triage.store import Database

# Longer than the requests of a batch take, unless a server wants more patience.
LEASE = timedelta(minutes=10)
# As long as the names of leases may be.
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class LeasedSource:
    """A `Source` that is read by whoever has its lease, which each batch renews.

    Two readers would ask a server for the same twice, and one could set the other's cursor back.

    Attributes:
        owner: the name of this process in leases.
        is_gone: whether an owner is known to be a process that has ended.
    """

    name: str
    source: Source
    database: Database
    clock: Clock
    owner: str
    is_gone: Callable[[str], bool]

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield what the source does.

        Raises:
            SourceError: another process reads it, or the source cannot be read.
        """
        self._take_lease()
        try:
            for batch in self.source.fetch(cursor):
                yield batch
                self._take_lease()
        finally:
            now = self.clock.now()
            self.database.execute(store.jobs.give_lease_back, self._lease, self.owner, now)

    @property
    def _lease(self) -> str:
        return f"fetch {self.name}"[:_LONGEST]

    def _take_lease(self) -> None:
        now = self.clock.now()
        if not self.database.execute(
            store.jobs.take_lease, self._lease, self.owner, now + LEASE, now, self.is_gone
        ):
            raise SourceError("another process reads it now: wait until that is done")
