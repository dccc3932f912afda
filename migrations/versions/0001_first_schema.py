"""The first schema: papers, subscribers, slates, impressions, events, messages, versions.

Revision: 0001, after nothing. Spelled out, for the tables of the program change and this must not.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "model_versions",
        sa.Column("version", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("encoder_version", sa.String(length=80), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_model_versions")),
    )
    op.create_table(
        "papers",
        sa.Column("id", ID, nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("title_key", sa.String(length=500), nullable=False),
        sa.Column("abstract", sa.Text(), nullable=False),
        sa.Column("authors", sa.JSON(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("listed_on", sa.Date(), nullable=False),
        sa.Column("comment", sa.Text(), server_default="", nullable=False),
        sa.Column("upvotes", sa.Integer(), nullable=True),
        sa.Column("tldr", sa.Text(), server_default="", nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_papers")),
    )
    op.create_index(op.f("ix_papers_listed_on"), "papers", ["listed_on"], unique=False)
    op.create_index(op.f("ix_papers_title_key"), "papers", ["title_key"], unique=False)
    op.create_table(
        "promotions",
        sa.Column("id", ID, nullable=False),
        sa.Column("scorer_version", sa.String(length=80), nullable=False),
        sa.Column("encoder_version", sa.String(length=80), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", ID, nullable=False),
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("place", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint(
            "origin", "content_hash", name=op.f("uq_quarantine_origin_content_hash")
        ),
    )
    op.create_table(
        "runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("on", name=op.f("uq_runs_on")),
    )
    op.create_table(
        "source_cursors",
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_source_cursors")),
    )
    op.create_table(
        "source_days",
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("category", sa.String(length=80), server_default="", nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("expected", sa.Integer(), nullable=True),
        sa.Column("got", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer(), server_default="0", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "category", "on", name=op.f("pk_source_days")),
    )
    op.create_table(
        "subscribers",
        sa.Column("id", ID, nullable=False),
        sa.Column("public_id", sa.String(length=20), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("email_key", sa.String(length=320), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("zone", sa.String(length=80), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("frequency", sa.String(length=20), nullable=False),
        sa.Column("detail", sa.String(length=20), nullable=False),
        sa.Column("interests", sa.Text(), server_default="", nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("followed_authors", sa.JSON(), nullable=False),
        sa.Column("include_keywords", sa.JSON(), nullable=False),
        sa.Column("exclude_keywords", sa.JSON(), nullable=False),
        sa.Column("consent", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state_changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscribers")),
        sa.UniqueConstraint("email_key", name=op.f("uq_subscribers_email_key")),
        sa.UniqueConstraint("public_id", name=op.f("uq_subscribers_public_id")),
    )
    op.create_index(op.f("ix_subscribers_state"), "subscribers", ["state"], unique=False)
    op.create_table(
        "encodings",
        sa.Column("encoder_version", sa.String(length=80), nullable=False),
        sa.Column("paper_id", ID, nullable=False),
        sa.Column("dense", sa.LargeBinary(), nullable=False),
        sa.Column("word_ids", sa.LargeBinary(), nullable=False),
        sa.Column("word_weights", sa.LargeBinary(), nullable=False),
        sa.Column("sense", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_encodings_paper_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("encoder_version", "paper_id", name=op.f("pk_encodings")),
    )
    op.create_index(op.f("ix_encodings_paper_id"), "encodings", ["paper_id"], unique=False)
    op.create_table(
        "paper_ids",
        sa.Column("scheme", sa.String(length=80), nullable=False),
        sa.Column("value", sa.String(length=500), nullable=False),
        sa.Column("paper_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_paper_ids_paper_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scheme", "value", name=op.f("pk_paper_ids")),
    )
    op.create_index(op.f("ix_paper_ids_paper_id"), "paper_ids", ["paper_id"], unique=False)
    op.create_table(
        "paper_records",
        sa.Column("id", ID, nullable=False),
        sa.Column("paper_id", ID, nullable=False),
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=True),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("listed_on", sa.Date(), nullable=False),
        sa.Column("raw_title", sa.Text(), nullable=False),
        sa.Column("raw_abstract", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_paper_records_paper_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_records")),
        sa.UniqueConstraint(
            "paper_id",
            "origin",
            "version",
            "content_hash",
            name=op.f("uq_paper_records_paper_id_origin_version_content_hash"),
        ),
    )
    op.create_table(
        "slates",
        sa.Column("id", ID, nullable=False),
        sa.Column("public_id", sa.String(length=20), nullable=False),
        sa.Column("subscriber_id", ID, nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("n_candidates", sa.Integer(), nullable=False),
        sa.Column("scorer_version", sa.String(length=80), nullable=False),
        sa.Column("encoder_version", sa.String(length=80), nullable=False),
        sa.Column("feature_version", sa.String(length=20), nullable=False),
        sa.Column("day_report", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_slates_run_id")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_slates_subscriber_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slates")),
        sa.UniqueConstraint("public_id", name=op.f("uq_slates_public_id")),
        sa.UniqueConstraint("subscriber_id", "on", name=op.f("uq_slates_subscriber_id_on")),
    )
    op.create_index(op.f("ix_slates_on"), "slates", ["on"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", ID, nullable=False),
        sa.Column("subscriber_id", ID, nullable=False),
        sa.Column("paper_id", ID, nullable=False),
        sa.Column("slate_id", ID, nullable=True),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("origin", sa.String(length=20), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_events_paper_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["slate_id"], ["slates.id"], name=op.f("fk_events_slate_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_events_subscriber_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(
        "ix_events_last_vote", "events", ["subscriber_id", "paper_id", "at"], unique=False
    )
    op.create_index(op.f("ix_events_paper_id"), "events", ["paper_id"], unique=False)
    op.create_index(op.f("ix_events_slate_id"), "events", ["slate_id"], unique=False)
    op.create_table(
        "impressions",
        sa.Column("id", ID, nullable=False),
        sa.Column("slate_id", ID, nullable=False),
        sa.Column("subscriber_id", ID, nullable=False),
        sa.Column("paper_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("propensity", sa.Float(), nullable=False),
        sa.Column("policy", sa.String(length=20), nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_impressions_paper_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["slate_id"], ["slates.id"], name=op.f("fk_impressions_slate_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_impressions_subscriber_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_impressions")),
        sa.UniqueConstraint("slate_id", "position", name=op.f("uq_impressions_slate_id_position")),
    )
    op.create_index(op.f("ix_impressions_paper_id"), "impressions", ["paper_id"], unique=False)
    op.create_index(
        op.f("ix_impressions_subscriber_id"), "impressions", ["subscriber_id"], unique=False
    )
    op.create_index(
        "uq_impressions_once_ever",
        "impressions",
        ["subscriber_id", "paper_id"],
        unique=True,
        sqlite_where=sa.text("released_at IS NULL"),
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_table(
        "messages",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", sa.String(length=200), nullable=False),
        sa.Column("subscriber_id", ID, nullable=False),
        sa.Column("slate_id", ID, nullable=True),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(length=20), server_default="digest", nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=80), server_default="", nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("mime", sa.LargeBinary(), nullable=True),
        sa.Column("mime_sha256", sa.String(length=64), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("resends", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(length=120), nullable=True),
        sa.Column("lease_epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_reply", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["slate_id"], ["slates.id"], name=op.f("fk_messages_slate_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_messages_subscriber_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("message_id", name=op.f("uq_messages_message_id")),
        sa.UniqueConstraint("slate_id", name=op.f("uq_messages_slate_id")),
        sa.UniqueConstraint(
            "subscriber_id", "on", "kind", name=op.f("uq_messages_subscriber_id_on_kind")
        ),
    )
    op.create_index(
        "ix_messages_state_not_before", "messages", ["state", "not_before"], unique=False
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward: restore the back-up instead")
