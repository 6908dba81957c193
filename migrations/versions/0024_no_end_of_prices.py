"""No end of prices and programs: a version is superseded by the next, and nothing ever wrote when it ends."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for table in ("price_versions", "program_versions"):
        op.drop_column(table, "effective_to_ms")


def downgrade() -> None:
    for table in ("price_versions", "program_versions"):
        op.add_column(table, sa.Column("effective_to_ms", sa.BigInteger(), nullable=True))
