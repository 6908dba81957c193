"""What finished jobs and announced starts taught the planner, and the start that each waiting job was told."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "experience",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("numbers", postgresql.ARRAY(sa.Double()), nullable=False),
        sa.PrimaryKeyConstraint("subject", "kind", "model", name=op.f("pk_experience")),
    )
    for column in ("starts_from_ms", "starts_expected_ms", "starts_until_ms"):
        op.add_column("reports", sa.Column(column, sa.BigInteger(), nullable=True))
    op.add_column("job_states", sa.Column("announced", postgresql.ARRAY(sa.BigInteger()), nullable=True))


def downgrade() -> None:
    op.drop_column("job_states", "announced")
    for column in ("starts_from_ms", "starts_expected_ms", "starts_until_ms"):
        op.drop_column("reports", column)
    op.drop_table("experience")
