"""Principals who sign in at an OpenID Connect issuer."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("principals", sa.Column("issuer", sa.Text(), nullable=True))
    op.add_column("principals", sa.Column("subject", sa.Text(), nullable=True))
    op.create_index(
        "principals_identity",
        "principals",
        ["issuer", "subject", "role", sa.text("coalesce(firm_id, '')")],
        unique=True,
        postgresql_where=sa.text("issuer IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "principals_identity", table_name="principals", postgresql_where=sa.text("issuer IS NOT NULL")
    )
    op.drop_column("principals", "subject")
    op.drop_column("principals", "issuer")
