"""Accounts: what people ask for on the pages, and who is logged in.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    id_type = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    when = sa.DateTime(timezone=True)
    op.create_table(
        "asks",
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
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asks")),
        sa.UniqueConstraint("public_id", name=op.f("uq_asks_public_id")),
    )
    op.create_index(op.f("ix_asks_answered_at"), "asks", ["answered_at"])
    op.create_index(op.f("ix_asks_address_key"), "asks", ["address_key"])
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
    op.create_index(op.f("ix_sessions_subscriber_id"), "sessions", ["subscriber_id"])


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward: restore the back-up instead")
