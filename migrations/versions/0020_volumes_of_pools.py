"""Folders of the hosts that the firms named may use."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("pools", sa.Column("volumes", JSONB(), server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("pools", "volumes")
