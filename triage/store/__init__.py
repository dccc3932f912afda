"""The only SQL of the program: one module a noun, functions that take a connection.

A use case owns its transaction:

    with database.write() as conn:
        store.papers.insert_papers(conn, …)
        store.sources.save_cursor(conn, …)
"""

from __future__ import annotations

from triage.store import (
    accounts,
    attempts,
    bounces,
    days,
    encodings,
    enrichment,
    events,
    feeds,
    gates,
    holds,
    interests,
    jobs,
    journals,
    messages,
    paces,
    papers,
    personal,
    search,
    slates,
    sources,
    subscribers,
    suppressions,
    tastes,
    versions,
    works,
)
from triage.store._database import Database, open_database, revision_of
from triage.store._together import SharedWrites

__all__ = [
    "Database",
    "SharedWrites",
    "accounts",
    "attempts",
    "bounces",
    "days",
    "encodings",
    "enrichment",
    "events",
    "feeds",
    "gates",
    "holds",
    "interests",
    "jobs",
    "journals",
    "messages",
    "open_database",
    "paces",
    "papers",
    "personal",
    "revision_of",
    "search",
    "slates",
    "sources",
    "subscribers",
    "suppressions",
    "tastes",
    "versions",
    "works",
]
