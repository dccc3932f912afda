"""How the gates stand through which all processes ask servers.

Each change reads and writes within one writing transaction, so that two never mix.
"""

from __future__ import annotations

from dataclasses import asdict, fields

from sqlalchemy import Connection, select

from triage.store._insert import upsert
from triage.tables import gates
from triage.turns import Standing

_COLUMNS = [gates.c[field.name] for field in fields(Standing)]


def load(conn: Connection, name: str) -> Standing:
    """Return how a gate stands; one that nobody has come to yet is free."""
    row = conn.execute(select(*_COLUMNS).where(gates.c.name == name)).one_or_none()
    return Standing() if row is None else Standing(**row._mapping)


def save(conn: Connection, name: str, standing: Standing) -> None:
    upsert(conn, gates, ["name"], {"name": name} | asdict(standing))
