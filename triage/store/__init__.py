"""The only SQL of the program: one module a noun, functions that take a connection.

A use case owns its transaction:

    with database.write() as conn:
        store.papers.insert_papers(conn, …)
        store.sources.save_cursor(conn, …)
"""

from __future__ import annotations

from triage.store import (
    chores,
    encodings,
    enrichment,
    events,
    gates,
    interests,
    leases,
    messages,
    papers,
    runs,
    slates,
    sources,
    subscribers,
    tastes,
    versions,
)
from triage.store._database import Database, open_database

__all__ = [
    "Database",
    "chores",
    "encodings",
    "enrichment",
    "events",
    "gates",
    "interests",
    "leases",
    "messages",
    "open_database",
    "papers",
    "runs",
    "slates",
    "sources",
    "subscribers",
    "tastes",
    "versions",
]
