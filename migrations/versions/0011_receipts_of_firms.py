"""Keys with which firms sign, and the receipts that they signed."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "firm_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["firm_id"], ["firms.firm_id"], name=op.f("fk_firm_keys_firms")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_firm_keys")),
    )
    op.create_index(op.f("ix_firm_keys_firm_id"), "firm_keys", ["firm_id"], unique=False)
    op.create_table(
        "receipts",
        sa.Column("receipt_id", sa.Text(), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("allocation_id", sa.Text(), nullable=False),
        sa.Column("stance", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["firm_id", "allocation_id"],
            ["allocations.firm_id", "allocations.allocation_id"],
            name=op.f("fk_receipts_allocations"),
        ),
        sa.ForeignKeyConstraint(["key_id"], ["firm_keys.key_id"], name=op.f("fk_receipts_firm_keys")),
        sa.PrimaryKeyConstraint("receipt_id", name=op.f("pk_receipts")),
    )
    op.create_index("ix_receipts_at", "receipts", ["at_ms", "receipt_id"], unique=False)
    op.create_index("ix_receipts_job", "receipts", ["firm_id", "job_id"], unique=False)


def downgrade() -> None:
    op.drop_table("receipts")
    op.drop_table("firm_keys")
