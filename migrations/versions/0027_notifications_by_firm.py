"""Notifications that are due, by firm: a few of each are claimed without sorting all that wait."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_WAITING = sa.text("next_ms IS NOT NULL")


def upgrade() -> None:
    op.drop_index("ix_notifications_due", "notifications")
    op.create_index(
        "ix_notifications_due",
        "notifications",
        ["firm_id", "next_ms", "event_seq"],
        postgresql_where=_WAITING,
    )


def downgrade() -> None:
    op.drop_index("ix_notifications_due", "notifications")
    op.create_index("ix_notifications_due", "notifications", ["next_ms"], postgresql_where=_WAITING)
