"""A user id for each firm, named by the control plane so that it is the same on every node."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("firms", sa.Column("uid", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE firms SET uid = numbered.uid FROM ("
        " SELECT firm_id, 399999 + row_number() OVER (ORDER BY created_at, firm_id) AS uid FROM firms"
        ") AS numbered WHERE firms.firm_id = numbered.firm_id"
    )
    op.alter_column("firms", "uid", nullable=False)
    op.create_unique_constraint(op.f("uq_firms_uid"), "firms", ["uid"])


def downgrade() -> None:
    op.drop_constraint(op.f("uq_firms_uid"), "firms", type_="unique")
    op.drop_column("firms", "uid")
