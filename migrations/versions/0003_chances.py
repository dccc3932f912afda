"""The chance of a vote before the corrections, for each shown paper.

Revision: 1003, after 1002. Older rows have none: their scores are no chances.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1003"
down_revision = "1002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("impressions", sa.Column("prior", sa.Float(), nullable=True))
