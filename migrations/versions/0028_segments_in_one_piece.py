"""Segments of a window in one compressed piece, in its log entry; rows only of those that name an allocation.

Expands only: what is logged stays where it is, a gateway of before hands over as it did, and this program reads either.
"""

import struct
from collections.abc import Sequence

import sqlalchemy as sa
import zstandard
from alembic import op

revision: str = "0028"
down_revision: str | None = "0027"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ("log_entries", "usage_intake")
_WINDOWS = 1_000  # at a time in memory


def upgrade() -> None:
    op.add_column("usage_intake", sa.Column("segments_bytes", sa.BigInteger(), nullable=True))
    op.add_column("log_entries", sa.Column("segments", sa.LargeBinary(), nullable=True))
    for column in ("salt", "body"):
        op.alter_column("window_segments", column, nullable=True)
    # Packed already, or short: PostgreSQL's own compression would cost more than it spares.
    for column in ("payload", "segments"):
        op.execute(f"ALTER TABLE log_entries ALTER COLUMN {column} SET STORAGE EXTERNAL")
    # Two rows a page: where both fit, a piece beside the row would be a row and an index entry more.
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} SET (toast_tuple_target = 4080)")


def downgrade() -> None:
    _unpack_waiting()
    _unpack_logged()
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} RESET (toast_tuple_target)")
    op.execute("ALTER TABLE log_entries ALTER COLUMN payload SET STORAGE EXTENDED")
    for column in ("salt", "body"):
        op.alter_column("window_segments", column, nullable=False)
    op.drop_column("log_entries", "segments")
    op.drop_column("usage_intake", "segments_bytes")


def _unpack_waiting() -> None:
    connection = op.get_bind()
    found = connection.execute(
        sa.text("SELECT key_id, seq, segments FROM usage_intake WHERE segments_bytes IS NOT NULL")
    )
    unpack = zstandard.ZstdDecompressor().decompress
    for key_id, seq, packed in found.all():
        connection.execute(
            sa.text("UPDATE usage_intake SET segments = :joined WHERE key_id = :key_id AND seq = :seq"),
            {"joined": unpack(packed), "key_id": key_id, "seq": seq},
        )


def _unpack_logged() -> None:
    connection, unpack, after = op.get_bind(), zstandard.ZstdDecompressor().decompress, -1
    while rows := connection.execute(
        sa.text(
            "SELECT log_index, segments FROM log_entries WHERE log_index > :after AND segments IS NOT NULL"
            " ORDER BY log_index LIMIT :most"
        ),
        {"after": after, "most": _WINDOWS},
    ).all():
        pieces = [
            {"log_index": log_index, "n": n, "salt": salt, "body": body}
            for log_index, packed in rows
            for n, (salt, body) in enumerate(_split(unpack(packed)))
        ]
        after = rows[-1].log_index
        if not pieces:
            continue
        connection.execute(
            sa.text(
                "INSERT INTO window_segments (log_index, n, device_id, salt, body)"
                " VALUES (:log_index, :n, convert_from(:body, 'UTF8')::jsonb #>> '{device,device_id}', :salt, :body)"
                " ON CONFLICT (log_index, n) DO UPDATE SET salt = EXCLUDED.salt, body = EXCLUDED.body"
            ),
            pieces,
        )


def _split(joined: bytes) -> list[tuple[bytes, bytes]]:
    """Salts and bodies, as storage/segments.py joins them."""
    pieces: list[tuple[bytes, bytes]] = []
    while joined:
        (length,) = struct.unpack_from(">I", joined, 32)
        pieces.append((joined[:32], joined[36 : 36 + length]))
        joined = joined[36 + length :]
    return pieces
