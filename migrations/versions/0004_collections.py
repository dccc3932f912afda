"""Collections of saved papers, and forgotten votes that can still be brought back.

Revision: 1004, after 1003. Papers whose last vote is a save go into a collection "Saved".
"""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "1004"
down_revision = "1003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    id_type = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    when = sa.DateTime(timezone=True)

    def subscriber_of(table: str) -> sa.ForeignKeyConstraint:
        return sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=f"fk_{table}_subscriber_id",
            ondelete="CASCADE",
        )

    op.create_table(
        "collections",
        sa.Column("id", id_type, nullable=False),
        sa.Column("subscriber_id", id_type, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("query", sa.Text(), server_default="", nullable=False),
        sa.Column("public_id", sa.String(20), nullable=False),
        sa.Column("created_at", when, nullable=False),
        subscriber_of("collections"),
        sa.PrimaryKeyConstraint("id", name="pk_collections"),
        sa.UniqueConstraint("public_id", name="uq_collections_public_id"),
        sa.UniqueConstraint("subscriber_id", "name", name="uq_collections_subscriber_id_name"),
    )
    op.create_table(
        "collected_papers",
        sa.Column("collection_id", id_type, autoincrement=False, nullable=False),
        sa.Column("paper_id", id_type, autoincrement=False, nullable=False),
        sa.Column("added_at", when, nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_collected_papers_collection_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name="fk_collected_papers_paper_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("collection_id", "paper_id", name="pk_collected_papers"),
    )
    op.create_index("ix_collected_papers_paper_id", "collected_papers", ["paper_id"])
    op.create_table(
        "forgotten_votes",
        sa.Column("id", id_type, nullable=False),
        sa.Column("subscriber_id", id_type, nullable=False),
        sa.Column("table", sa.String(40), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("forgotten_at", when, nullable=False),
        subscriber_of("forgotten_votes"),
        sa.PrimaryKeyConstraint("id", name="pk_forgotten_votes"),
    )
    op.create_index("ix_forgotten_votes_subscriber_id", "forgotten_votes", ["subscriber_id"])
    _collect_saved_papers(op.get_bind())


def _collect_saved_papers(conn: sa.Connection) -> None:
    when = sa.DateTime(timezone=True)
    papers = sa.table("papers", sa.column("id"), sa.column("merged_into"))
    events = sa.table(
        "events",
        *map(sa.column, ("id", "subscriber_id", "paper_id", "kind", "origin")),
        sa.column("at", when),
    )
    collections = sa.table(
        "collections",
        *map(sa.column, ("id", "subscriber_id", "name", "public_id")),
        sa.column("created_at", when),
    )
    collected = sa.table(
        "collected_papers",
        *map(sa.column, ("collection_id", "paper_id")),
        sa.column("added_at", when),
    )
    work = sa.func.coalesce(papers.c.merged_into, papers.c.id)
    newest = sa.func.row_number().over(
        partition_by=(events.c.subscriber_id, work),
        order_by=(events.c.at.desc(), events.c.id.desc()),
    )
    votes = (
        sa.select(*events.c["subscriber_id", "paper_id", "kind", "at"], newest.label("nth"))
        .join(papers, papers.c.id == events.c.paper_id)
        .where(events.c.origin == "person")
        .subquery()
    )
    saved = sa.select(*votes.c["subscriber_id", "paper_id", "at"]).where(
        votes.c.nth == 1, votes.c.kind == "save"
    )
    ids: dict[int, Any] = {}
    for subscriber_id, paper_id, at in conn.execute(saved.order_by(votes.c.at)).all():
        if subscriber_id not in ids:
            row = {"subscriber_id": subscriber_id, "name": "Saved", "created_at": at}
            row["public_id"] = secrets.token_hex(10)
            new = sa.insert(collections).returning(collections.c.id)
            ids[subscriber_id] = conn.execute(new, row).scalar_one()
        row = {"collection_id": ids[subscriber_id], "paper_id": paper_id, "added_at": at}
        conn.execute(sa.insert(collected), row)
