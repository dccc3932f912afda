"""The first schema.

Revision: 1001, the first one. It does not use `tables.py`, because a migration must not change when
the tables do. Versions before the first release had lower numbers.

Triggers do two things. They refuse changes of state that the outbox does not allow, and all changes
of sent messages and of bytes. And they keep the word index equal to the papers that are neither
withdrawn nor merged into another. They are triggers because papers are written in several places,
and by other programs when a database is copied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_tables()
    if op.get_bind().dialect.name == "sqlite":
        _guard_messages_on_sqlite()
        _index_words_on_sqlite()
    else:
        _guard_messages_on_postgres()
        _index_words_on_postgres()


def _create_tables() -> None:
    id_type = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    when = sa.DateTime(timezone=True)
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("done_at", when, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_jobs")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("owner", sa.String(120), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("until", when, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "model_promotions",
        sa.Column("id", id_type, nullable=False),
        sa.Column("scorer_version", sa.String(80), nullable=False),
        sa.Column("encoder_version", sa.String(80), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", when, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_promotions")),
    )
    op.create_table(
        "model_versions",
        sa.Column("version", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("encoder_version", sa.String(80), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("created_at", when, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_model_versions")),
    )
    op.create_table(
        "papers",
        sa.Column("id", id_type, nullable=False),
        sa.Column("source", sa.String(80), nullable=False),
        sa.Column("source_id", sa.String(200), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("title_key", sa.String(500), nullable=False),
        sa.Column("abstract", sa.Text(), nullable=False),
        sa.Column("authors", sa.JSON(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("listed_on", sa.Date(), nullable=False),
        sa.Column("comment", sa.Text(), server_default="", nullable=False),
        sa.Column("upvotes", sa.Integer(), nullable=True),
        sa.Column("tldr", sa.Text(), server_default="", nullable=False),
        sa.Column("first_seen_at", when, nullable=False),
        sa.Column("updated_at", when, nullable=False),
        sa.Column("withdrawn_at", when, nullable=True),
        sa.Column("venue", sa.Text(), server_default="", nullable=False),
        sa.Column("citations", sa.Integer(), nullable=True),
        sa.Column("enriched_at", when, nullable=True),
        sa.Column("merged_into", id_type, nullable=True),
        sa.Column("merged_because", sa.Text(), server_default="", nullable=False),
        sa.Column("revised_on", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_papers")),
    )
    op.create_index(op.f("ix_papers_listed_on"), "papers", ["listed_on"], unique=False)
    op.create_index(
        "ix_papers_merged_into",
        "papers",
        ["merged_into"],
        unique=False,
        sqlite_where=sa.text("merged_into IS NOT NULL"),
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )
    op.create_index(op.f("ix_papers_title_key"), "papers", ["title_key"], unique=False)
    op.create_index(
        "ix_papers_upvoted",
        "papers",
        ["listed_on"],
        unique=False,
        sqlite_where=sa.text("upvotes > 0"),
        postgresql_where=sa.text("upvotes > 0"),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", id_type, nullable=False),
        sa.Column("origin", sa.String(200), nullable=False),
        sa.Column("place", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.String(32), nullable=False),
        sa.Column("received_at", when, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint(
            "origin", "content_hash", name=op.f("uq_quarantine_origin_content_hash")
        ),
    )
    op.create_table(
        "request_limits",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("owner", sa.String(120), server_default="", nullable=False),
        sa.Column("until", when, nullable=True),
        sa.Column("not_before", when, nullable=True),
        sa.Column("on", sa.Date(), nullable=True),
        sa.Column("n_asked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_request_limits")),
    )
    op.create_table(
        "runs",
        sa.Column("id", id_type, nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("started_at", when, nullable=False),
        sa.Column("finished_at", when, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("on", name=op.f("uq_runs_on")),
    )
    op.create_table(
        "send_rates",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("at", when, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_send_rates")),
    )
    op.create_table(
        "sending_holds",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", when, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sending_holds")),
    )
    op.create_table(
        "sent_logs",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("generation", sa.String(40), nullable=False),
        sa.Column("begun_at", when, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sent_logs")),
    )
    op.create_table(
        "signup_requests",
        sa.Column("id", id_type, nullable=False),
        sa.Column("public_id", sa.String(20), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("address_key", sa.String(320), nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("network", sa.String(64), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("binding", sa.String(64), server_default="", nullable=False),
        sa.Column("code", sa.String(6), server_default="", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("at", when, nullable=False),
        sa.Column("answered_at", when, nullable=True),
        sa.Column("used_at", when, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signup_requests")),
        sa.UniqueConstraint("public_id", name=op.f("uq_signup_requests_public_id")),
    )
    op.create_index(
        op.f("ix_signup_requests_address_key"), "signup_requests", ["address_key"], unique=False
    )
    op.create_index(
        op.f("ix_signup_requests_answered_at"), "signup_requests", ["answered_at"], unique=False
    )
    op.create_table(
        "source_cursors",
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("updated_at", when, nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_source_cursors")),
    )
    op.create_table(
        "source_days",
        sa.Column("source", sa.String(80), nullable=False),
        sa.Column("category", sa.String(80), server_default="", nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("expected", sa.Integer(), nullable=True),
        sa.Column("got", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer(), server_default="0", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("checked_at", when, nullable=False),
        sa.PrimaryKeyConstraint("source", "category", "on", name=op.f("pk_source_days")),
    )
    op.create_table(
        "subscribers",
        sa.Column("id", id_type, nullable=False),
        sa.Column("public_id", sa.String(20), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("email_key", sa.String(320), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("zone", sa.String(80), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("frequency", sa.String(20), nullable=False),
        sa.Column("detail", sa.String(20), nullable=False),
        sa.Column("interests", sa.Text(), server_default="", nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("followed_authors", sa.JSON(), nullable=False),
        sa.Column("include_keywords", sa.JSON(), nullable=False),
        sa.Column("exclude_keywords", sa.JSON(), nullable=False),
        sa.Column("revisions", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("weekdays", sa.Integer(), server_default="127", nullable=False),
        sa.Column("paused_until", sa.Date(), nullable=True),
        sa.Column("score_floor", sa.Float(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("recap", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("explores", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("community", sa.Float(), server_default="1", nullable=False),
        sa.Column("consent", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", when, nullable=False),
        sa.Column("confirmed_at", when, nullable=True),
        sa.Column("state_changed_at", when, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscribers")),
        sa.UniqueConstraint("email_key", name=op.f("uq_subscribers_email_key")),
        sa.UniqueConstraint("public_id", name=op.f("uq_subscribers_public_id")),
    )
    op.create_index(op.f("ix_subscribers_state"), "subscribers", ["state"], unique=False)
    op.create_table(
        "suppressions",
        sa.Column("address_hash", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(80), nullable=False),
        sa.Column("at", when, nullable=False),
        sa.PrimaryKeyConstraint("address_hash", name=op.f("pk_suppressions")),
    )
    op.create_table(
        "user_model_backgrounds",
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("everybody", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", when, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_user_model_backgrounds")),
    )
    op.create_table(
        "blocking_keys",
        sa.Column("key", sa.String(510), nullable=False),
        sa.Column("paper_id", id_type, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_blocking_keys_paper_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", "paper_id", name=op.f("pk_blocking_keys")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_blocking_keys_paper_id"), "blocking_keys", ["paper_id"], unique=False)
    op.create_table(
        "encodings",
        sa.Column("encoder_version", sa.String(80), nullable=False),
        sa.Column("paper_id", id_type, autoincrement=False, nullable=False),
        sa.Column("latent", sa.LargeBinary(), nullable=False),
        sa.Column("tfidf_ids", sa.LargeBinary(), nullable=False),
        sa.Column("tfidf_weights", sa.LargeBinary(), nullable=False),
        sa.Column("semantic", sa.LargeBinary(), nullable=False),
        sa.Column("hubness", sa.Float(), nullable=False),
        sa.Column("training_semantic", sa.LargeBinary(), nullable=False),
        sa.Column("training_hubness", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_encodings_paper_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("encoder_version", "paper_id", name=op.f("pk_encodings")),
    )
    op.create_index(op.f("ix_encodings_paper_id"), "encodings", ["paper_id"], unique=False)
    op.create_table(
        "feeds",
        sa.Column("subscriber_id", id_type, autoincrement=False, nullable=False),
        sa.Column("public_id", sa.String(20), nullable=False),
        sa.Column("made_at", when, nullable=False),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_feeds_subscriber_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscriber_id", name=op.f("pk_feeds")),
        sa.UniqueConstraint("public_id", name=op.f("uq_feeds_public_id")),
    )
    op.create_table(
        "interests",
        sa.Column("subscriber_id", id_type, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("papers", sa.JSON(), nullable=False),
        sa.Column("phrases", sa.JSON(), nullable=False),
        sa.Column("muted", sa.Boolean(), nullable=False),
        sa.Column("paused_until", sa.Date(), nullable=True),
        sa.Column("updated_at", when, nullable=False),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_interests_subscriber_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscriber_id", "number", name=op.f("pk_interests")),
    )
    op.create_table(
        "paper_ids",
        sa.Column("scheme", sa.String(80), nullable=False),
        sa.Column("value", sa.String(500), nullable=False),
        sa.Column("paper_id", id_type, nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_paper_ids_paper_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scheme", "value", name=op.f("pk_paper_ids")),
    )
    op.create_index(op.f("ix_paper_ids_paper_id"), "paper_ids", ["paper_id"], unique=False)
    op.create_table(
        "paper_records",
        sa.Column("id", id_type, nullable=False),
        sa.Column("paper_id", id_type, nullable=False),
        sa.Column("origin", sa.String(200), nullable=False),
        sa.Column("source", sa.String(80), nullable=False),
        sa.Column("source_id", sa.String(200), nullable=True),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("listed_on", sa.Date(), nullable=False),
        sa.Column("raw_title", sa.Text(), nullable=False),
        sa.Column("raw_abstract", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("content_hash", sa.String(32), nullable=False),
        sa.Column("received_at", when, nullable=False),
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
        "sessions",
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("subscriber_id", id_type, nullable=False),
        sa.Column("created_at", when, nullable=False),
        sa.Column("until", when, nullable=False),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_sessions_subscriber_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_subscriber_id"), "sessions", ["subscriber_id"], unique=False)
    op.create_table(
        "slates",
        sa.Column("id", id_type, nullable=False),
        sa.Column("public_id", sa.String(20), nullable=False),
        sa.Column("subscriber_id", id_type, nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("run_id", id_type, nullable=False),
        sa.Column("n_candidates", sa.Integer(), nullable=False),
        sa.Column("scorer_version", sa.String(80), nullable=False),
        sa.Column("encoder_version", sa.String(80), nullable=False),
        sa.Column("feature_version", sa.String(20), nullable=False),
        sa.Column("day_report", sa.Text(), nullable=False),
        sa.Column("created_at", when, nullable=False),
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
        "user_models",
        sa.Column("subscriber_id", id_type, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", when, nullable=False),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_user_models_subscriber_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscriber_id", name=op.f("pk_user_models")),
    )
    op.create_table(
        "work_splits",
        sa.Column("paper_id", id_type, autoincrement=False, nullable=False),
        sa.Column("other_id", id_type, autoincrement=False, nullable=False),
        sa.Column("at", when, nullable=False),
        sa.ForeignKeyConstraint(
            ["other_id"], ["papers.id"], name=op.f("fk_work_splits_other_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_work_splits_paper_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("paper_id", "other_id", name=op.f("pk_work_splits")),
    )
    op.create_index(op.f("ix_work_splits_other_id"), "work_splits", ["other_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", id_type, nullable=False),
        sa.Column("subscriber_id", id_type, nullable=False),
        sa.Column("paper_id", id_type, nullable=False),
        sa.Column("slate_id", id_type, nullable=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("origin", sa.String(20), nullable=False),
        sa.Column("at", when, nullable=False),
        sa.Column("recorded_at", when, nullable=False),
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
        sa.Column("id", id_type, nullable=False),
        sa.Column("slate_id", id_type, nullable=False),
        sa.Column("subscriber_id", id_type, nullable=False),
        sa.Column("paper_id", id_type, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("propensity", sa.Float(), nullable=False),
        sa.Column("policy", sa.String(20), nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("released_at", when, nullable=True),
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
        sa.Column("id", id_type, nullable=False),
        sa.Column("message_id", sa.String(200), nullable=False),
        sa.Column("subscriber_id", id_type, nullable=False),
        sa.Column("slate_id", id_type, nullable=True),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(20), server_default="digest", nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(80), server_default="", nullable=False),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("mime_sha256", sa.String(64), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("resends", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("doubted_at", when, nullable=True),
        sa.Column("not_before", when, nullable=True),
        sa.Column("lease_owner", sa.String(120), nullable=True),
        sa.Column("lease_epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", when, nullable=True),
        sa.Column("last_reply", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", when, nullable=False),
        sa.Column("updated_at", when, nullable=False),
        sa.Column("sent_at", when, nullable=True),
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
    op.create_table(
        "attempts",
        sa.Column("id", id_type, nullable=False),
        sa.Column("message_id", id_type, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", when, nullable=False),
        sa.Column("ended_at", when, nullable=True),
        sa.Column("phase", sa.String(20), server_default="", nullable=False),
        sa.Column("outcome", sa.String(20), server_default="", nullable=False),
        sa.Column("reply", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_attempts_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("message_id", "number", name=op.f("uq_attempts_message_id_number")),
    )
    op.create_table(
        "bounces",
        sa.Column("id", id_type, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("received_at", when, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), server_default="", nullable=False),
        sa.Column("message_id", id_type, nullable=True),
        sa.Column("subscriber_id", id_type, nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_bounces_message_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_bounces_subscriber_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bounces")),
        sa.UniqueConstraint("content_hash", name=op.f("uq_bounces_content_hash")),
    )
    op.create_index(op.f("ix_bounces_message_id"), "bounces", ["message_id"], unique=False)
    op.create_index(op.f("ix_bounces_subscriber_id"), "bounces", ["subscriber_id"], unique=False)
    op.create_table(
        "message_bodies",
        sa.Column("message_id", id_type, autoincrement=False, nullable=False),
        sa.Column("mime", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
            name=op.f("fk_message_bodies_message_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_message_bodies")),
    )


def _guard_messages_on_sqlite() -> None:
    # The allowed changes of state, as in `store.messages`.
    op.execute("""
        CREATE TRIGGER messages_keep_to_their_ways BEFORE UPDATE OF state ON messages
        WHEN OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (VALUES
            ('planned', 'rendered'), ('planned', 'skipped'), ('planned', 'cancelled'),
            ('planned', 'failed'), ('rendered', 'claimed'), ('rendered', 'cancelled'),
            ('rendered', 'failed'), ('claimed', 'in_doubt'), ('claimed', 'cancelled'),
            ('claimed', 'deferred'), ('claimed', 'failed'), ('claimed', 'rendered'),
            ('in_doubt', 'sent'), ('in_doubt', 'deferred'), ('in_doubt', 'failed'),
            ('in_doubt', 'held'), ('in_doubt', 'rendered'), ('deferred', 'rendered'),
            ('deferred', 'claimed'), ('deferred', 'failed'), ('deferred', 'cancelled'),
            ('held', 'sent'), ('held', 'rendered'), ('held', 'cancelled')
        )
        BEGIN SELECT RAISE(ABORT, 'a message may not go from the one state to the other'); END
    """)
    op.execute("""
        CREATE TRIGGER messages_that_were_sent_stay BEFORE UPDATE ON messages
        WHEN OLD.state = 'sent'
        BEGIN SELECT RAISE(ABORT, 'a message that was sent may not be changed'); END
    """)
    op.execute("""
        CREATE TRIGGER message_bodies_are_frozen BEFORE UPDATE ON message_bodies
        BEGIN SELECT RAISE(ABORT, 'the bytes of a message may not be changed'); END
    """)


def _guard_messages_on_postgres() -> None:
    op.execute("""
        CREATE FUNCTION messages_keep_to_their_ways() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.state = 'sent' THEN
                RAISE EXCEPTION 'a message that was sent may not be changed'
                USING ERRCODE = 'check_violation';
            END IF;
            IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
            ('planned', 'rendered'), ('planned', 'skipped'), ('planned', 'cancelled'),
            ('planned', 'failed'), ('rendered', 'claimed'), ('rendered', 'cancelled'),
            ('rendered', 'failed'), ('claimed', 'in_doubt'), ('claimed', 'cancelled'),
            ('claimed', 'deferred'), ('claimed', 'failed'), ('claimed', 'rendered'),
            ('in_doubt', 'sent'), ('in_doubt', 'deferred'), ('in_doubt', 'failed'),
            ('in_doubt', 'held'), ('in_doubt', 'rendered'), ('deferred', 'rendered'),
            ('deferred', 'claimed'), ('deferred', 'failed'), ('deferred', 'cancelled'),
            ('held', 'sent'), ('held', 'rendered'), ('held', 'cancelled')
        ) THEN
                RAISE EXCEPTION 'a message may not go from the one state to the other'
                USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE FUNCTION message_bodies_are_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the bytes of a message may not be changed'
            USING ERRCODE = 'check_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER messages_keep_to_their_ways BEFORE UPDATE ON messages
        FOR EACH ROW EXECUTE FUNCTION messages_keep_to_their_ways()
    """)
    op.execute("""
        CREATE TRIGGER message_bodies_are_frozen BEFORE UPDATE ON message_bodies
        FOR EACH ROW EXECUTE FUNCTION message_bodies_are_frozen()
    """)


def _index_words_on_sqlite() -> None:
    # Contentless, because the texts are in `papers` already.
    op.execute("""
        CREATE VIRTUAL TABLE paper_words USING fts5(
            title, abstract, authors, categories,
            content='', tokenize='porter unicode61 remove_diacritics 2'
        )
    """)
    # A word between two names, so that no phrase matches across them.
    op.execute("""
        CREATE VIEW paper_texts AS SELECT
            id, title, abstract,
            (SELECT group_concat(value, ' 0 ') FROM json_each(papers.authors)) AS authors,
            (SELECT group_concat(value, ' 0 ') FROM json_each(papers.categories)) AS categories
        FROM papers WHERE merged_into IS NULL AND withdrawn_at IS NULL
    """)
    # FTS5 deletes an entry only if it gets the same values as at the insert.
    op.execute("""
        CREATE TRIGGER papers_lose_words BEFORE UPDATE
        OF title, abstract, authors, categories, merged_into, withdrawn_at ON papers
        BEGIN
            INSERT INTO paper_words (paper_words, rowid, title, abstract, authors, categories)
            SELECT 'delete', * FROM paper_texts WHERE id = OLD.id;
        END
    """)
    op.execute("""
        CREATE TRIGGER papers_get_words AFTER UPDATE
        OF title, abstract, authors, categories, merged_into, withdrawn_at ON papers
        BEGIN
            INSERT INTO paper_words (rowid, title, abstract, authors, categories)
            SELECT * FROM paper_texts WHERE id = NEW.id;
        END
    """)
    op.execute("""
        CREATE TRIGGER papers_come_with_words AFTER INSERT ON papers
        BEGIN
            INSERT INTO paper_words (rowid, title, abstract, authors, categories)
            SELECT * FROM paper_texts WHERE id = NEW.id;
        END
    """)
    op.execute("""
        CREATE TRIGGER papers_go_with_their_words BEFORE DELETE ON papers
        BEGIN
            INSERT INTO paper_words (paper_words, rowid, title, abstract, authors, categories)
            SELECT 'delete', * FROM paper_texts WHERE id = OLD.id;
        END
    """)


def _index_words_on_postgres() -> None:
    op.execute("""
        CREATE TABLE paper_words (
            paper_id bigint NOT NULL CONSTRAINT pk_paper_words PRIMARY KEY
                CONSTRAINT fk_paper_words_paper_id REFERENCES papers (id) ON DELETE CASCADE,
            words tsvector NOT NULL
        )
    """)
    # Marks and hyphens do not change words, as on SQLite. The limit is far above any abstract and
    # below the maximum size of a tsvector.
    op.execute(r"""
        CREATE FUNCTION plain_words(said text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
            SELECT regexp_replace(normalize(regexp_replace(
                normalize(left(said, 50000), NFKD), '[\u0300-\u036f]+', '', 'g'
            ), NFC), '[!-/:-@\[-`{-~]+', ' ', 'g')
        $$
    """)
    # PostgreSQL cannot convert the JSON escapes of NUL and lone surrogates to text.
    op.execute(r"""
        CREATE FUNCTION names_apart(several json) RETURNS text LANGUAGE sql IMMUTABLE AS $$
            SELECT plain_words(coalesce(string_agg(name, ' 0 '), ''))
            FROM json_array_elements_text(
                CASE json_typeof(several) WHEN 'array' THEN regexp_replace(
                    several::text, '(?<!\\)\\u(0000|d[89a-f][0-9a-f]{2})', ' ', 'gi'
                )::json ELSE '[]' END
            ) AS name
        $$
    """)
    op.execute("""
        CREATE FUNCTION words_of_paper(papers) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
            SELECT setweight(to_tsvector('pg_catalog.english', plain_words($1.title)), 'A')
                || setweight(to_tsvector('pg_catalog.english', plain_words($1.abstract)), 'B')
                || setweight(to_tsvector('pg_catalog.simple', names_apart($1.authors)), 'C')
                || setweight(to_tsvector('pg_catalog.simple', names_apart($1.categories)), 'D')
        $$
    """)
    op.execute("""
        CREATE FUNCTION papers_can_be_found() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF new.merged_into IS NULL AND new.withdrawn_at IS NULL THEN
                INSERT INTO paper_words (paper_id, words) VALUES (new.id, words_of_paper(new))
                ON CONFLICT (paper_id) DO UPDATE SET words = excluded.words;
            ELSE
                DELETE FROM paper_words WHERE paper_id = new.id;
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER papers_can_be_found AFTER INSERT OR UPDATE
        OF title, abstract, authors, categories, merged_into, withdrawn_at ON papers
        FOR EACH ROW EXECUTE FUNCTION papers_can_be_found()
    """)
    op.execute("CREATE INDEX ix_paper_words_words ON paper_words USING gin (words)")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward: restore the back-up instead")
