"""Scopes of API keys."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("scope", sa.Text(), server_default="administration", nullable=False))


def downgrade() -> None:
    op.drop_column("api_keys", "scope")
