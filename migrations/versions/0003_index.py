"""The index of the contracts' events"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEYS = {"owner": 20, "holder": 20, "payer": 20, "payee": 20, "asset": 32, "consent": 32, "lane": 32}


def upgrade() -> None:
    op.create_table(
        "index_sources",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("head_hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_index_sources")),
        sa.UniqueConstraint("key", name=op.f("uq_index_sources_key")),
    )
    op.create_table(
        "index_blocks",
        sa.Column("source", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["source"], ["index_sources.id"], name=op.f("fk_index_blocks_source_index_sources")),
        sa.PrimaryKeyConstraint("source", "number", name=op.f("pk_index_blocks")),
    )
    op.create_table(
        "index_events",
        sa.Column("source", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("block", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tx_index", sa.Integer(), nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("contract", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=False),
        *(sa.Column(key, sa.LargeBinary(length=length), nullable=True) for key, length in KEYS.items()),
        sa.ForeignKeyConstraint(
            ["source", "block"],
            ["index_blocks.source", "index_blocks.number"],
            name=op.f("fk_index_events_source_index_blocks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source", "block", "log_index", name=op.f("pk_index_events")),
    )
    for key in KEYS:
        if key != "lane":
            op.create_index(op.f(f"ix_index_events_{key}"), "index_events", ["source", "name", key])


def downgrade() -> None:
    op.drop_table("index_events")
    op.drop_table("index_blocks")
    op.drop_table("index_sources")
