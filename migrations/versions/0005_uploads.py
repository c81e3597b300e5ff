"""Uploads, vaults, and who holds which block"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_uploads"
down_revision = "0004_server"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "held_blocks",
        sa.Column("holder", sa.LargeBinary(length=32), nullable=False),
        sa.Column("unit", sa.LargeBinary(length=36), nullable=False),
        sa.Column("cid", sa.LargeBinary(length=36), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("holder", "unit", "cid", name=op.f("pk_held_blocks")),
    )
    op.create_index(op.f("ix_held_blocks_cid"), "held_blocks", ["cid"], unique=False)
    op.create_table(
        "uploaded_blocks",
        sa.Column("cid", sa.LargeBinary(length=36), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cid", name=op.f("pk_uploaded_blocks")),
    )
    op.create_table(
        "uploads",
        sa.Column("account", sa.LargeBinary(length=20), nullable=False),
        sa.Column("cid", sa.LargeBinary(length=36), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "cid", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_at"), "uploads", ["at"], unique=False)
    op.create_index(op.f("ix_uploads_cid"), "uploads", ["cid"], unique=False)
    op.create_table(
        "vaults",
        sa.Column("manifest_pk", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vault_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("account", sa.LargeBinary(length=20), nullable=False),
        sa.Column("proved", sa.Boolean(), nullable=False),
        sa.Column("head", sa.LargeBinary(length=36), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("blocks", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("committed", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("manifest_pk", name=op.f("pk_vaults")),
        sa.UniqueConstraint("account", name=op.f("uq_vaults_account")),
    )


def downgrade() -> None:
    op.drop_table("vaults")
    op.drop_index(op.f("ix_uploads_cid"), table_name="uploads")
    op.drop_index(op.f("ix_uploads_at"), table_name="uploads")
    op.drop_table("uploads")
    op.drop_table("uploaded_blocks")
    op.drop_index(op.f("ix_held_blocks_cid"), table_name="held_blocks")
    op.drop_table("held_blocks")
