"""The only SQL of the program: one module a noun, functions that take a connection.

A use case owns its transaction:

    with database.write() as conn:
        store.papers.insert_papers(conn, …)
        store.sources.save_cursor(conn, …)
"""

from __future__ import annotations

from triage.store import accounts as accounts
from triage.store import attempts as attempts
from triage.store import bounces as bounces
from triage.store import days as days
from triage.store import encodings as encodings
from triage.store import enrichment as enrichment
from triage.store import events as events
from triage.store import feeds as feeds
from triage.store import gates as gates
from triage.store import holds as holds
from triage.store import interests as interests
from triage.store import jobs as jobs
from triage.store import journals as journals
from triage.store import messages as messages
from triage.store import paces as paces
from triage.store import papers as papers
from triage.store import personal as personal
from triage.store import search as search
from triage.store import slates as slates
from triage.store import sources as sources
from triage.store import subscribers as subscribers
from triage.store import suppressions as suppressions
from triage.store import tastes as tastes
from triage.store import versions as versions
from triage.store import works as works
from triage.store._database import Database as Database
from triage.store._database import open_database as open_database
from triage.store._database import revision_of as revision_of
from triage.store._together import SharedWrites as SharedWrites
