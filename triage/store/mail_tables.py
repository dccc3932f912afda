"""The tables of mail: the outbox, bounces, and what limits sending. `tables` has all tables."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
)

from triage.store.column_types import (
    Id,
    String,
    Text,
    UtcDateTime,
    key_of,
    numbered_table,
    reference,
    table,
)

messages = numbered_table(
    "messages",
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
"""Triggers of the first migration refuse changes of state that `store.messages` does not allow."""

# Not in `messages`, because SQLite writes the whole row when one column changes.
message_bodies = table(
    "message_bodies",
    key_of("message_id", "messages.id"),
    Column("mime", LargeBinary, nullable=False),
)

# One row for each claim; `number` is its lease epoch, `phase` the last state of the message.
attempts = numbered_table(
    "attempts",
    reference("message_id", "messages.id", index=False),
    Column("number", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("phase", String(20), nullable=False, server_default=""),
    Column("outcome", String(20), nullable=False, server_default=""),
    Column("reply", Text, nullable=False, server_default=""),
    UniqueConstraint("message_id", "number"),
)

# The blocklist, as keyed hashes; rows stay after a subscriber is deleted.
suppressions = table(
    "suppressions",
    Column("address_hash", String(64), primary_key=True),
    Column("reason", String(80), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

# Bounces as received, also those of no known message.
bounces = numbered_table(
    "bounces",
    Column("content_hash", String(64), nullable=False, unique=True),
    Column("received_at", UtcDateTime, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("status", String(20), nullable=False, server_default=""),
    reference("message_id", "messages.id", nullable=True),
    reference("subscriber_id", "subscribers.id", nullable=True),
    Column("raw", LargeBinary),
)

# Token buckets, one for each domain, and one for all mail with the name "*".
send_rates = table(
    "send_rates",
    Column("name", String(255), primary_key=True),
    Column("tokens", Float, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

# While a row exists, nothing is sent.
sending_holds = table(
    "sending_holds",
    Column("name", String(80), primary_key=True),
    Column("why", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

# Which sent log belongs to this database, to detect a lost or replaced one.
sent_logs = table(
    "sent_logs",
    Column("name", String(200), primary_key=True),
    Column("generation", String(40), nullable=False),
    Column("begun_at", UtcDateTime, nullable=False),
)
