"""Transactions on their way"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outgoing",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("chain", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sender", sa.LargeBinary(length=20), nullable=False),
        sa.Column("nonce", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=True),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("fate", sa.String(length=10), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_outgoing")),
        sa.UniqueConstraint("chain", "key", name=op.f("uq_outgoing_chain_key")),
        sa.UniqueConstraint("chain", "sender", "nonce", name=op.f("uq_outgoing_chain_sender_nonce")),
    )
    op.create_table(
        "attempts",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("outgoing", sa.Integer(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["outgoing"], ["outgoing.number"], name=op.f("fk_attempts_outgoing_outgoing")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_attempts")),
        sa.UniqueConstraint("outgoing", "hash", name=op.f("uq_attempts_outgoing_hash")),
    )


def downgrade() -> None:
    op.drop_table("attempts")
    op.drop_table("outgoing")
