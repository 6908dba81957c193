"""How long jobs were held or waited for others: they grow no older meanwhile.

Expands only: a controller of before writes neither, and who has just loaded takes the last change for the moment.
A job that one of now held, and one of before released and held again, counts as held since the first time: it is
younger by the time between. Whether it was so cannot be read from its row, which other changes touch as well.

Rows of `experience` whose subject is `start` or `told` stay, for controllers of before; one of now learns of told
starts under `told_by`, from nothing. A migration that contracts may delete them.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0029"
down_revision: str | None = "0028"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("job_states", sa.Column("ineligible_since_ms", sa.BigInteger(), nullable=True))
    op.add_column(
        "job_states",
        sa.Column("ineligible_before_ms", sa.BigInteger(), server_default="0", nullable=False),
    )


def downgrade() -> None:
    op.drop_column("job_states", "ineligible_before_ms")
    op.drop_column("job_states", "ineligible_since_ms")
