"""A request limiter for all processes that share a database.

Each change of its state reads and writes in one write transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, asdict, dataclass, fields

from sqlalchemy import Connection, select

from triage.domain import request_limits
from triage.domain.protocols import Clock, MustWait, Outcome
from triage.store import Database, tables
from triage.store.engine.upsert import insert_missing, upsert

_COLUMNS = [tables.request_limits.c[each.name] for each in fields(request_limits.LimiterState)]


@dataclass(frozen=True, slots=True)
class SharedRequestLimiter:
    """A `RequestLimiter` whose state is in the database.

    Several machines need clocks that agree. The clock is read inside the write transaction,
    because waiting for this transaction takes time.

    Attributes:
        name: of the limit; all requests to one server use the same name.
        owner: a unique name of this process and this object.
        is_gone: whether an owner is known to be a process that has ended. The turn of such an
            owner is free. The turn of any other owner is free after the longest possible request.
    """

    database: Database
    clock: Clock
    name: str
    rules: request_limits.Rules
    _: KW_ONLY
    owner: str
    is_gone: Callable[[str], bool]

    def acquire(self) -> MustWait | None:
        # Most callers must wait, and reading does not block writers.
        with self.database.read() as conn:
            before = self._load(conn)
            state, wait = self._decide(before)
        if state == before:
            return wait
        with self.database.write() as conn:
            state, wait = self._decide(self._lock(conn))
            self._save(conn, state)
        return wait

    def _decide(
        self, state: request_limits.LimiterState
    ) -> tuple[request_limits.LimiterState, MustWait | None]:
        return request_limits.acquire(state, self.rules, self.owner, self.clock.now(), self.is_gone)

    def release(
        self, outcome: Outcome, asked_s: float | None = None, stretch: float = 1.0
    ) -> MustWait:
        with self.database.write() as conn:
            before = self._lock(conn)
            now = self.clock.now()
            after, wait = request_limits.release(
                before, self.rules, self.owner, now, outcome, asked_s, stretch
            )
            self._save(conn, after)
        return wait

    def _load(self, conn: Connection) -> request_limits.LimiterState:
        query = select(*_COLUMNS).where(tables.request_limits.c.name == self.name)
        return request_limits.LimiterState(*(conn.execute(query).one_or_none() or ()))

    def _lock(self, conn: Connection) -> request_limits.LimiterState:
        """Return the state, which no other process changes from now on."""
        insert_missing(conn, tables.request_limits, [{"name": self.name}])
        row = tables.request_limits.c.name == self.name
        return request_limits.LimiterState(
            *conn.execute(select(*_COLUMNS).where(row).with_for_update()).one()
        )

    def _save(self, conn: Connection, state: request_limits.LimiterState) -> None:
        upsert(conn, tables.request_limits, ["name"], {"name": self.name} | asdict(state))
