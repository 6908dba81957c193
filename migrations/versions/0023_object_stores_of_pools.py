"""S3-compatible stores that the nodes of a pool may be sent to."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("pools", sa.Column("object_stores", JSONB(), server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("pools", "object_stores")
