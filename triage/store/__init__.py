"""All SQL of the program, for SQLite and PostgreSQL: one module for each group of tables.

In: records to store, and queries. Out: stored records.

Functions take a connection, and the caller owns the transaction:

    with database.write() as conn:
        store.papers.insert_papers(conn, …)
        store.sources.save_cursor(conn, …)
    last = database.fetch(store.jobs.last_done, …)  # in a transaction of its own

Begin with `tables`. `engine/` opens connections, `migrate` brings a database to the current schema.
"""

from __future__ import annotations

from sqlalchemy import Connection as Connection

from triage.store import attempts as attempts
from triage.store import bounces as bounces
from triage.store import collections as collections
from triage.store import digest_feeds as digest_feeds
from triage.store import encodings as encodings
from triage.store import enrichment as enrichment
from triage.store import events as events
from triage.store import forgotten_votes as forgotten_votes
from triage.store import interests as interests
from triage.store import jobs as jobs
from triage.store import listing_days as listing_days
from triage.store import messages as messages
from triage.store import model_versions as model_versions
from triage.store import named_papers as named_papers
from triage.store import papers as papers
from triage.store import personal_data as personal_data
from triage.store import search as search
from triage.store import send_rates as send_rates
from triage.store import sending_holds as sending_holds
from triage.store import sent_log as sent_log
from triage.store import signups as signups
from triage.store import slates as slates
from triage.store import sources as sources
from triage.store import subscribers as subscribers
from triage.store import suppressions as suppressions
from triage.store import training_log as training_log
from triage.store import user_models as user_models
from triage.store import works as works
from triage.store import zotero_libraries as zotero_libraries
from triage.store.engine.database import Database as Database
from triage.store.engine.database import open_database as open_database
from triage.store.engine.database import revision_of as revision_of
from triage.store.engine.group_commit import SharedWrites as SharedWrites
from triage.store.engine.turns import Turn as Turn
from triage.store.engine.turns import take_turn as take_turn
