"""Cohorts, in which queues lend each other unused quota."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _quota(name: str) -> sa.Column[object]:
    return sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False)


def upgrade() -> None:
    op.create_table(
        "cohorts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        _quota("nominal"),
        _quota("borrowing"),
        _quota("lending"),
        sa.Column("weight", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["parent"], ["cohorts.name"], name=op.f("fk_cohorts_cohorts")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cohorts")),
    )
    op.add_column("queues", sa.Column("cohort", sa.Text(), nullable=True))
    op.add_column("queues", _quota("borrowing"))
    op.add_column("queues", _quota("lending"))
    op.create_foreign_key(op.f("fk_queues_cohorts"), "queues", "cohorts", ["cohort"], ["name"])


def downgrade() -> None:
    op.drop_constraint(op.f("fk_queues_cohorts"), "queues", type_="foreignkey")
    op.drop_column("queues", "lending")
    op.drop_column("queues", "borrowing")
    op.drop_column("queues", "cohort")
    op.drop_table("cohorts")
