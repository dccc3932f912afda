"""Sources: gates that all processes share, works that turn out to be one, what others know of them.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    id_type = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    when = sa.DateTime(timezone=True)
    op.create_table(
        "gates",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("owner", sa.String(120), server_default="", nullable=False),
        sa.Column("until", when, nullable=True),
        sa.Column("not_before", when, nullable=True),
        sa.Column("on", sa.Date(), nullable=True),
        sa.Column("n_asked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_gates")),
    )
    op.create_table(
        "marks",
        sa.Column("mark", sa.String(510), nullable=False),
        sa.Column("paper_id", id_type, nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_marks_paper_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("mark", "paper_id", name=op.f("pk_marks")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_marks_paper_id"), "marks", ["paper_id"])
    op.execute("INSERT INTO marks SELECT '=' || title_key, id FROM papers")
    op.create_table(
        "splits",
        sa.Column("paper_id", id_type, nullable=False),
        sa.Column("other_id", id_type, nullable=False),
        sa.Column("at", when, nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name=op.f("fk_splits_paper_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["other_id"], ["papers.id"], name=op.f("fk_splits_other_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("paper_id", "other_id", name=op.f("pk_splits")),
    )
    op.create_index(op.f("ix_splits_other_id"), "splits", ["other_id"])
    op.add_column("papers", sa.Column("venue", sa.Text(), server_default="", nullable=False))
    op.add_column("papers", sa.Column("citations", sa.Integer(), nullable=True))
    op.add_column("papers", sa.Column("enriched_at", when, nullable=True))
    op.add_column("papers", sa.Column("merged_into", id_type, nullable=True))
    op.add_column(
        "papers", sa.Column("merged_because", sa.Text(), server_default="", nullable=False)
    )
    op.add_column("papers", sa.Column("revised_on", sa.Date(), nullable=True))
    for name, column, where in (
        ("ix_papers_merged_into", "merged_into", "merged_into IS NOT NULL"),
        ("ix_papers_upvoted", "listed_on", "upvotes > 0"),
    ):
        op.create_index(
            name, "papers", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where)
        )
    op.add_column(
        "paper_records", sa.Column("facts", sa.JSON(), server_default="{}", nullable=False)
    )
    # What each origin said beyond the text was not kept: all of them said what their paper holds.
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            """
            UPDATE paper_records SET facts = (
                SELECT json_object(
                    'title', p.title, 'abstract', p.abstract, 'comment', p.comment,
                    'upvotes', p.upvotes, 'tldr', p.tldr,
                    'authors', json(p.authors), 'categories', json(p.categories)
                ) FROM papers p WHERE p.id = paper_records.paper_id
            )
            """
        )
    else:
        op.execute(
            """
            UPDATE paper_records SET facts = (
                SELECT json_build_object(
                    'title', p.title, 'abstract', p.abstract, 'comment', p.comment,
                    'upvotes', p.upvotes, 'tldr', p.tldr,
                    'authors', p.authors, 'categories', p.categories
                ) FROM papers p WHERE p.id = paper_records.paper_id
            )
            """
        )
    op.add_column(
        "subscribers",
        sa.Column("revisions", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward: restore the back-up instead")
