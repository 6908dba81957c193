"""The calendar: maintenance windows and advance reservations."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "calendar",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("node_ids", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint("(firm_id IS NULL) = (queue IS NULL)", name=op.f("ck_calendar_whose")),
        sa.ForeignKeyConstraint(
            ["firm_id", "queue"], ["queues.firm_id", "queues.name"], name=op.f("fk_calendar_queues")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_calendar")),
    )
    op.create_index("ix_calendar_until_ms", "calendar", ["until_ms"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_calendar_until_ms", table_name="calendar")
    op.drop_table("calendar")
