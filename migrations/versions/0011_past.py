"""The past sense: what a paper's vector would be by earlier likes alone, and its density.

Encoders of before cannot tell it. Their vectors go, and the papers are encoded anew.

Revision: 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.delete(sa.table("encodings")))
    with op.batch_alter_table("encodings") as batch:
        batch.add_column(sa.Column("past_sense", sa.LargeBinary(), nullable=False))
        batch.add_column(sa.Column("past_density", sa.Float(), nullable=False))


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward: restore the back-up instead")
