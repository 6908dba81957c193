"""Usage windows on their way into the log: many nodes' in one statement, each with the head of its chain."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.bulk import driver_cursor
from scheduler.storage.direct import Direct
from scheduler.storage.segments import pack
from suanli.evidence.entries import parse_payload


@dataclass(frozen=True, slots=True)
class Head:
    """How far a key's chain is stored. `end_ms` is None where nobody noted it (before the first window too)."""

    seq: int
    header_sha256: str
    end_ms: int | None


@dataclass(frozen=True, slots=True)
class Advance:
    """The windows that move a key's chain from one head to the next: (seq, header, signature, packed
    segments, bytes of these unpacked)."""

    key_id: str
    node_id: str
    before: Head
    after: Head
    windows: Sequence[tuple[int, bytes, bytes, bytes, int]]


_HEADS = """
SELECT key_id, stored_seq, stored_header_sha256, stored_end_ms FROM agent_keys
WHERE key_id = ANY(%(keys)b) AND revoked_at IS NULL
"""


async def heads(database: Direct, key_ids: Sequence[str]) -> dict[str, Head]:
    """How far the chains of keys are stored; revoked and unknown keys are left out."""
    rows = await database.fetch(_HEADS, {"keys": list(key_ids)})
    return {key_id: Head(seq, sha256, end_ms) for key_id, seq, sha256, end_ms in rows}


_HEADERS = """
SELECT asked.key_id, asked.seq, waiting.header, entry.payload
FROM unnest(%(keys)b::text[], %(seqs)b::bigint[]) AS asked (key_id, seq)
LEFT JOIN usage_intake AS waiting ON waiting.key_id = asked.key_id AND waiting.seq = asked.seq
LEFT JOIN log_entries AS entry ON entry.fact = 'window/' || asked.key_id || '/' || asked.seq
"""


