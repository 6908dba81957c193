"""What agents can do that older ones cannot, as they say at their hello."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    words = sa.Column("understands", sa.ARRAY(sa.Text()), server_default="{}", nullable=False)
    op.add_column("node_states", words)


def downgrade() -> None:
    op.drop_column("node_states", "understands")
