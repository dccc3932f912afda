"""The states of the request limiters of servers, shared by all processes.

Each change reads and writes in one write transaction.
"""

from __future__ import annotations

from dataclasses import asdict, fields

from sqlalchemy import Connection, select

from triage.domain.request_limits import LimiterState
from triage.store.engine.upsert import upsert
from triage.store.tables import request_limits

_COLUMNS = [request_limits.c[field.name] for field in fields(LimiterState)]


def load(conn: Connection, name: str) -> LimiterState:
    """Return the state of a limiter; the default state if it is not stored."""
    row = conn.execute(select(*_COLUMNS).where(request_limits.c.name == name)).one_or_none()
    return LimiterState() if row is None else LimiterState(**row._mapping)


def save(conn: Connection, name: str, state: LimiterState) -> None:
    upsert(conn, request_limits, ["name"], {"name": name} | asdict(state))
