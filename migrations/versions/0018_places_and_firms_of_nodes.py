"""Where nodes hang in the network, and which of them serve one firm only."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "node_places",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=True),
        sa.Column("supernode", sa.Text(), nullable=True),
        sa.Column("leaf", sa.Text(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_node_places")),
    )
    op.add_column(
        "node_states",
        sa.Column("place", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
    )
    op.add_column(
        "node_states", sa.Column("one_firm", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("node_states", sa.Column("one_firm_id", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("node_states", "one_firm_id")
    op.drop_column("node_states", "one_firm")
    op.drop_column("node_states", "place")
    op.drop_table("node_places")
