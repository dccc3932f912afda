"""Density: how near a paper is to what is nearest to it.

Encoders of before cannot tell it. Their vectors go, and the papers are encoded anew.

Revision: 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.delete(sa.table("encodings")))
    with op.batch_alter_table("encodings") as batch:
        batch.add_column(sa.Column("density", sa.Float(), nullable=False))


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward: restore the back-up instead")
