"""Folders that firms send along, and what their jobs leave."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "content_objects",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["firm_id"], ["firms.firm_id"], name=op.f("fk_content_objects_firms")),
        sa.PrimaryKeyConstraint("firm_id", "sha256", name=op.f("pk_content_objects")),
    )
    op.create_table(
        "uploads",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["firm_id"], ["firms.firm_id"], name=op.f("fk_uploads_firms")),
        sa.PrimaryKeyConstraint("firm_id", "digest", name=op.f("pk_uploads")),
    )
    op.create_table(
        "results",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("collected_ms", sa.BigInteger(), nullable=False),
        sa.Column("keep_until_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["firm_id", "job_id"], ["jobs.firm_id", "jobs.job_id"], name=op.f("fk_results_jobs")
        ),
        sa.PrimaryKeyConstraint("firm_id", "job_id", "attempt", "rank", name=op.f("pk_results")),
    )


def downgrade() -> None:
    op.drop_table("results")
    op.drop_table("uploads")
    op.drop_table("content_objects")
