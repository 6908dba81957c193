"""Windows wait as exact bytes, and the end of the last one is kept beside its key."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# storage/windows.py: salt, length of the body (4 bytes, big-endian), body, for each segment.
_PACK = """
UPDATE usage_intake AS u SET segments = (
    SELECT string_agg(decode(s.item->>'salt', 'hex') || int4send(length(b.body)) || b.body, '' ORDER BY s.place)
    FROM jsonb_array_elements(u.before) WITH ORDINALITY AS s(item, place),
        LATERAL (SELECT decode(s.item->>'body', 'base64') AS body) AS b
)
"""
_UNPACK = """
WITH RECURSIVE pieces AS (
    SELECT key_id, seq, packed, 0 AS at, 0 AS place, NULL::jsonb AS item FROM usage_intake
    UNION ALL
    SELECT key_id, seq, packed, at + 36 + size, place + 1, jsonb_build_object(
        'salt', encode(substr(packed, at + 1, 32), 'hex'),
        'body', translate(encode(substr(packed, at + 37, size), 'base64'), E'\\n', ''))
    FROM pieces, LATERAL (
        SELECT (get_byte(packed, at + 32) << 24) + (get_byte(packed, at + 33) << 16)
            + (get_byte(packed, at + 34) << 8) + get_byte(packed, at + 35) AS size
    ) AS s
    WHERE at < length(packed)
)
UPDATE usage_intake AS u SET segments = p.items FROM (
    SELECT key_id, seq, coalesce(jsonb_agg(item ORDER BY place) FILTER (WHERE place > 0), '[]') AS items
    FROM pieces GROUP BY key_id, seq
) AS p WHERE p.key_id = u.key_id AND p.seq = u.seq
"""


def upgrade() -> None:
    op.add_column("agent_keys", sa.Column("stored_end_ms", sa.BigInteger(), nullable=True))
    op.alter_column("usage_intake", "segments", new_column_name="before")
    op.add_column("usage_intake", sa.Column("segments", sa.LargeBinary(), nullable=True))
    op.execute(_PACK)
    # Dropped first: its rule against nulls has the name that the new column's will have.
    op.drop_column("usage_intake", "before")
    op.alter_column("usage_intake", "segments", nullable=False)
    # It is read once and gone: to compress it would cost more than it spares.
    op.execute("ALTER TABLE usage_intake ALTER COLUMN segments SET STORAGE EXTERNAL")
    op.drop_constraint("fk_window_segments_log_entries", "window_segments", type_="foreignkey")
    op.drop_index("ix_window_segments_firm_id", table_name="window_segments")


def downgrade() -> None:
    op.create_index("ix_window_segments_firm_id", "window_segments", ["firm_id"])
    op.create_foreign_key(
        "fk_window_segments_log_entries", "window_segments", "log_entries", ["log_index"], ["log_index"]
    )
    op.alter_column("usage_intake", "segments", new_column_name="packed")
    op.add_column("usage_intake", sa.Column("segments", postgresql.JSONB(), nullable=True))
    op.execute(_UNPACK)
    op.drop_column("usage_intake", "packed")
    op.alter_column("usage_intake", "segments", nullable=False)
    op.drop_column("agent_keys", "stored_end_ms")
