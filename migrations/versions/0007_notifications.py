"""The outbox of webhooks."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column("event_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("moment", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("delivered_ms", sa.BigInteger(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["firm_id", "job_id"], ["jobs.firm_id", "jobs.job_id"], name=op.f("fk_notifications_jobs")
        ),
        sa.PrimaryKeyConstraint("event_seq", name=op.f("pk_notifications")),
    )
    op.create_index(
        "ix_notifications_due",
        "notifications",
        ["next_ms"],
        unique=False,
        postgresql_where=sa.text("next_ms IS NOT NULL"),
    )
    op.create_index("ix_notifications_job", "notifications", ["firm_id", "job_id", "event_seq"], unique=False)
    op.create_index("ix_notifications_created", "notifications", ["created_ms"], unique=False)


def downgrade() -> None:
    op.drop_table("notifications")
