"""Which annotations are a task's ground truth; of those that are kept, none is until it is heard of again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("annotations", sa.Column("ground_truth", sa.Boolean, nullable=False, server_default=sa.false()))
