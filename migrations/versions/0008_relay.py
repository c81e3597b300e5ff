"""Operations count by their time, and remember what was told of them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_relay"
down_revision = "0007_jobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("told", sa.Boolean(), nullable=False, server_default=sa.false()))
    told = sa.table("operations", sa.column("told", sa.Boolean()), sa.column("state", sa.String()))
    op.execute(told.update().where(told.c.state.in_(("included", "final"))).values(told=sa.true()))
    op.create_index(op.f("ix_operations_created"), "operations", ["created"])


def downgrade() -> None:
    with op.batch_alter_table("operations", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_operations_created"))
        batch_op.drop_column("told")
