"""Revisions, arrays and holds of jobs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("array_id", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("array_index", sa.Integer(), nullable=True))
    op.create_index(
        "ix_jobs_array", "jobs", ["array_id"], unique=False, postgresql_where=sa.text("array_id IS NOT NULL")
    )
    op.add_column(
        "job_states", sa.Column("held", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("job_states", sa.Column("revision", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "job_revisions",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("revised_by", sa.Text(), nullable=False),
        sa.Column("revised_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["firm_id", "job_id"], ["jobs.firm_id", "jobs.job_id"], name=op.f("fk_job_revisions_jobs")
        ),
        sa.ForeignKeyConstraint(
            ["revised_by"], ["principals.principal_id"], name=op.f("fk_job_revisions_principals")
        ),
        sa.PrimaryKeyConstraint("firm_id", "job_id", "revision", name=op.f("pk_job_revisions")),
    )


def downgrade() -> None:
    op.drop_table("job_revisions")
    op.drop_column("job_states", "revision")
    op.drop_column("job_states", "held")
    op.drop_index("ix_jobs_array", table_name="jobs", postgresql_where=sa.text("array_id IS NOT NULL"))
    op.drop_column("jobs", "array_index")
    op.drop_column("jobs", "array_id")