async def stored_headers(database: Direct, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
    """Exact header bytes of stored windows (key, number), whether they wait or are in the log.

    Raises LookupError for one that is nowhere.
    """
    parameters = {"keys": [key for key, _ in wanted], "seqs": [seq for _, seq in wanted]}
    found: dict[tuple[str, int], bytes] = {}
    for key_id, seq, header, payload in await database.fetch(_HEADERS, parameters, binary=True):
        if header is None and payload is None:
            raise LookupError(f"window {seq} of key {key_id} counts as stored and is nowhere")
        found[key_id, seq] = parse_payload(payload).body if header is None else header
    return found


# A chain moves only from the head that its windows were checked against: two streams of one key, or of two
# gateways, cannot both go on from there. Rows are taken in one order, so that two batches never wait crosswise.
_ADVANCE = """
WITH heads AS (
    SELECT * FROM unnest(%(keys)b::text[], %(from)b::bigint[], %(from_sha256)b::text[],
        %(to)b::bigint[], %(to_sha256)b::text[], %(to_ms)b::bigint[])
        AS h(key_id, seq, header_sha256, new_seq, new_sha256, new_end_ms)
), locked AS MATERIALIZED (
    SELECT key_id FROM agent_keys WHERE key_id = ANY(%(keys)b) ORDER BY key_id FOR NO KEY UPDATE
), moved AS (
    UPDATE agent_keys AS k
    SET stored_seq = new_seq, stored_header_sha256 = new_sha256, stored_end_ms = new_end_ms
    FROM heads JOIN locked USING (key_id)
    WHERE k.key_id = heads.key_id AND k.revoked_at IS NULL
        AND k.stored_seq = heads.seq AND k.stored_header_sha256 = heads.header_sha256
    RETURNING k.key_id, k.node_id
), kept AS (
    INSERT INTO usage_intake (key_id, seq, node_id, header, signature, segments, segments_bytes)
    SELECT key_id, w.seq, node_id, w.header, w.signature, w.segments, w.segments_bytes
    FROM unnest(%(of)b::text[], %(seqs)b::bigint[], %(headers)b::bytea[], %(signatures)b::bytea[],
        %(segments)b::bytea[], %(sizes)b::bigint[]) AS w(key_id, seq, header, signature, segments, segments_bytes)
    JOIN moved USING (key_id)
)
SELECT array_agg(key_id) FROM moved HAVING count(*) > 0
"""


async def advance(database: Direct, moves: Sequence[Advance]) -> frozenset[str]:
    """Store windows and move their chains, all in one durable statement. The ledger is to be poked after it.

    Returns the keys whose chains were moved: those of the others are no longer where they were seen, or the
    keys were revoked, and nothing of theirs was stored.
    """
    if not moves:
        return frozenset()
    windows = [(move.key_id, *window) for move in moves for window in move.windows]
    rows = await database.fetch(
        _ADVANCE,
        {
            "keys": [move.key_id for move in moves],
            "from": [move.before.seq for move in moves],
            "from_sha256": [move.before.header_sha256 for move in moves],
            "to": [move.after.seq for move in moves],
            "to_sha256": [move.after.header_sha256 for move in moves],
            "to_ms": [move.after.end_ms for move in moves],
            "of": [window[0] for window in windows],
            "seqs": [window[1] for window in windows],
            "headers": [window[2] for window in windows],
            "signatures": [window[3] for window in windows],
            "segments": [window[4] for window in windows],
            "sizes": [window[5] for window in windows],
        },
    )
    return frozenset(rows[0][0]) if rows else frozenset()


def window_fact(key_id: str, seq: int) -> str:
    """The unique name of a window among the log's facts."""
    return f"window/{key_id}/{seq}"


# Round robin over the keys, each key in its own order: no node waits for another's backlog. They come as one row:
# of many rows of a few KiB each, the driver is woken for every 8 KiB.
_WAITING = """
SELECT array_agg(key_id), array_agg(seq), array_agg(header), array_agg(signature), array_agg(segments),
    array_agg(weight), array_agg(segments_bytes IS NOT NULL)
FROM (
    SELECT waiting.*, weight, sum(weight) OVER (ORDER BY place, key_id) - weight AS before
    FROM usage_intake AS waiting JOIN (
        SELECT key_id, seq, place FROM (
            SELECT key_id, seq, row_number() OVER (PARTITION BY key_id ORDER BY seq) AS place
            FROM usage_intake
            WHERE key_id <> ALL(%(stuck)s)
        ) AS numbered
        ORDER BY place, key_id LIMIT %(most)s
    ) AS chosen USING (key_id, seq), LATERAL (
        SELECT greatest(segments_bytes, octet_length(segments)) + octet_length(header)
    ) AS s(weight)
) AS sized
WHERE before < %(most_bytes)s
HAVING count(*) > 0
"""


@dataclass(slots=True)
class WaitingWindow:
    """A window of the intake; `segments` as `pack_segments` packed them.

    `weight` is what it counts for in a batch: bytes of the header, and of the segments packed or unpacked, whichever
    are more.
    """

    key_id: str
    seq: int
    header: bytes
    signature: bytes
    segments: bytes
    weight: int
    packed: bool = True

    def __post_init__(self) -> None:
        """A gateway of before hands over what was only joined."""
        if not self.packed:
            self.segments, self.packed = pack(self.segments), True


async def waiting_windows(
    session: AsyncSession, most: int, most_bytes: int, refused: Collection[tuple[str, int]]
) -> list[WaitingWindow]:
    """Up to `most` windows that wait, a share of each key's, by key and number; no more of them once their
    weights come to `most_bytes`.

    Of a key of which a window was refused nothing is taken: its chain cannot go on without that window.
    """
    stuck = sorted({key_id for key_id, _ in refused})
    async with driver_cursor(session) as cursor:
        await cursor.execute(_WAITING.encode(), {"most": most, "most_bytes": most_bytes, "stuck": stuck})
        found = await cursor.fetchone()
    if found is None:
        return []
    return sorted(map(WaitingWindow, *found), key=lambda window: (window.key_id, window.seq))


_FORGET = """
DELETE FROM usage_intake USING unnest(%(keys)b::text[], %(seqs)b::bigint[]) AS done(key_id, seq)
WHERE usage_intake.key_id = done.key_id AND usage_intake.seq = done.seq
"""


async def forget_windows(session: AsyncSession, places: Sequence[tuple[str, int]]) -> None:
    """Delete windows (key, number) from the intake: they are in the log."""
    parameters = {"keys": [key_id for key_id, _ in places], "seqs": [seq for _, seq in places]}
    async with driver_cursor(session) as cursor:
        await cursor.execute(_FORGET.encode(), parameters)
