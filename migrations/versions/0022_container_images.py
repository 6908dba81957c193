"""What nodes run container images with, and which image an attempt runs in."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("node_states", sa.Column("container_engine", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("image_digest", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("attempts", "image_digest")
    op.drop_column("node_states", "container_engine")
