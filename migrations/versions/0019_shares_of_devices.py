"""Several live allocations may share a device, as long as their shares sum to at most the whole."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Once for each statement, over the devices that it touched: the writer of placements writes in bulk.
_CHECK = """
CREATE FUNCTION check_live_shares() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    over text;
BEGIN
    SELECT d.device_id INTO over FROM allocation_devices d
    WHERE d.live AND d.device_id IN (SELECT t.device_id FROM touched t WHERE t.live)
    GROUP BY d.device_id HAVING sum(d.share_ppm) > 1000000 LIMIT 1;
    IF over IS NOT NULL THEN
        RAISE EXCEPTION 'live shares of device % sum to more than the whole', over
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'allocation_devices_live_shares';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.drop_index(
        "uq_allocation_devices_live", table_name="allocation_devices", postgresql_where=sa.text("live")
    )
    op.create_index(
        "ix_allocation_devices_live",
        "allocation_devices",
        ["device_id"],
        unique=False,
        postgresql_where=sa.text("live"),
    )
    op.execute(_CHECK)
    for verb in ("INSERT", "UPDATE"):
        op.execute(
            f"CREATE TRIGGER live_shares_{verb.lower()} AFTER {verb} ON allocation_devices"
            " REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION check_live_shares()"
        )


def downgrade() -> None:
    for verb in ("insert", "update"):
        op.execute(f"DROP TRIGGER live_shares_{verb} ON allocation_devices")
    op.execute("DROP FUNCTION check_live_shares()")
    op.drop_index(
        "ix_allocation_devices_live", table_name="allocation_devices", postgresql_where=sa.text("live")
    )
    op.create_index(
        "uq_allocation_devices_live",
        "allocation_devices",
        ["device_id"],
        unique=True,
        postgresql_where=sa.text("live"),
    )
