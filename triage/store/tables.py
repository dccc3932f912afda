"""The database schema. Migrations create it; a test compares the two.

`papers` has one row for each outside id, `paper_ids` has these ids, and `paper_records` the records
of each origin as received. Training reads `impressions`. `events` is append-only. The tables of
mail are in `mail_tables`; `messages` is the outbox.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
    false,
    true,
)

from triage.store.column_types import (
    Id,
    String,
    Text,
    UtcDateTime,
    key_of,
    numbered_table,
    partial_index,
    reference,
    table,
)
from triage.store.column_types import metadata as metadata
from triage.store.mail_tables import attempts as attempts
from triage.store.mail_tables import bounces as bounces
from triage.store.mail_tables import message_bodies as message_bodies
from triage.store.mail_tables import messages as messages
from triage.store.mail_tables import send_rates as send_rates
from triage.store.mail_tables import sending_holds as sending_holds
from triage.store.mail_tables import sent_logs as sent_logs
from triage.store.mail_tables import suppressions as suppressions

FIRST_REVISION = "1001"
"""The first migration. Versions before the first release had lower numbers."""

SCHEMA_REVISION = "1004"
"""The newest migration, which this program needs; a test checks it."""


papers = numbered_table(
    "papers",
    Column("source", String(80), nullable=False),
    Column("source_id", String(200)),
    Column("version", Integer),
    Column("title", Text, nullable=False),
    Column("title_key", String(500), nullable=False, index=True),
    Column("abstract", Text, nullable=False),
    Column("authors", JSON, nullable=False),
    Column("categories", JSON, nullable=False),
    Column("listed_on", Date, nullable=False, index=True),
    Column("comment", Text, nullable=False, server_default=""),
    Column("upvotes", Integer),
    Column("tldr", Text, nullable=False, server_default=""),
    Column("first_seen_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("withdrawn_at", UtcDateTime),
    Column("venue", Text, nullable=False, server_default=""),
    Column("citations", Integer),
    Column("enriched_at", UtcDateTime),
    # Set if this row is of the same work as another.
    Column("merged_into", Id),
    Column("merged_because", Text, nullable=False, server_default=""),
    Column("revised_on", Date),
    # False if people named the paper and no list has had it: it is no news.
    Column("is_listed", Boolean, nullable=False, server_default=true()),
    # Only merged rows: else SQLite would use it to find unmerged rows, which are nearly all rows.
    partial_index("ix_papers_merged_into", "merged_into", where="merged_into IS NOT NULL"),
    # Only some sources have upvotes, so this index is small.
    partial_index("ix_papers_upvoted", "listed_on", where="upvotes > 0"),
)

paper_ids = table(
    "paper_ids",
    Column("scheme", String(80), primary_key=True),
    Column("value", String(500), primary_key=True),
    reference("paper_id", "papers.id"),
)

# Records are compared only if they share a blocking key.
blocking_keys = table(
    "blocking_keys",
    Column("key", String(510), primary_key=True),
    key_of("paper_id", "papers.id", index=True),
    sqlite_with_rowid=False,
)

# Pairs of papers that a person split: they are never merged again.
work_splits = table(
    "work_splits",
    key_of("paper_id", "papers.id"),
    key_of("other_id", "papers.id", index=True),
    Column("at", UtcDateTime, nullable=False),
)

paper_records = numbered_table(
    "paper_records",
    reference("paper_id", "papers.id", index=False),
    Column("origin", String(200), nullable=False),
    Column("source", String(80), nullable=False),
    Column("source_id", String(200)),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("listed_on", Date, nullable=False),
    Column("raw_title", Text, nullable=False),
    Column("raw_abstract", Text, nullable=False),
    # The other cleaned fields. Works are built from them again after a split or a merge.
    Column("facts", JSON, nullable=False, server_default="{}"),
    Column("content_hash", String(32), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    UniqueConstraint("paper_id", "origin", "version", "content_hash"),
)

encodings = table(
    "encodings",
    Column("encoder_version", String(80), primary_key=True),
    key_of("paper_id", "papers.id", index=True),
    Column("latent", LargeBinary, nullable=False),
    Column("tfidf_ids", LargeBinary, nullable=False),
    Column("tfidf_weights", LargeBinary, nullable=False),
    Column("semantic", LargeBinary, nullable=False),
    Column("hubness", Float, nullable=False),
    Column("training_semantic", LargeBinary, nullable=False),
    Column("training_hubness", Float, nullable=False),
)

quarantine = numbered_table(
    "quarantine",
    Column("origin", String(200), nullable=False),
    Column("place", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("raw", Text, nullable=False),
    Column("content_hash", String(32), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    UniqueConstraint("origin", "content_hash"),
)

# The rate limiter of each server, for all processes.
request_limits = table(
    "request_limits",
    Column("name", String(200), primary_key=True),
    Column("owner", String(120), nullable=False, server_default=""),
    Column("until", UtcDateTime),
    Column("not_before", UtcDateTime),
    Column("on", Date),
    Column("n_asked", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
)

source_cursors = table(
    "source_cursors",
    Column("source", String(200), primary_key=True),
    Column("cursor", Text, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

source_days = table(
    "source_days",
    Column("source", String(80), primary_key=True),
    Column("category", String(80), primary_key=True, server_default=""),
    Column("on", Date, primary_key=True),
    Column("verdict", String(20), nullable=False),
    Column("expected", Integer),
    Column("got", Integer, nullable=False),
    Column("pages", Integer, nullable=False, server_default="0"),
    Column("note", Text, nullable=False, server_default=""),
    Column("checked_at", UtcDateTime, nullable=False),
)

subscribers = numbered_table(
    "subscribers",
    Column("public_id", String(20), nullable=False, unique=True),
    Column("email", String(320), nullable=False),
    Column("email_key", String(320), nullable=False, unique=True),
    Column("state", String(20), nullable=False, index=True),
    Column("zone", String(80), nullable=False),
    Column("hour", Integer, nullable=False),
    Column("frequency", String(20), nullable=False),
    Column("detail", String(20), nullable=False),
    Column("interests", Text, nullable=False, server_default=""),
    Column("categories", JSON, nullable=False),
    Column("followed_authors", JSON, nullable=False),
    Column("include_keywords", JSON, nullable=False),
    Column("exclude_keywords", JSON, nullable=False),
    Column("revisions", Boolean, nullable=False, server_default=false()),
    # Bit 0 is Monday.
    Column("weekdays", Integer, nullable=False, server_default="127"),
    Column("paused_until", Date),
    Column("score_floor", Float),
    Column("size", Integer),
    Column("recap", Boolean, nullable=False, server_default=false()),
    Column("explores", Boolean, nullable=False, server_default=true()),
    Column("community", Float, nullable=False, server_default="1"),
    Column("consent", Text, nullable=False, server_default=""),
    Column("created_at", UtcDateTime, nullable=False),
    Column("confirmed_at", UtcDateTime),
    Column("state_changed_at", UtcDateTime, nullable=False),
)

# Papers that were named and not stored then. Without a subscriber, the operator named them.
named_papers = numbered_table(
    "named_papers",
    reference("subscriber_id", "subscribers.id", index=False, nullable=True),
    # `arxiv`, `doi`, or `title` for a paper without an id.
    Column("scheme", String(80), nullable=False),
    Column("value", String(500), nullable=False),
    Column("title", Text, nullable=False, server_default=""),
    Column("authors", JSON, nullable=False),
    # The evidence of the like that it becomes.
    Column("method", String(40), nullable=False, server_default=""),
    Column("added_at", UtcDateTime, nullable=False),
    # When a service last answered that it does not have the paper, and how often.
    Column("asked_at", UtcDateTime),
    Column("n_asked", Integer, nullable=False, server_default="0"),
    reference("paper_id", "papers.id", nullable=True),
    # When a digest told the subscriber what became of it.
    Column("told_at", UtcDateTime),
    UniqueConstraint("subscriber_id", "scheme", "value"),
    Index("ix_named_papers_scheme_value", "scheme", "value"),
)

# The Zotero libraries that are read once a day.
zotero_libraries = table(
    "zotero_libraries",
    key_of("subscriber_id", "subscribers.id"),
    Column("api_key", String(64), nullable=False),
    # What the library had when it was read last.
    Column("items", JSON, nullable=False),
    Column("read_at", UtcDateTime),
)

interests = table(
    "interests",
    key_of("subscriber_id", "subscribers.id"),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(200), nullable=False),
    Column("papers", JSON, nullable=False),
    Column("phrases", JSON, nullable=False),
    Column("muted", Boolean, nullable=False),
    Column("paused_until", Date),
    Column("updated_at", UtcDateTime, nullable=False),
)

user_models = table(
    "user_models",
    key_of("subscriber_id", "subscribers.id"),
    Column("key", String(40), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
)

# The part that all user models of one encoder and month share.
user_model_backgrounds = table(
    "user_model_backgrounds",
    Column("name", String(120), primary_key=True),
    Column("everybody", LargeBinary, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
)

runs = numbered_table(
    "runs",
    Column("on", Date, nullable=False, unique=True),
    Column("stage", String(20), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)

slates = numbered_table(
    "slates",
    Column("public_id", String(20), nullable=False, unique=True),
    reference("subscriber_id", "subscribers.id", index=False),
    Column("on", Date, nullable=False, index=True),
    Column("run_id", Id, ForeignKey("runs.id"), nullable=False),
    Column("n_candidates", Integer, nullable=False),
    Column("scorer_version", String(80), nullable=False),
    Column("encoder_version", String(80), nullable=False),
    Column("feature_version", String(20), nullable=False),
    Column("day_report", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("subscriber_id", "on"),
)

impressions = numbered_table(
    "impressions",
    reference("slate_id", "slates.id", index=False),
    reference("subscriber_id", "subscribers.id"),
    reference("paper_id", "papers.id"),
    Column("position", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("propensity", Float, nullable=False),
    Column("policy", String(20), nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("reasons", JSON, nullable=False),
    # The chance before the corrections; null where the score is no chance.
    Column("prior", Float),
    # Set if the digest was not delivered: the paper may then be shown again.
    Column("released_at", UtcDateTime),
    UniqueConstraint("slate_id", "position"),
    partial_index(
        "uq_impressions_once_ever",
        *("subscriber_id", "paper_id"),
        where="released_at IS NULL",
        unique=True,
    ),
)

events = numbered_table(
    "events",
    reference("subscriber_id", "subscribers.id", index=False),
    reference("paper_id", "papers.id"),
    reference("slate_id", "slates.id", nullable=True),
    Column("kind", String(20), nullable=False),
    Column("origin", String(20), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("evidence", JSON, nullable=False),
    Index("ix_events_last_vote", "subscriber_id", "paper_id", "at"),
)

# Rows of `events`, `named_papers` and `interests` that can be brought back for an hour.
forgotten_votes = numbered_table(
    "forgotten_votes",
    reference("subscriber_id", "subscribers.id"),
    Column("table", String(40), nullable=False),
    Column("content", JSON, nullable=False),
    Column("forgotten_at", UtcDateTime, nullable=False),
)

collections = numbered_table(
    "collections",
    reference("subscriber_id", "subscribers.id", index=False),
    Column("name", String(80), nullable=False),
    # Of a saved search, which finds its papers itself; as in the address of the search page.
    Column("query", Text, nullable=False, server_default=""),
    # For the secret address of its feed: a new one revokes the old address.
    Column("public_id", String(20), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("subscriber_id", "name"),
)

collected_papers = table(
    "collected_papers",
    key_of("collection_id", "collections.id"),
    key_of("paper_id", "papers.id", index=True),
    Column("added_at", UtcDateTime, nullable=False),
)

model_versions = table(
    "model_versions",
    Column("version", String(80), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("encoder_version", String(80)),
    Column("metrics", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

model_promotions = numbered_table(
    "model_promotions",
    Column("scorer_version", String(80), nullable=False),
    Column("encoder_version", String(80), nullable=False),
    Column("why", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

leases = table(
    "leases",
    Column("name", String(80), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

jobs = table(
    "jobs",
    Column("name", String(200), primary_key=True),
    Column("done_at", UtcDateTime, nullable=False),
    Column("outcome", Text, nullable=False),
)

# Requests from the pages, which a separate job answers.
signup_requests = numbered_table(
    "signup_requests",
    Column("public_id", String(20), nullable=False, unique=True),
    Column("kind", String(20), nullable=False),
    Column("email", String(320), nullable=False),
    Column("address_key", String(320), nullable=False, index=True),
    Column("domain", String(255), nullable=False),
    Column("network", String(64), nullable=False),
    Column("details", JSON, nullable=False),
    Column("binding", String(64), nullable=False, server_default=""),
    Column("code", String(6), nullable=False, server_default=""),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("at", UtcDateTime, nullable=False),
    Column("answered_at", UtcDateTime, index=True),
    Column("used_at", UtcDateTime),
)

sessions = table(
    "sessions",
    Column("key_hash", String(64), primary_key=True),
    reference("subscriber_id", "subscribers.id"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

# The current feed of each subscriber: a new id revokes the links to the old one.
feeds = table(
    "feeds",
    key_of("subscriber_id", "subscribers.id"),
    Column("public_id", String(20), nullable=False, unique=True),
    Column("made_at", UtcDateTime, nullable=False),
)
