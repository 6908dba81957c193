"""By which the evidence log names secrets."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "secrets",
        sa.Column("secret_id", sa.Text(), server_default=sa.text("gen_random_uuid()::text"), nullable=False),
    )
    op.alter_column("secrets", "secret_id", server_default=None)  # it was for what is there already


def downgrade() -> None:
    op.drop_column("secrets", "secret_id")
