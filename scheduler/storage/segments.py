"""The segments of a window as the database keeps them: salts and exact bodies, compressed in one piece.

Most of a segment is the same in the next one: compressed together at once, eight take a fifth of their bytes, and every
copy after that (wire, write-ahead log, table, again for the evidence log) is a fifth as long. Too little for
PostgreSQL's own compression to take another look: its columns keep them as they are.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import zstandard
from sqlalchemy import BigInteger, any_, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.tables import WindowSegmentRow
from suanli.evidence.errors import EvidenceError
from suanli.evidence.windows import SALT_BYTES, SEGMENTS_PER_WINDOW, SaltedSegment, join_segments

# Of one window: an agent sends it in one message, of no more. Packed it may be a thousandth of that.
UNPACKED_LIMIT_BYTES = 8 << 20
_LENGTH_BYTES = 4


class _Codec(threading.local):
    """Zstandard's contexts, which one thread at a time may use."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(level=1).compress
        self.unpack = zstandard.ZstdDecompressor().decompress


_codec = _Codec()
_NOTHING = _codec.pack(b"")


def pack_segments(segments: Sequence[SaltedSegment]) -> bytes:
    """A Zstandard frame of `join_segments`."""
    return pack(join_segments(segments))


def pack(joined: bytes) -> bytes:
    """A Zstandard frame of what was joined."""
    return _codec.pack(joined)


def unpack_segments(packed: bytes) -> tuple[SaltedSegment, ...]:
    """What `pack_segments` packed. Raises EvidenceError."""
    data, bodies = unpack(packed)
    head = SALT_BYTES + _LENGTH_BYTES
    return tuple([SaltedSegment(data[at - head : at - _LENGTH_BYTES], data[at:end]) for at, end in bodies])


def unpacked_bytes(packed: bytes) -> int:
    """How long a frame says that it is unpacked; `unpack` takes no other. Raises EvidenceError."""
    try:
        size = zstandard.frame_content_size(packed)
    except zstandard.ZstdError as error:
        raise EvidenceError("segments", str(error), "a Zstandard frame") from None
    if not 0 <= size <= UNPACKED_LIMIT_BYTES:
        raise EvidenceError("segments", f"{size} bytes", f"at most {UNPACKED_LIMIT_BYTES} bytes")
    return size


def unpack(packed: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """What was joined, and where each body in it begins and ends. Raises EvidenceError."""
    size = unpacked_bytes(packed)
    if not size and packed != _NOTHING:  # there zstandard looks at nothing else
        raise EvidenceError("segments", f"{len(packed)} bytes", f"the {len(_NOTHING)} of a frame of nothing")
    # Zstandard itself never makes more of what cannot be compressed; a frame may hold empty blocks without end.
    most = size + (size >> 8) + 512
    if len(packed) > most:
        raise EvidenceError("segments", f"{len(packed)} bytes", f"at most {most} bytes for {size} unpacked")
    try:
        data = _codec.unpack(packed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise EvidenceError("segments", str(error), "a Zstandard frame") from None
    bodies: list[tuple[int, int]] = []
    at = 0
    while at < size:
        length_at = at + SALT_BYTES
        begin = length_at + _LENGTH_BYTES
        end = begin + int.from_bytes(data[length_at:begin], "big") if begin <= size else size + 1
        if end > size or len(bodies) == SEGMENTS_PER_WINDOW:
            wanted = f"at most {SEGMENTS_PER_WINDOW} whole segments"
            raise EvidenceError("segments", f"{size} bytes", wanted)
        bodies.append((begin, end))
        at = end
    return data, bodies


@dataclass(slots=True)
class Opened:
    """The segments of a logged window, and whose each of them is."""

    segments: Sequence[SaltedSegment]
    firms: Sequence[str | None]


_Row = tuple[int, str | None, SaltedSegment | None]


class Windows(Mapping[int, Opened]):
    """Logged windows by their log index, each unpacked anew whenever it is asked for. Raises EvidenceError then.

    A page of them unpacked at once may be more than there is memory: a node may fill its windows with what is
    a hundredth of its size packed.
    """

    def __init__(self, packed: Mapping[int, bytes | None], rows: Mapping[int, Sequence[_Row]]) -> None:
        self._packed = packed
        self._rows = rows

    def __getitem__(self, index: int) -> Opened:
        column, mine = self._packed[index], self._rows.get(index, ())
        if column is None:
            if not mine:
                raise KeyError(index)
            return Opened([old for *_, old in mine if old is not None], [firm for _, firm, _ in mine])
        segments = unpack_segments(column)
        firms: list[str | None] = [None] * len(segments)
        for n, firm_id, _ in mine:
            firms[n] = firm_id
        return Opened(segments, firms)

    def __iter__(self) -> Iterator[int]:
        return (index for index, column in self._packed.items() if column is not None or index in self._rows)

    def __len__(self) -> int:
        return sum(1 for _ in self)


async def opened_segments(session: AsyncSession, packed: Mapping[int, bytes | None]) -> Windows:
    """The segments of log entries, of which the column `segments` is given by log index; entries without are left out.

    Windows that were logged before there was that column have theirs in rows of their own.
    """
    row = WindowSegmentRow
    found = await session.execute(
        select(row.log_index, row.n, row.firm_id, row.salt, row.body)
        .where(row.log_index == any_(literal(list(packed), ARRAY(BigInteger))))
        .order_by(row.log_index, row.n)
    )
    rows: dict[int, list[_Row]] = {}
    for index, n, firm_id, salt, body in found:
        old = None if salt is None or body is None else SaltedSegment(salt, body)
        rows.setdefault(index, []).append((n, firm_id, old))
    return Windows(packed, rows)
