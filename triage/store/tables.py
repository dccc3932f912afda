"""The database schema: one table a noun. Migrations build it; a test compares the two.

`papers` holds works, one row each; `paper_ids` says under which outside ids a work is known, and
`paper_records` what each origin said of it, as received. `impressions` is the log that training
reads; `events` is append-only; `messages` is the outbox.
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
    Table,
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
    partial_index,
    reference,
)
from triage.store.column_types import metadata as metadata

FIRST_REVISION = "1001"
"""The first migration. Versions that were never released had numbers below it."""

SCHEMA_REVISION = "1001"
"""The migration that this program needs; a test compares it with the newest one."""


papers = Table(
    "papers",
    metadata,
    Column("id", Id, primary_key=True),
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
    # Set where two rows turned out to be one work.
    Column("merged_into", Id),
    Column("merged_because", Text, nullable=False, server_default=""),
    Column("revised_on", Date),
    # Of the merged rows alone: SQLite would look for all others in it, which are nearly all rows.
    partial_index("ix_papers_merged_into", "merged_into", where="merged_into IS NOT NULL"),
    # Only some sources know of upvotes, so this is small.
    partial_index("ix_papers_upvoted", "listed_on", where="upvotes > 0"),
)

paper_ids = Table(
    "paper_ids",
    metadata,
    Column("scheme", String(80), primary_key=True),
    Column("value", String(500), primary_key=True),
    reference("paper_id", "papers.id"),
)

# What records of one work have in common even when edited: records that share one are compared.
blocking_keys = Table(
    "blocking_keys",
    metadata,
    Column("key", String(510), primary_key=True),
    key_of("paper_id", "papers.id", index=True),
    sqlite_with_rowid=False,
)

# Works that a person has parted: no title or DOI joins them again.
work_splits = Table(
    "work_splits",
    metadata,
    key_of("paper_id", "papers.id"),
    key_of("other_id", "papers.id", index=True),
    Column("at", UtcDateTime, nullable=False),
)

paper_records = Table(
    "paper_records",
    metadata,
    Column("id", Id, primary_key=True),
    reference("paper_id", "papers.id", index=False),
    Column("origin", String(200), nullable=False),
    Column("source", String(80), nullable=False),
    Column("source_id", String(200)),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("listed_on", Date, nullable=False),
    Column("raw_title", Text, nullable=False),
    Column("raw_abstract", Text, nullable=False),
    # What else it says, as cleaned: all that a work is made of again when it is parted or joined.
    Column("facts", JSON, nullable=False, server_default="{}"),
    Column("content_hash", String(32), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    UniqueConstraint("paper_id", "origin", "version", "content_hash"),
)

encodings = Table(
    "encodings",
    metadata,
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

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Id, primary_key=True),
    Column("origin", String(200), nullable=False),
    Column("place", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("raw", Text, nullable=False),
    Column("content_hash", String(32), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    UniqueConstraint("origin", "content_hash"),
)

# One row a server: all processes ask it in turn.
request_limits = Table(
    "request_limits",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("owner", String(120), nullable=False, server_default=""),
    Column("until", UtcDateTime),
    Column("not_before", UtcDateTime),
    Column("on", Date),
    Column("n_asked", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
)

source_cursors = Table(
    "source_cursors",
    metadata,
    Column("source", String(200), primary_key=True),
    Column("cursor", Text, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

source_days = Table(
    "source_days",
    metadata,
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

subscribers = Table(
    "subscribers",
    metadata,
    Column("id", Id, primary_key=True),
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

interests = Table(
    "interests",
    metadata,
    key_of("subscriber_id", "subscribers.id"),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(200), nullable=False),
    Column("papers", JSON, nullable=False),
    Column("phrases", JSON, nullable=False),
    Column("muted", Boolean, nullable=False),
    Column("paused_until", Date),
    Column("updated_at", UtcDateTime, nullable=False),
)

user_models = Table(
    "user_models",
    metadata,
    key_of("subscriber_id", "subscribers.id"),
    Column("key", String(40), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
)

# What all tastes of one encoder and month share is stored once.
user_model_backgrounds = Table(
    "user_model_backgrounds",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("everybody", LargeBinary, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("on", Date, nullable=False, unique=True),
    Column("stage", String(20), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)

slates = Table(
    "slates",
    metadata,
    Column("id", Id, primary_key=True),
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

impressions = Table(
    "impressions",
    metadata,
    Column("id", Id, primary_key=True),
    reference("slate_id", "slates.id", index=False),
    reference("subscriber_id", "subscribers.id"),
    reference("paper_id", "papers.id"),
    Column("position", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("propensity", Float, nullable=False),
    Column("policy", String(20), nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("reasons", JSON, nullable=False),
    # Set when the digest could never be delivered: the paper may then be shown again.
    Column("released_at", UtcDateTime),
    UniqueConstraint("slate_id", "position"),
    partial_index(
        "uq_impressions_once_ever",
        *("subscriber_id", "paper_id"),
        where="released_at IS NULL",
        unique=True,
    ),
)

events = Table(
    "events",
    metadata,
    Column("id", Id, primary_key=True),
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

messages = Table(
    "messages",
    metadata,
    Column("id", Id, primary_key=True),
    Column("message_id", String(200), nullable=False, unique=True),
    reference("subscriber_id", "subscribers.id", index=False),
    Column("slate_id", Id, ForeignKey("slates.id", ondelete="CASCADE"), unique=True),
    Column("on", Date, nullable=False),
    Column("kind", String(20), nullable=False, server_default="digest"),
    Column("state", String(20), nullable=False),
    Column("reason", String(80), nullable=False, server_default=""),
    Column("recipient", String(320), nullable=False),
    Column("mime_sha256", String(64)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("resends", Integer, nullable=False, server_default="0"),
    # How often a sender died while it held this message.
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("doubted_at", UtcDateTime),
    Column("not_before", UtcDateTime),
    Column("lease_owner", String(120)),
    Column("lease_epoch", Integer, nullable=False, server_default="0"),
    Column("lease_until", UtcDateTime),
    Column("last_reply", Text, nullable=False, server_default=""),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    UniqueConstraint("subscriber_id", "on", "kind"),
    Index("ix_messages_state_not_before", "state", "not_before"),
)
"""Triggers, which the first migration makes, refuse ways that `store.messages` does not lay out."""

# Apart from the states: SQLite writes a whole row, however long, when one column changes.
message_bodies = Table(
    "message_bodies",
    metadata,
    key_of("message_id", "messages.id"),
    Column("mime", LargeBinary, nullable=False),
)

# One row a claim; `number` is the claim's epoch, `phase` how far it came.
attempts = Table(
    "attempts",
    metadata,
    Column("id", Id, primary_key=True),
    reference("message_id", "messages.id", index=False),
    Column("number", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("phase", String(20), nullable=False, server_default=""),
    Column("outcome", String(20), nullable=False, server_default=""),
    Column("reply", Text, nullable=False, server_default=""),
    UniqueConstraint("message_id", "number"),
)

# Addresses that get nothing, as keyed hashes: they outlive the subscriber.
suppressions = Table(
    "suppressions",
    metadata,
    Column("address_hash", String(64), primary_key=True),
    Column("reason", String(80), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

# What came back, as received; what belongs to nobody is kept, too.
bounces = Table(
    "bounces",
    metadata,
    Column("id", Id, primary_key=True),
    Column("content_hash", String(64), nullable=False, unique=True),
    Column("received_at", UtcDateTime, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("status", String(20), nullable=False, server_default=""),
    reference("message_id", "messages.id", nullable=True),
    reference("subscriber_id", "subscribers.id", nullable=True),
    Column("raw", LargeBinary),
)

# Token buckets: a domain's, and that of all mail under the name "*".
send_rates = Table(
    "send_rates",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("tokens", Float, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

# While a row is here nothing is sent.
sending_holds = Table(
    "sending_holds",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("why", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

# Which sent journal belongs to this database: a lost or exchanged one is noticed.
sent_logs = Table(
    "sent_logs",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("generation", String(40), nullable=False),
    Column("begun_at", UtcDateTime, nullable=False),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("version", String(80), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("encoder_version", String(80)),
    Column("metrics", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

model_promotions = Table(
    "model_promotions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("scorer_version", String(80), nullable=False),
    Column("encoder_version", String(80), nullable=False),
    Column("why", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("done_at", UtcDateTime, nullable=False),
    Column("outcome", Text, nullable=False),
)

# What people ask for on the pages; whether it is granted is decided apart from their request.
signup_requests = Table(
    "signup_requests",
    metadata,
    Column("id", Id, primary_key=True),
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

sessions = Table(
    "sessions",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    reference("subscriber_id", "subscribers.id"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

# Which feed of a subscriber is live: another id revokes all links to the one before.
feeds = Table(
    "feeds",
    metadata,
    key_of("subscriber_id", "subscribers.id"),
    Column("public_id", String(20), nullable=False, unique=True),
    Column("made_at", UtcDateTime, nullable=False),
)
