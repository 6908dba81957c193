"""Indexes for what would read whole tables when they are long, and the events that a restore has lost."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_jobs_submitted", "jobs", ["submitted_ms", "job_id"])
    op.create_index("ix_allocations_ended", "allocations", ["ended_ms"])
    op.add_column("leaders", sa.Column("events_above", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("leaders", "events_above")
    op.drop_index("ix_allocations_ended", table_name="allocations")
    op.drop_index("ix_jobs_submitted", table_name="jobs")
