"""Papers that people named: which of them wait to be fetched, and that they are no news.

Revision: 1002, after 1001. `zotero_libraries` has the libraries that are read again once a day.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1002"
down_revision = "1001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    id_type = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    when = sa.DateTime(timezone=True)
    op.add_column(
        "papers", sa.Column("is_listed", sa.Boolean(), server_default=sa.true(), nullable=False)
    )
    op.create_table(
        "named_papers",
        sa.Column("id", id_type, nullable=False),
        sa.Column("subscriber_id", id_type, nullable=True),
        sa.Column("scheme", sa.String(80), nullable=False),
        sa.Column("value", sa.String(500), nullable=False),
        sa.Column("title", sa.Text(), server_default="", nullable=False),
        sa.Column("authors", sa.JSON(), nullable=False),
        sa.Column("method", sa.String(40), server_default="", nullable=False),
        sa.Column("added_at", when, nullable=False),
        sa.Column("asked_at", when, nullable=True),
        sa.Column("n_asked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("paper_id", id_type, nullable=True),
        sa.Column("told_at", when, nullable=True),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name="fk_named_papers_subscriber_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name="fk_named_papers_paper_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_named_papers"),
        sa.UniqueConstraint(
            "subscriber_id",
            "scheme",
            "value",
            name="uq_named_papers_subscriber_id_scheme_value",
        ),
    )
    op.create_index("ix_named_papers_paper_id", "named_papers", ["paper_id"])
    op.create_index("ix_named_papers_scheme_value", "named_papers", ["scheme", "value"])
    op.create_table(
        "zotero_libraries",
        sa.Column("subscriber_id", id_type, autoincrement=False, nullable=False),
        sa.Column("api_key", sa.String(64), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("read_at", when, nullable=True),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name="fk_zotero_libraries_subscriber_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscriber_id", name="pk_zotero_libraries"),
    )
