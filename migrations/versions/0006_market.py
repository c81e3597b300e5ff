"""Operations, requests, consent nonces; what the catalogue shows of terms, and what it is searched by"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_market"
down_revision = "0005_uploads"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # What a dataset's terms say is in its blocks: `allod.listing.complete_listings` fills the old rows in from there.
    for column in (
        sa.Column("terms", sa.LargeBinary(length=32), nullable=True),
        sa.Column("purposes", sa.String(length=600), nullable=True),
        sa.Column("flat", sa.BigInteger(), nullable=True),
        sa.Column("per_record_epoch", sa.BigInteger(), nullable=True),
        sa.Column("expiry", sa.BigInteger(), nullable=True),
    ):
        op.add_column("datasets", column)
    op.create_index(op.f("ix_datasets_published_asset"), "datasets", ["published", "asset"])
    op.create_table(
        "dataset_tags",
        sa.Column("tag", sa.String(length=80), nullable=False),
        sa.Column("published", sa.DateTime(), nullable=False),
        sa.Column("asset", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("tag", "published", "asset", name=op.f("pk_dataset_tags")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "publications",
        sa.Column("asset", sa.LargeBinary(length=32), nullable=False),
        sa.Column("terms", sa.LargeBinary(length=32), nullable=False),
        sa.Column("owner", sa.LargeBinary(length=20), nullable=False),
        sa.Column("cid", sa.String(length=80), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("asset", "terms", name=op.f("pk_publications")),
    )
    op.create_table(
        "operations",
        sa.Column("number", NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.LargeBinary(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("effect", sa.String(length=400), nullable=True),
        sa.Column("act", sa.JSON(), nullable=False),
        sa.Column("about", sa.JSON(), nullable=False),
        sa.Column("keepers", sa.JSON(), nullable=False),
        sa.Column("untold", sa.Boolean(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("ask_due", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.JSON(), nullable=False),
        sa.Column("problem", sa.JSON(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_operations")),
        sa.UniqueConstraint("id", name=op.f("uq_operations_id")),
        sa.UniqueConstraint("effect", name=op.f("uq_operations_effect")),
    )
    for name in ("account", "state", "untold"):
        op.create_index(op.f(f"ix_operations_{name}"), "operations", [name])
    op.create_table(
        "requests",
        sa.Column("number", NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("asset", sa.LargeBinary(length=32), nullable=False),
        sa.Column("owner", sa.LargeBinary(length=20), nullable=False),
        sa.Column("trainer", sa.LargeBinary(length=20), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("closes", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("consent", sa.LargeBinary(length=32), nullable=True),
        sa.Column("history", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_requests")),
        sa.UniqueConstraint("id", name=op.f("uq_requests_id")),
    )
    for name in ("owner", "trainer"):
        op.create_index(op.f(f"ix_requests_{name}"), "requests", [name])
    op.create_table(
        "consent_nonces",
        sa.Column("owner", sa.LargeBinary(length=20), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_consent_nonces")),
    )


def downgrade() -> None:
    for name in ("consent_nonces", "requests", "operations", "publications", "dataset_tags"):
        op.drop_table(name)
    op.drop_index(op.f("ix_datasets_published_asset"), "datasets")
    with op.batch_alter_table("datasets", schema=None) as batch_op:
        for name in ("expiry", "per_record_epoch", "flat", "purposes", "terms"):
            batch_op.drop_column(name)
